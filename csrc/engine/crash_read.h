/* Reads the signal that a dump is taken for, as the last part of the capture's lists. */
#ifndef MDC_ENGINE_CRASH_READ_H
#define MDC_ENGINE_CRASH_READ_H

#include "reader.h"

/* Fills capture->crash. After the lists were made, and before stacks are located. */
mdc_status mdc_crash_read(mdc_capture *capture, const mdc_reader *reader, mdc_error *err);

#endif
