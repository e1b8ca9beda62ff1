/* A 32-bit process without any library, which crashes with known registers: of the processor, and of its x87 and SSE.
 */
static unsigned char pattern[8192] __attribute__((aligned(4096), section(".data"))) = {1, 2, 3, 4, 5, 6, 7, 8};

/* Gs leads to the pattern, as to thread-local memory: a struct user_desc for set_thread_area(2). */
static void set_gs(void) {
    unsigned entry[4] = {-1U, (unsigned)pattern, 0xFFFFF, 0x51};
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(243), "b"(entry) : "memory");
    if (result == 0) __asm__ volatile("movw %w0, %%gs" ::"r"(entry[0] << 3 | 3));
}

void _start(void) {
    static const double number = 1.5;
    static const unsigned vector[4] __attribute__((aligned(16))) = {1, 2, 3, 4};
    pattern[4096] = 9;
    set_gs();
    __asm__ volatile("fldl (%0)\n\tmovaps (%1), %%xmm3" ::"r"(&number), "r"(vector));
    __asm__ volatile(
        "movl $0x11111111, %%ebx\n\tmovl $0x22222222, %%esi\n\tmovl $0x33333333, %%edi\n\t"
        "movl $0x44444444, %%edx\n\tmovl %0, %%ecx\n\tmovl $0x1234, %%eax\n\tmovl $1, (%%eax)" ::"r"(pattern)
        : "eax", "ebx", "ecx", "edx", "esi", "edi", "memory");
    for (;;) {
    }
}
