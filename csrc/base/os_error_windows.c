/* GetLastError() (see os_error.h). */
#include "os_error.h"

#include <stdio.h>
#include <windows.h>

/* The system's sentence in UTF-8, without the stop and the line break it ends with; "" if it has none. */
static void sentence(DWORD code, char *text, size_t size) {
    WCHAR wide[256];
    DWORD flags = FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK;
    DWORD length = FormatMessageW(flags, NULL, code, 0, wide, sizeof wide / sizeof wide[0], NULL);
    while (length > 0 && (wide[length - 1] <= L' ' || wide[length - 1] == L'.')) length--;
    int bytes = length > 0 ? WideCharToMultiByte(CP_UTF8, 0, wide, (int)length, text, (int)size - 1, NULL, NULL) : 0;
    text[bytes > 0 ? bytes : 0] = '\0';
}

void mdc_os_error_text(int32_t os_errno, char *text, size_t size) {
    char name[3 * 256 + 1]; /* a UTF-16 unit takes three bytes of UTF-8 at most */
    sentence((DWORD)os_errno, name, sizeof name);
    snprintf(text, size, "%s (error %lu)", name[0] != '\0' ? name : "unknown error", (unsigned long)(DWORD)os_errno);
}

uint32_t mdc_os_error_hresult(int32_t os_errno) {
    uint32_t code = (uint32_t)os_errno;
    /* HRESULT_FROM_WIN32: what is an HRESULT already stays as it is. */
    return os_errno <= 0 ? code : 0x80070000u | (code & 0xFFFFu);
}
