"""Run by a Windows CPython: dumps of a process with markers, by both engines. PROGRAM FOLDER."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import minidump_cffi as md

PROGRAM, FOLDER = sys.argv[1:]
MARKERS = {"environ": "environ-marker", "cmdline": "argument-marker"}
TYPES = {"full": md.DumpType.WITH_FULL_MEMORY, "small": md.DumpType.WITH_PROCESS_THREAD_DATA}


def memory_at(data: bytes, address: int, size: int) -> bytes:
    """Target memory, out of either list."""
    count, directory = struct.unpack_from("<II", data, 8)
    for entry in range(count):
        kind, _, at = struct.unpack_from("<III", data, directory + 12 * entry)
        if kind not in (5, 9):
            continue
        wide = kind == 9
        (number,) = struct.unpack_from("<Q" if wide else "<I", data, at)
        (offset,) = struct.unpack_from("<Q", data, at + 8) if wide else (0,)
        for row in range(number):
            if wide:
                base, length = struct.unpack_from("<QQ", data, at + 16 + 16 * row)
            else:
                base, length, offset = struct.unpack_from("<QII", data, at + 4 + 16 * row)
            if base <= address < base + length:
                start = offset + address - base
                return data[start : start + min(size, base + length - address)]
            offset += length
    return b""


command = [PROGRAM, MARKERS["cmdline"]]
with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "SECRET": MARKERS["environ"]}) as target:
    line, line_size, environment = map(int, target.stdout.readline().split())
    path = Path(FOLDER, "texts.dmp")
    for engine in ("native", "dbghelp"):
        for kind, dump_type in TYPES.items():
            for left_out in ((), ("environ",), ("cmdline",), ("environ", "cmdline")):
                keep = md.Filter(streams={"exclude": list(left_out)})
                report = md.write_dump(target, path, dump_type, filter=keep, engine=engine)
                data = path.read_bytes()
                places = {"cmdline": memory_at(data, line, line_size), "environ": memory_at(data, environment, 1 << 15)}
                case = {"engine": engine, "type": kind, "left_out": left_out, "complete": report.complete}
                case["anywhere"] = [name for name, text in MARKERS.items() if text.encode("utf-16-le") in data]
                case["there"] = [name for name, text in MARKERS.items() if text.encode("utf-16-le") in places[name]]
                case["filled"] = [name for name, place in places.items() if place[:32] == b"X" * 32]
                print(json.dumps(case), flush=True)
    target.kill()
