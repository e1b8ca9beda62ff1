#include <windows.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/vec.h"
#include "input.h"

struct mdc_input {
    HANDLE file;
    uint64_t size; /* bytes */
};

mdc_input *mdc_input_new(int64_t fd, mdc_error *err) {
    HANDLE self = GetCurrentProcess(), own = NULL;
    LARGE_INTEGER size;
    if (!DuplicateHandle(self, (HANDLE)(intptr_t)fd, self, &own, 0, FALSE, DUPLICATE_SAME_ACCESS)) {
        mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, (int32_t)GetLastError(), "cannot read the handle of the input");
        return NULL;
    }
    mdc_input *input = NULL;
    if (GetFileType(own) != FILE_TYPE_DISK || !GetFileSizeEx(own, &size) || size.QuadPart < 0)
        mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "the handle of the input is not a regular file");
    else
        input = mdc_alloc(1, sizeof *input, err);
    if (input == NULL) {
        CloseHandle(own);
        return NULL;
    }
    *input = (mdc_input){.file = own, .size = (uint64_t)size.QuadPart};
    return input;
}

void mdc_input_free(mdc_input *input) {
    if (input == NULL) return;
    CloseHandle(input->file);
    mdc_dealloc(input);
}

uint64_t mdc_input_size(const mdc_input *input) { return input->size; }

/* The offset is given with each read, but the position moves with it, and is that of the caller's handle too: it is put
 * back. */
size_t mdc_input_read(const mdc_input *input, uint64_t offset, void *buffer, size_t size, int32_t *os_errno) {
    const size_t most = (size_t)1 << 30;
    size_t done = 0;
    *os_errno = 0;
    if (offset >= input->size) return 0;
    size = (size_t)mdc_min_u64(size, input->size - offset);
    const LARGE_INTEGER nowhere = {.QuadPart = 0};
    LARGE_INTEGER before;
    bool known = SetFilePointerEx(input->file, nowhere, &before, FILE_CURRENT) != 0;
    while (done < size) {
        uint64_t at = offset + done;
        OVERLAPPED where = {.Offset = (DWORD)at, .OffsetHigh = (DWORD)(at >> 32)};
        DWORD part = 0;
        size_t wanted = size - done < most ? size - done : most;
        if (!ReadFile(input->file, (char *)buffer + done, (DWORD)wanted, &part, &where)) {
            DWORD problem = GetLastError();
            if (problem != ERROR_HANDLE_EOF) *os_errno = (int32_t)problem;
            break;
        }
        if (part == 0) break;
        done += part;
    }
    if (known) SetFilePointerEx(input->file, before, NULL, FILE_BEGIN);
    return done;
}

uint64_t mdc_input_run(mdc_input *input, uint64_t offset, uint64_t end, bool *hole) {
    (void)offset;
    *hole = false;
    return mdc_min_u64(end, mdc_max_u64(input->size, offset));
}
