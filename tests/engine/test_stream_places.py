"""Streams that contain offsets in the file: what they are told is where they are, whatever takes the dump."""

from __future__ import annotations

import gzip
import io
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import fake
import live
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidump_cffi as md

pytestmark = pytest.mark.linux

BOTH = [md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY]


def linked(payload: bytes, told: list[int]) -> Callable[[int], bytes]:
    """A stream that begins with the offset of its payload in the file."""

    def make(rva: int) -> bytes:
        told.append(rva)
        return struct.pack("<Q", rva + 8) + payload

    return make


def check(data: bytes, payloads: dict[int, bytes], told: list[int]) -> None:
    """Follow the offset, by the directory of the file alone."""
    count, at = struct.unpack_from("<II", data, 8)
    entries = {kind: (size, rva) for kind, size, rva in struct.iter_unpack("<III", data[at : at + 12 * count])}
    assert len(told) == len(payloads)
    for (number, payload), rva in zip(payloads.items(), told, strict=True):
        assert entries[number] == (8 + len(payload), rva) and rva % 8 == 0
        (where,) = struct.unpack_from("<Q", data, rva)
        assert data[where : where + len(payload)] == payload


def through_a_pipe(write: Callable[[int], object]) -> bytes:
    reader, writer = os.pipe()
    found: list[bytes] = []
    with open(reader, "rb") as file:
        thread = threading.Thread(target=lambda: found.append(file.read()))
        thread.start()
        try:
            write(writer)
        finally:
            os.close(writer)
            thread.join()
    return found[0]


@given(
    payloads=st.lists(st.binary(max_size=99), min_size=1, max_size=4),
    plain=st.binary(max_size=9),
    type=st.sampled_from(BOTH),
    way=st.sampled_from(["path", "gz", "zst", "object", "unspooled", "pipe"]),
)
@settings(max_examples=40, deadline=None)
def test_offsets_lead_to_their_place(
    payloads: list[bytes], plain: bytes, type: int, way: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    told: list[int] = []
    streams: dict[int, bytes | Callable[[int], bytes]] = {
        0x10001 + at: linked(payload, told) for at, payload in enumerate(payloads)
    }
    streams[0x20000] = plain
    path = tmp_path_factory.mktemp("dump") / {"gz": "app.dmp.gz", "zst": "app.dmp.zst"}.get(way, "app.dmp")
    if way in ("object", "unspooled"):
        out = io.BytesIO()
        fake.write(fake.small(), out, type, user_streams=streams, spool=way == "object")
        data = out.getvalue()
    elif way == "pipe":
        data = through_a_pipe(lambda fd: fake.write(fake.small(), fd, type, user_streams=streams))
    else:
        if way == "zst":
            pytest.importorskip("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
        fake.write(fake.small(), path, type, user_streams=streams)
        data = path.read_bytes()
        if way == "gz":
            data = gzip.decompress(data)
        elif way == "zst":
            data = subprocess.run(["zstd", "-dc", path], check=True, capture_output=True).stdout
    check(data, dict(enumerate(payloads, start=0x10001)), told)


def test_of_an_existing_dump(tmp_path: Path) -> None:
    plain = tmp_path / "plain.dmp"
    fake.write(fake.small(), plain, md.DumpType.WITH_FULL_MEMORY, user_streams={0x30000: b"kept"})
    told: list[int] = []
    again = tmp_path / "again.dmp"
    md.write_dump(md.DumpFile(plain), again, user_streams={0x10001: linked(b"later", told)}, unknown_streams="keep")
    check(again.read_bytes(), {0x10001: b"later"}, told)
    with md.open_dump(again) as dump, md.open_dump(plain) as before:
        assert dump.read(0x50_0000, 4096) == before.read(0x50_0000, 4096)


def test_of_ourselves(tmp_path: Path) -> None:
    told: list[int] = []
    md.write_dump(os.getpid(), tmp_path / "app.dmp", user_streams={0x10001: linked(b"own", told)})
    check((tmp_path / "app.dmp").read_bytes(), {0x10001: b"own"}, told)


def test_readers_open_a_dump_whose_directory_is_elsewhere(tmp_path: Path) -> None:
    told: list[int] = []
    with live.python_target() as target:
        path = tmp_path / "app.dmp"
        report = md.write_dump(
            target.pid, path, "full", user_streams={0x10001: linked(bytes(range(256)) * 40, told)}, comment="moved"
        )
        live.assert_accepted(path, report)
    check(path.read_bytes(), {0x10001: bytes(range(256)) * 40}, told)


def test_what_a_callable_raises_or_returns_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    def fails(rva: int) -> bytes:
        raise LookupError(f"nothing for {rva}")

    for streams, error, why in (
        ({0x10001: fails}, LookupError, "nothing for 32"),
        ({0x10001: lambda rva: "text"}, TypeError, "must return bytes"),
        ({0x10001: lambda rva: None}, TypeError, "must return bytes"),
        ({7: lambda rva: b"x"}, ValueError, "reserved by Microsoft"),
        ({0x10001: lambda rva: bytes((1 << 28) - 31)}, ValueError, "256 MiB"),
    ):
        with pytest.raises(error, match=why):
            fake.write(fake.small(), tmp_path / "app.dmp", user_streams=streams)
        assert not list(tmp_path.iterdir())
