/* What a test says to the scripted dbghelp (script_double.c), and what that has seen. */
#ifndef MDC_TESTS_SCRIPT_DOUBLE_H
#define MDC_TESTS_SCRIPT_DOUBLE_H

#include <stdint.h>

enum { DOUBLE_CALLS = 4096, DOUBLE_TEXT = 256 };

typedef struct double_script {
    uint64_t area;            /* memory of the target that is dumped: the stacks lie at its start */
    uint64_t area_size;       /* bytes, whole pages */
    uint32_t gcc_layout;      /* 1: MINIDUMP_THREAD_CALLBACK as engines built with GCC for x64 have it */
    uint32_t low_first;       /* 1: StackBase is the low end, as Wine has it */
    uint32_t only_items;      /* 1: asks about modules and threads only, as Wine does */
    uint32_t failed_reads;    /* how many pages at the end of the area fail to be read (14 without full memory) */
    uint32_t failure;         /* HRESULT of those */
    uint32_t wait_for_cancel; /* milliseconds to go on asking about Cancel (6) before anything is gathered */
    uint32_t fail_after;      /* callback type after which the dump fails with `hresult`, if that is not 0 */
    uint32_t hresult;
    uint32_t spoil;      /* 1: the directory of the dump points beyond its end; 2: it has no signature */
    uint32_t with_items; /* 1: writes names of threads, of a handle and of an unloaded module, CodeView records, and the
                            exception, all of which have a text that tests look for; the exception as it is described in
                            the target; and stacks whatever the flags of their threads say */
    uint32_t unshown;    /* 1: takes S_FALSE of VmStart (17), and shows no reads all the same */
    uint32_t no_clone;   /* 1: the snapshot does not tell which process its clone is */
    uint32_t asks_once;  /* 1: asks about a region (10) once, and not again about the rest */
    void *clone;         /* HANDLE of the process that is the clone of the snapshot */
} double_script;

typedef struct double_seen {
    uint32_t calls;              /* callbacks sent */
    uint8_t types[DOUBLE_CALLS]; /* of the first ones */
    uint32_t dumps;              /* calls of MiniDumpWriteDump */
    uint32_t busy;               /* of them, while another one was inside */
    uint32_t captures, frees, queries, wrong_frees;
    uint32_t capture_flags;
    uint32_t was_snapshot;  /* 16 was answered S_FALSE */
    uint32_t handle_fits;   /* hProcess was the snapshot exactly if 16 said so */
    uint32_t exception_tid; /* of MINIDUMP_EXCEPTION_INFORMATION, 0: none was given */
    uint64_t exception_pointers;
    uint32_t exception_client;
    uint32_t user_streams;
    uint32_t user_stream_type; /* of the first */
    uint32_t user_stream_size;
    uint32_t dump_type;
    uint32_t io;                 /* the callee took the bytes */
    char complaint[DOUBLE_TEXT]; /* the first thing the protocol forbids */
} double_seen;

#endif
