/* Options of dumps by Windows' own engine: MiniDumpWriteDump of dbghelp.dll, with our routine as its callback. */
#ifndef MDC_API_DBGHELP_H
#define MDC_API_DBGHELP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
/* cdef: begin */
/* All zero is a good default. */
typedef struct mdc_dbghelp_options {
    const uint16_t *dll; /* path of the DLL, UTF-16, NUL-terminated; NULL: the system's dbghelp.dll, else dbgcore.dll */
    const uint16_t *pss; /* path of the DLL with PssCaptureSnapshot; NULL: the system's kernel32.dll. For tests */
    int32_t snapshot;    /* 1: dump a PssCaptureSnapshot of the target, which runs on meanwhile */
    int32_t reserved;
} mdc_dbghelp_options;
/* cdef: end */
#ifdef __cplusplus
}
#endif
#endif
