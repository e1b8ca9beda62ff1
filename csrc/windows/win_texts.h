/* Where the command line and the environment of a Windows process are in its memory. All of it is the target's:
 * hostile. Offsets as in win_peb.h; of a 32-bit program on 64-bit Windows they are those of its own PEB. */
#ifndef MDC_WINDOWS_WIN_TEXTS_H
#define MDC_WINDOWS_WIN_TEXTS_H

#include "../base/vec.h"
#include "../source/snapshot.h"

/* Appends (mdc_copy) what the parameters of the process lead to. Copies that the program and its run-time libraries
 * made
 * (_environ, GetCommandLineA, a block that SetEnvironmentVariable has moved) have no known address. peb 0: nothing.
 * pointer: bytes of one, 4 or 8. */
mdc_status mdc_win_texts_find(mdc_vec *copies, void *process, uint64_t peb, uint32_t pointer, mdc_error *err);

#endif
