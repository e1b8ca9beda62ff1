"""A Python process to dump: some threads, each in a function of a known name, and answers on its standard input."""

import json
import os
import sys
import threading


def park_here(started: threading.Barrier) -> None:
    """Wait for ever."""
    started.wait()
    threading.Event().wait()


def main() -> None:
    """Start the threads, say that they run, answer."""
    count = int(sys.argv[1])
    started = threading.Barrier(count + 1)
    for number in range(count):
        threading.Thread(target=park_here, args=(started,), name=f"parked-{number}", daemon=True).start()
    started.wait()
    secret = ("attack " * 3 + "at dawn").encode()
    print(json.dumps({"pid": os.getpid(), "text": id(secret)}), flush=True)
    for number, _ in enumerate(sys.stdin, 1):
        print("pong", number, 0, flush=True)


main()
