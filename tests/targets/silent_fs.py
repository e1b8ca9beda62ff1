"""A FUSE file system over /dev/fuse that stops answering when it is told to.

    silent_fs.py MOUNTPOINT FILE

It serves one file, "image", with the bytes of FILE; the kernel may keep pages of it, but no names and no attributes.
Prints "mounted"; after a line on standard input it answers nothing at all any more and says so. It unmounts nothing:
the kernel aborts the connection when this process ends.
"""

from __future__ import annotations

import ctypes
import os
import select
import stat
import struct
import sys
from pathlib import Path

# include/uapi/linux/fuse.h
LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, INIT = 1, 2, 3, 14, 15, 17, 18, 26
OPENDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = 27, 29, 36, 42
IN_HEADER = struct.Struct("=IIQQIIIHH")
OUT_HEADER = struct.Struct("=IiQ")
ATTR = struct.Struct("=6Q10I")
KEEP_CACHE = 1 << 1
ROOT, IMAGE = 1, 2


def attributes(node: int, size: int) -> bytes:
    mode = stat.S_IFDIR | 0o755 if node == ROOT else stat.S_IFREG | 0o755
    return ATTR.pack(node, 0 if node == ROOT else size, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(opcode: int, node: int, body: bytes, image: bytes) -> bytes | int | None:
    """The body of the answer, an errno, or None for requests that want none."""
    if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
        return None
    if opcode == INIT:
        minor = struct.unpack_from("=II", body)[1]
        return struct.pack("=IIIIHHIIHHI28x", 7, min(minor, 31), 0, 0, 0, 0, 1 << 17, 0, 0, 0, 0)
    if opcode == LOOKUP:
        if body.rstrip(b"\0") != b"image":
            return 2  # ENOENT
        return struct.pack("=QQQQII", IMAGE, 0, 0, 0, 0, 0) + attributes(IMAGE, len(image))
    if opcode == GETATTR:
        return struct.pack("=QII", 0, 0, 0) + attributes(node, len(image))
    if opcode in (OPEN, OPENDIR):
        return struct.pack("=QIi", 0, KEEP_CACHE, 0)
    if opcode == READ:
        _, offset, size = struct.unpack_from("=QQI", body)
        return image[offset : offset + size]
    if opcode == STATFS:
        return bytes(80)
    return b"" if opcode in (RELEASE, RELEASEDIR) else 38  # ENOSYS; after one FLUSH the kernel sends no more of them


def main() -> None:
    mountpoint, image = sys.argv[1], Path(sys.argv[2]).read_bytes()
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"silent", mountpoint.encode(), b"fuse", 0, options) != 0:
        raise SystemExit(f"cannot mount: {os.strerror(ctypes.get_errno())}")
    print("mounted", flush=True)
    while True:
        ready, _, _ = select.select([fuse, 0], [], [])
        if 0 in ready:
            break
        request = os.read(fuse, 1 << 20)
        _, opcode, unique, node, *_ = IN_HEADER.unpack_from(request)
        said = answer(opcode, node, request[IN_HEADER.size :], image)
        if said is None:
            continue
        error, body = (said, b"") if isinstance(said, int) else (0, said)
        os.write(fuse, OUT_HEADER.pack(OUT_HEADER.size + len(body), -error, unique) + body)
    os.read(0, 1)
    print("silent", flush=True)
    select.select([], [], [])


if __name__ == "__main__":
    main()
