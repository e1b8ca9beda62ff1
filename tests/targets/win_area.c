/* A Windows process to record dumps of (tests/support/recorded.py): two threads beside the main one, and 24 pages of
 * private memory at an address that rules can name. Writes "ready" to its standard output and ends when its standard
 * input does. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <windows.h>

enum { PAGES = 24, PAGE = 4096, THREADS = 2 };
#define AREA ((uint8_t *)(uintptr_t)0x700000000000)

static DWORD WINAPI wait(void *argument) {
    (void)argument;
    Sleep(INFINITE);
    return 0;
}

int main(void) {
    uint8_t *area = VirtualAlloc(AREA, PAGES * PAGE, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (area != AREA) return 1;
    for (int i = 0; i < PAGES; i++) memset(area + i * PAGE, 'A' + i, PAGE);
    for (int i = 0; i < THREADS; i++)
        if (CreateThread(NULL, 0, wait, NULL, 0, NULL) == NULL) return 1;
    puts("ready");
    fflush(stdout);
    (void)getchar();
    return 0;
}
