"""`exception=` on Windows, described in the process that takes the dump: a wrong address must not be its end."""

from __future__ import annotations

import ctypes
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

if sys.platform != "win32":
    pytest.skip("needs Windows; .ci/windows runs it", allow_module_level=True)

import file_rules

import minidump_cffi as md

ENGINES: Final = ("native", "dbghelp")
EXCEPTION_STREAM, CONTEXT_BYTES = 6, 1232
RECORD: Final = struct.pack("<IIQQI4x15Q", 0xC0000005, 0, 0, 0x12345678, 2, 1, 0xBAD, *[0] * 13)


@pytest.fixture(scope="module")
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits; it has to live when the tests end."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        assert process.poll() is None, "the process did not run on"


class Described:
    """EXCEPTION_POINTERS in our own memory."""

    def __init__(self, record: bytes = RECORD, context: bytes = bytes(CONTEXT_BYTES)) -> None:
        self._parts = [ctypes.create_string_buffer(part, len(part)) for part in (record, context)]
        self._pointers = (ctypes.c_uint64 * 2)(*map(ctypes.addressof, self._parts))

    def info(self, **wrong: int) -> md.ExceptionInfo:
        for member, address in wrong.items():
            self._pointers[("record", "context").index(member)] = address
        return md.ExceptionInfo(thread_id=4242, pointers=ctypes.addressof(self._pointers), client_pointers=False)


@pytest.mark.parametrize("engine", ENGINES)
def test_it_is_read_from_this_process(child: subprocess.Popen[bytes], tmp_path: Path, engine: Any) -> None:
    described = Described(context=bytes(0xF8) + b"instruct" + bytes(CONTEXT_BYTES - 0x100))
    md.write_dump(child, tmp_path / "x.dmp", engine=engine, exception=described.info())
    with file_rules.DumpFile(tmp_path / "x.dmp") as file:
        (found,) = [(at, size) for kind, size, at in file.directory if kind == EXCEPTION_STREAM]
        data = bytes(file.data[found[0] : found[0] + found[1]])
        assert struct.unpack_from("<I", data)[0] == 4242
        assert data[8:56] == RECORD[:48]  # of the parameters only two count
        size, at = struct.unpack_from("<II", data, 8 + len(RECORD))
        assert size >= CONTEXT_BYTES and bytes(file.data[at + 0xF8 : at + 0x100]) == b"instruct"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("wrong", ["pointers", "record", "context"])
def test_addresses_at_which_nothing_is(child: subprocess.Popen[bytes], tmp_path: Path, engine: Any, wrong: str) -> None:
    described = Described()
    info = md.ExceptionInfo(thread_id=4242, pointers=0x48, client_pointers=False)
    if wrong != "pointers":
        info = described.info(**{wrong: 0x48})
    with pytest.raises(ValueError, match="nothing to read at 0x48 in the memory of this process"):
        md.write_dump(child, tmp_path / "x.dmp", engine=engine, exception=info)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_addresses_at_which_the_target_has_nothing(child: subprocess.Popen[bytes], tmp_path: Path, engine: Any) -> None:
    info = md.ExceptionInfo(thread_id=4242, pointers=0x48)
    with pytest.raises(ValueError, match="nothing to read at 0x48 in the memory of the target"):
        md.write_dump(child, tmp_path / "x.dmp", engine=engine, exception=info)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_it_can_be_left_out(child: subprocess.Popen[bytes], tmp_path: Path, engine: Any) -> None:
    keep = md.Filter(streams={"exclude": ["exception"]})
    info = Described().info()
    md.write_dump(child, tmp_path / "x.dmp", engine=engine, exception=info, filter=keep, strict=True)
    with file_rules.DumpFile(tmp_path / "x.dmp") as file:
        assert EXCEPTION_STREAM not in [kind for kind, _, _ in file.directory]
