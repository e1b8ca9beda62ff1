"""A Windows CPython process to dump: some threads, two blocks of memory with a pattern, answers on its input."""

import ctypes
import json
import os
import sys
import threading

FACTOR = 0x9E3779B97F4A7C15
SIZE = 0x20000


def block(seed: int) -> dict[str, int]:
    """Memory of its own with the pattern that live.pattern tells."""
    allocate = ctypes.WinDLL("kernel32").VirtualAlloc
    allocate.restype = ctypes.c_void_p
    allocate.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_uint32]
    base = allocate(None, SIZE, 0x3000, 4)  # MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE
    words = (ctypes.c_uint64 * (SIZE // 8)).from_address(base)
    for index in range(SIZE // 8):
        words[index] = (base + 8 * index + seed) * FACTOR & 0xFFFFFFFFFFFFFFFF
    return {"base": base, "size": SIZE, "seed": seed}


def park_here(started: threading.Barrier) -> None:
    """Wait for ever."""
    started.wait()
    threading.Event().wait()


def main() -> None:
    """Start the threads, say that they run, answer."""
    count = int(sys.argv[1])
    started = threading.Barrier(count + 1)
    threads = [threading.Thread(target=park_here, args=(started,), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    started.wait()
    known = {
        "pid": os.getpid(),
        "main": threading.get_native_id(),
        "threads": [thread.native_id for thread in threads],
        "kept": block(1),
        "secret": block(2),
    }
    print(json.dumps(known), flush=True)
    for number, _ in enumerate(sys.stdin, 1):
        print("pong", number, 0, flush=True)


main()
