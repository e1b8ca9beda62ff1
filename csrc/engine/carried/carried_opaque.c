/* Bytes of the file that go to the output as they are, or sanitized. A pattern may lie across two reads: the last bytes
 * of each wait for the next. */
#include <string.h>

#include "../../base/arith.h"
#include "carried_file.h"

mdc_status mdc_carried_copy(const mdc_reader *reader, const mdc_part *part, mdc_sink *sink, mdc_error *err) {
    mdc_engine *engine = reader->engine;
    const mdc_carried *carried = reader->capture->lists->carried;
    const bool edits = part->edit != 0 && engine->options.edit != NULL;
    const size_t hold = edits ? (size_t)mdc_min_u64(engine->options.hold, reader->room / 2) : 0;
    uint64_t done = 0;
    size_t held = 0;
    while (done < part->size) {
        if (mdc_calls_poll(&engine->calls, err) != MDC_OK) return err->code;
        size_t more = (size_t)mdc_min_u64(part->size - done, reader->room - held);
        if (carried->read(engine->source, part->address + done, reader->buffer + held, more, err) != MDC_OK)
            return err->code;
        done += more;
        held += more;
        if (edits) mdc_sanitize(engine, 0, reader->buffer, held);
        size_t ready = done < part->size && held > hold ? held - hold : done < part->size ? 0 : held;
        if (sink->ops->write(sink, reader->buffer, ready, err) != MDC_OK) return err->code;
        memmove(reader->buffer, reader->buffer + ready, held - ready);
        held -= ready;
    }
    return MDC_OK;
}
