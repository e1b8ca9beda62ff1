/* A 32-bit process without any library: prints a line and waits for ever. */
static long call3(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}

void _start(void) {
    static const char line[] = "{\"ready\":1}\n";
    call3(4, 1, (long)line, sizeof line - 1);
    for (;;) call3(29, 0, 0, 0);
}
