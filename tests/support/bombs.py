"""Minidumps whose numbers ask for far more work, memory or text than the file has bytes: what `show` has to bear."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

MIB = 1 << 20
MEMORY = 200 * MIB
"""Resident bytes that `show` may take at most, the interpreter included."""
_CODEVIEW = b"LEpB" + bytes(range(60))


def dump(*streams: tuple[int, bytes], behind: bytes = b"") -> bytes:
    """A minidump of these streams."""
    directory, at = b"", 32 + 12 * len(streams)
    for kind, body in streams:
        directory += struct.pack("<III", kind, len(body), at)
        at += len(body)
    head = struct.pack("<IIIIIIQ", 0x504D444D, 0xA793, len(streams), 32, 0, 1, 0)
    return b"".join([head, directory, *(body for _, body in streams), behind])


def string(text: str) -> bytes:
    """A MINIDUMP_STRING."""
    data = text.encode("utf-16-le")
    return struct.pack("<I", len(data)) + data


def module_list(count: int, texts: list[str]) -> bytes:
    """Modules that share these names in turn, and one CodeView record."""
    at = 32 + 12 + 4 + 108 * count
    names, places = b"", []
    for text in texts:
        places.append(at + len(names))
        names += string(text)
    rows = [
        struct.pack("<QIIII52xIIII16x", 0x1000, 0x1000, 0, 0, place, len(_CODEVIEW), at + len(names), 0, 0)
        for place in places
    ]
    body = struct.pack("<I", count) + (b"".join(rows) * (count // len(rows) + 1))[: 108 * count]
    return dump((4, body), behind=names + _CODEVIEW)


def region_list(count: int) -> bytes:
    """Regions in falling order, each with other bits."""
    row = struct.Struct("<QQIIQIIII")
    rows = b"".join(row.pack(-at << 12 & (1 << 63) - 1, 0, 4, 0, 0x1000, at, at, at, 0) for at in range(count))
    return struct.pack("<IIQ", 16, 48, count) + rows


def thread_list(count: int, context: int) -> bytes:
    row = struct.Struct("<IIIIQQIIII")
    return struct.pack("<I", count) + b"".join(row.pack(at, 0, 0, 0, 0, 0, 0, 0, 1232, context) for at in range(count))


def thread_names(count: int, place: int) -> bytes:
    return struct.pack("<I", count) + b"".join(struct.pack("<IQ", at, place) for at in range(count))


def gap_list(count: int) -> bytes:
    return struct.pack("<IIIIQQ8x", 1, 40, 24, count, 0, count) + struct.pack("<QQIi", 0x1000, 0x1000, 77, 5) * count


def many_modules() -> bytes:
    return module_list(65536, ["\x01" * 32768])


def one_long_name() -> bytes:
    return module_list(65536, ["\x01" * 32768, *["a"] * 50])


def wide_names() -> bytes:
    return module_list(65536, [chr(0x1F600) * 16000])


def more_modules_than_are_read() -> bytes:
    return module_list(200_000, ["/lib/x.so"])


def many_regions() -> bytes:
    return dump((16, region_list(MIB)))


def many_threads() -> bytes:
    return dump(
        (7, struct.pack("<HHHBBIIIII", 9, 0, 0, 1, 0, 6, 1, 0, 0x8201, 0) + bytes(24)), (3, thread_list(MIB, 40))
    )


def threads_with_one_name() -> bytes:
    count = 200_000
    first = thread_list(count, 0)
    place = 32 + 24 + len(first) + 4 + 12 * count
    return dump((3, first), (24, thread_names(count, place)), behind=string("\u0001" * 32768))


def many_gaps() -> bytes:
    body = gap_list(MIB)
    place = 32 + 12 + len(body)
    return dump((0x4D444301, body[:16] + struct.pack("<Q", place) + body[24:]), behind=bytes(8))


def many_ranges() -> bytes:
    """In falling order, none touching another."""
    count = MIB
    rows = b"".join(struct.pack("<QQ", (count - at) * 0x2000, 1) for at in range(count))
    return dump((9, struct.pack("<QQ", count, 32) + rows), behind=bytes(count))


def many_mappings() -> bytes:
    lines = b"".join(b"%x-%x r--p 0 0:0 0 /x%d\n" % (at << 12, (at + 1) << 12, at) for at in range(MIB))
    return dump((0x47670009, lines), (16, region_list(MIB)))


def one_mapping_for_all_regions() -> bytes:
    return dump(
        (0x47670009, b"0-ffffffffffffffff r--p 0 0:0 0 /" + b"\x01" * 60_000 + b"\n"), (16, region_list(200_000))
    )


def a_line_without_end() -> bytes:
    return dump((0x47670009, b"0-1 r--p 0 0:0 0 /" + b"x" * (64 * MIB)))


def lines_without_text() -> bytes:
    return dump((0x47670009, b"\n" * (64 * MIB)))


def many_streams() -> bytes:
    return dump(*[(6, bytes(168))] * 4096)


def one_exception_many_times() -> bytes:
    """Each with a text of LLDB, whose letters are printed escaped."""
    data = bytearray(dump(*[(6, b"")] * 4096))
    body = struct.pack("<IIIIQQII", 1, 0, 11, 0x4C4C4442, 0, 0, 120, 0) + b"\x01" * 120 + bytes(8)
    for at in range(32, 32 + 12 * 4096, 12):
        struct.pack_into("<III", data, at, 6, len(body), len(data))
    return bytes(data) + body


def shared_annotations() -> bytes:
    """Modules of Crashpad that share one list of names, which share one text."""
    count, at = 60_000, 32 + 12
    text = at + 52
    body = struct.pack("<I", 32768) + b"\x01" * 32768 + b"\0" * 4
    pairs = text + len(body)
    body += struct.pack("<I", count) + struct.pack("<II", text, text) * count
    info = pairs + 4 + 8 * count
    body += struct.pack("<7I", 1, 4 + 4 * count, pairs, 4 + 8 * count, pairs, 4 + 12 * (count // 2), pairs)
    links = info + 28
    body += struct.pack("<I", count) + struct.pack("<III", 0, 28, info) * count
    head = struct.pack("<I32x4I", 1, 4 + 8 * count, pairs, 4 + 12 * count, links)
    return dump((0x43500001, head + body))


def empty_variables() -> bytes:
    return dump(*[(number, bytes(64 * MIB)) for number in (0x47670006, 0x47670007)])


def all_lists_at_once() -> bytes:
    """Every list as long as it is read, and all their names distinct: the most memory."""
    count = 1 << 17
    names = b"".join(string(f"{at:09}" * 6) for at in range(count))
    infos = region_list(count)
    maps = b"".join(b"%x-%x r--p 0 0:0 0 /%040d\n" % (at << 12, (at + 1) << 12, at) for at in range(count))
    ranges = struct.pack("<QQ", 1 << 19, 32) + b"".join(struct.pack("<QQ", at * 0x2000, 1) for at in range(1 << 19))
    gaps = gap_list(count)
    bodies = [(16, infos), (0x47670009, maps), (9, ranges), (3, thread_list(count, 0)), (0x4D444301, gaps)]
    size = 32 + 12 * 6 + sum(len(body) for _, body in bodies) + 4 + 12 * count
    step = len(string("0" * 54))
    named = b"".join(struct.pack("<IQ", at, size + step * at) for at in range(count))
    bodies.append((24, struct.pack("<I", count) + named))
    bodies[4] = (0x4D444301, gaps[:16] + struct.pack("<Q", size + len(names)) + gaps[24:])
    return dump(*bodies, behind=names + bytes(8))


BOMBS: tuple[Callable[[], bytes], ...] = (
    many_modules,
    one_long_name,
    wide_names,
    more_modules_than_are_read,
    many_regions,
    many_threads,
    threads_with_one_name,
    many_gaps,
    many_ranges,
    many_mappings,
    one_mapping_for_all_regions,
    a_line_without_end,
    lines_without_text,
    many_streams,
    one_exception_many_times,
    shared_annotations,
    empty_variables,
    all_lists_at_once,
)


def measure(path: Path, *options: str) -> tuple[int, int, int, float]:
    """Run ``show``: its status, bytes on standard output, resident bytes at most, and CPU seconds."""
    # By a small process in between: what the kernel counts for a child begins with the size of its parent.
    command = [sys.executable, "-S", "-c", _MEASURE, sys.executable, "-m", "minidump_cffi", "show", str(path), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300)
    status, written, resident, cpu = json.loads(done.stdout)
    return status, written, resident, cpu


_MEASURE = """
import os, sys
end, out = os.pipe()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[
    (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)])
os.close(out)
written = 0
while piece := os.read(end, 1 << 20):
    written += len(piece)
_, status, usage = os.wait4(child, 0)
print([os.waitstatus_to_exitcode(status), written, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime])
"""


def text_limit(file_bytes: int) -> int:
    """Bytes that ``show`` may write about a file of this size."""
    return 8 * file_bytes + 8 * MIB
