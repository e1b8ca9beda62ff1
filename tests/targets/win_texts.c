/* A Windows process with markers in its command line and its environment: prints where its parameters have both, and
 * waits. */
#include <stdio.h>
#include <windows.h>
#include <winternl.h>

int main(void) {
    const unsigned char *parameters = (const unsigned char *)NtCurrentTeb()->ProcessEnvironmentBlock->ProcessParameters;
    const UNICODE_STRING *line = &NtCurrentTeb()->ProcessEnvironmentBlock->ProcessParameters->CommandLine;
    const void *const *environment = (const void *const *)(parameters + (sizeof(void *) == 8 ? 0x80 : 0x48));
    printf("%llu %u %llu\n", (unsigned long long)(ULONG_PTR)line->Buffer, line->Length,
           (unsigned long long)(ULONG_PTR)*environment);
    fflush(stdout);
    Sleep(INFINITE);
    return 0;
}
