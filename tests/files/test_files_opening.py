"""Files that stand for a process: opening, recognising, unpacking and spooling, without a look at what they hold."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lz4.frame
import pytest

import minidump_cffi as md
from minidump_cffi._inputs import compression, opening, spool

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1 << 20
CONTENT = b"MDMP" + os.urandom(100_000) + bytes(3 * MIB) + os.urandom(50_001)
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
    "lz4": lz4.frame.compress,
}
linux = pytest.mark.linux


def content(given: Any, **options: Any) -> bytes:
    """What an engine would read."""
    with opening.opened(given, **options) as file:
        return whole(file.fd)


def whole(fd: int) -> bytes:
    with os.fdopen(os.dup(fd), "rb") as copy:
        place = copy.tell()
        copy.seek(0)
        data = copy.read()
        copy.seek(place)
    return data


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of temporary files: nothing may stay in it."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "app.dmp"
    path.write_bytes(CONTENT)
    return path


def test_a_plain_file_is_read_where_it_is(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "copied", None)  # which would be called to copy it
    for given in (str(plain), plain, os.fsencode(plain)):
        with opening.opened(given) as file:
            assert whole(file.fd) == CONTENT
            about = plain.stat()
            assert (file.identity, file.head) == ((about.st_dev, about.st_ino), CONTENT[: compression.HEAD])
            assert file.name == str(plain)


def test_descriptors_and_file_objects_stay_as_they_are(plain: Path) -> None:
    fd = os.open(plain, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    assert content(fd) == CONTENT
    assert os.lseek(fd, 0, os.SEEK_CUR) == 0
    os.lseek(fd, 10, os.SEEK_SET)
    assert content(fd) == CONTENT[10:]
    assert os.lseek(fd, 0, os.SEEK_CUR) == 10
    os.close(fd)
    for buffering in (0, -1):
        with plain.open("rb", buffering=buffering) as file:
            assert content(file) == CONTENT
            assert file.tell() == 0
            assert file.read(5) == CONTENT[:5]
            assert content(file) == CONTENT[5:]
            assert (file.tell(), file.closed) == (5, False)
    with plain.open("r+b") as both:
        both.seek(0, os.SEEK_END)
        both.write(b"tail")
        both.seek(0)
        assert content(both) == CONTENT + b"tail"


def test_objects_with_read_are_copied() -> None:
    class Slow:
        def __init__(self) -> None:
            self.pieces = [CONTENT[:7], bytearray(CONTENT[7:100]), memoryview(CONTENT)[100:], b""]

        def read(self, size: int) -> Any:
            return self.pieces.pop(0)

    assert content(io.BytesIO(CONTENT)) == CONTENT
    assert content(Slow()) == CONTENT


@pytest.mark.parametrize("name", PACKERS)
def test_compressed_files_are_unpacked(name: str, tmp_path: Path) -> None:
    """By their content, whatever their name; also several members, and as a stream."""
    packed = PACKERS[name](CONTENT)
    path = tmp_path / "core"
    path.write_bytes(packed)
    assert content(path) == CONTENT
    assert content(io.BytesIO(packed)) == CONTENT
    half = len(CONTENT) // 2
    path.write_bytes(PACKERS[name](CONTENT[:half]) + PACKERS[name](CONTENT[half:]))
    assert content(path) == CONTENT
    with path.open("rb") as file:
        assert content(file) == CONTENT
        assert file.tell() == 0


@pytest.mark.parametrize("name", ["gzip", "xz"])
def test_padding_after_members_is_allowed(name: str) -> None:
    packed = PACKERS[name](CONTENT)
    assert content(io.BytesIO(packed + bytes(8))) == CONTENT
    assert content(io.BytesIO(packed + bytes(8) + packed)) == CONTENT * 2


@pytest.mark.parametrize("name", PACKERS)
def test_a_compressed_file_that_is_cut(name: str) -> None:
    """What there is can be used; a note says so. Every cut of the end of a small one, and some of a large one."""
    small = PACKERS[name](b"MDMP and a little more" * 3)
    for size in range(len(small) - 1, len(small) - 8, -1):
        pieces = compression.Unpacked(cast_codec(name), iter([small[:size]]))
        assert (b"MDMP and a little more" * 3).startswith(b"".join(pieces))
        assert pieces.cut
    data = os.urandom(3 * MIB)
    packed = PACKERS[name](data)
    with opening.opened(io.BytesIO(packed[: len(packed) // 2])) as file:
        found = whole(file.fd)
        assert data.startswith(found)
        assert len(found) > MIB // 2
        assert len(file.notes) == 1
        assert f"is cut: it ends after {len(found):,} bytes" in file.notes[0]


def cast_codec(name: str) -> compression.Codec:
    return next(codec for codec in compression.CODECS if codec.name == name)


def test_nothing_is_kept_back_at_the_end_of_a_cut_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decompressor may have more to give when it has taken all of the input."""
    monkeypatch.setattr(compression, "PIECE", 100)
    packed = gzip.compress(bytes(100_000))
    for size in range(len(packed) - 20, len(packed) - 8):
        expected = zlib.decompressobj(wbits=31).decompress(packed[:size])
        assert content(io.BytesIO(packed[:size])) == expected


@pytest.mark.parametrize("name", PACKERS)
def test_damaged_data_is_an_error(name: str) -> None:
    packed = bytearray(PACKERS[name](os.urandom(MIB)))
    for at in range(len(packed) // 2, len(packed) // 2 + 64):
        packed[at] ^= 0xFF
    if name == "lz4":  # its frames have no checksum unless that is asked for; what a block may hold is limited
        packed[7:11] = b"\xff\xff\xff\x7f"
    if name == "zstd":
        packed[12:16] = b"\xff\xff\xff\xff"
    with pytest.raises(md.InputError, match=f"the {name} data of the input is damaged") as caught:
        content(io.BytesIO(bytes(packed)))
    assert caught.value.errno == errno.EBADMSG


def test_what_follows_a_member_and_is_none() -> None:
    with pytest.raises(md.FormatError, match=r"after it bytes that are not: they begin with 67 61 72 62"):
        content(io.BytesIO(gzip.compress(CONTENT) + b"garbage"))
    with pytest.raises(md.FormatError, match="is xz data within gzip data"):
        content(io.BytesIO(gzip.compress(lzma.compress(CONTENT))))


@pytest.mark.parametrize("name", PACKERS)
def test_a_bomb_is_an_error(name: str) -> None:
    """Zeros, which take no room: the limit is of the content. The memory that is used is bounded by a step."""
    bomb = PACKERS[name](bytes(64 * MIB))
    assert len(bomb) < MIB
    with pytest.raises(md.InputError, match=r"more than 10,485,760 bytes.*larger max_input") as caught:
        content(io.BytesIO(bomb), limit=10 * MIB)
    assert caught.value.errno == errno.EFBIG
    with opening.opened(io.BytesIO(bomb), limit=64 * MIB) as file:
        assert os.fstat(file.fd).st_size == 64 * MIB


def test_the_default_limit_leaves_room(monkeypatch: pytest.MonkeyPatch, scratch: Path) -> None:
    """What is zero does not count: it takes none."""
    usage = type(shutil.disk_usage(scratch))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, 0, spool.RESERVE + 200_000))
    assert content(io.BytesIO(CONTENT)) == CONTENT
    with pytest.raises(md.InputError, match=r"more than 200,000 bytes that are not zero.*TMPDIR") as caught:
        content(io.BytesIO(os.urandom(300_000)))
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.setattr(spool, "DEFAULT_LIMIT", 1000)
    with pytest.raises(md.InputError, match="more than 1,000 bytes"):
        content(io.BytesIO(CONTENT))
    assert content(io.BytesIO(CONTENT), limit=len(CONTENT)) == CONTENT


@linux
def test_zeros_become_holes() -> None:
    with opening.opened(io.BytesIO(b"\x7fELF" + bytes(50 * MIB) + b"end" + bytes(10_000))) as file:
        about = os.fstat(file.fd)
        assert about.st_size == 4 + 50 * MIB + 3 + 10_000
        assert about.st_blocks * 512 <= 64 << 10


def test_copies_go_where_they_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    assert content(io.BytesIO(CONTENT), directory=tmp_path) == CONTENT
    with pytest.raises(md.InputError, match="no temporary file can be made in") as caught:
        content(io.BytesIO(CONTENT), directory=tmp_path / "none")
    assert caught.value.errno == errno.ENOENT


@linux
def test_fifos_and_pipes(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def write() -> None:
        time.sleep(0.2)  # the reader is there first, and must not take that for the end
        fifo.write_bytes(CONTENT)

    writer = threading.Thread(target=write)
    writer.start()
    assert content(fifo) == CONTENT
    writer.join()
    ends = os.pipe()
    writer = threading.Thread(target=lambda: (os.write(ends[1], b"MDMP!"), os.close(ends[1])))
    writer.start()
    assert content(ends[0]) == b"MDMP!"
    os.close(ends[0])
    writer.join()
    ours, theirs = socket.socketpair()
    theirs.sendall(b"MDMP?")
    theirs.close()
    with ours:
        assert content(ours.fileno()) == b"MDMP?"


@linux
def test_deadline_and_cancel_while_nothing_comes(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    start = time.monotonic()
    with pytest.raises(md.DeadlineExceeded):
        md.plan_dump(md.AnyFile(fifo), deadline=0.3)
    with pytest.raises(md.Cancelled):
        md.write_dump(md.CoreFile(fifo), tmp_path / "out.dmp", on_cancel=lambda: time.monotonic() > start + 0.6)
    assert time.monotonic() < start + 5
    assert [path.name for path in tmp_path.iterdir() if path.name != "scratch"] == ["fifo"]


def test_progress_of_a_copy_says_how_much_was_read(tmp_path: Path) -> None:
    path = tmp_path / "core.gz"
    path.write_bytes(gzip.compress(b"PK\3\4" + os.urandom(4 * MIB)))
    seen: list[md.Progress] = []

    class Slow(io.FileIO):
        def read(self, size: int = -1, /) -> bytes:
            time.sleep(opening.PERIOD)
            return super().read(size)  # type: ignore[return-value]

    with Slow(path) as slow:
        for given in (path, slow):
            with pytest.raises(md.FormatError, match="neither a core nor a minidump, but a zip archive"):
                md.write_dump(md.AnyFile(given), os.devnull, progress=seen.append)
    assert seen and all(state.bytes_total in (0, path.stat().st_size) for state in seen)
    assert max(state.bytes_done for state in seen) > MIB


def test_what_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(md.InputError, match="is a directory: an input is a file or a FIFO") as caught:
        content(tmp_path)
    assert (caught.value.errno, caught.value.filename) == (errno.EISDIR, str(tmp_path))
    with pytest.raises(md.InputError, match=r"cannot open .*none: .*\(err") as caught:
        content(tmp_path / "none")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, str(tmp_path / "none"))
    (tmp_path / "empty").touch()
    for empty in (tmp_path / "empty", io.BytesIO(), io.BytesIO(gzip.compress(b""))):
        with pytest.raises(md.FormatError, match="is empty"):
            content(empty)
    with pytest.raises(md.InputError, match="invalid path"):
        content("a\0b")
    with pytest.raises(md.InputError, match="cannot read descriptor 9999"):
        content(9999)
    with (tmp_path / "empty").open("wb") as file, pytest.raises(md.InputError, match="cannot read"):
        content(file.fileno())
    with pytest.raises(TypeError, match="open it in binary mode"):
        content(io.StringIO("MDMP"))
    with pytest.raises(TypeError, match="gives str"):
        content(type("Text", (), {"read": lambda self, size: "MDMP"})())
    with pytest.raises(md.InputError, match="non-blocking") as caught:
        content(type("None", (), {"read": lambda self, size: None})())
    assert caught.value.errno == errno.EAGAIN
    for nothing in (True, 1.5, None, object()):
        with pytest.raises(TypeError):
            content(nothing)


@linux
def test_special_files_are_refused(tmp_path: Path) -> None:
    for path in ("/dev/zero", "/dev/null"):
        with pytest.raises(md.InputError, match="is a device"):
            content(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(md.InputError, match="is a socket"):
            content(tmp_path / "socket")
    (tmp_path / "link").symlink_to("dir")
    (tmp_path / "dir").write_bytes(CONTENT)
    assert content(tmp_path / "link") == CONTENT


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("compression.zstd", "backports.zstd", "lz4.frame"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("zstd", "lz4"):
        with pytest.raises(md.InputError, match=rf"pip install minidump_cffi\[{name}\]") as caught:
            content(io.BytesIO(PACKERS[name](CONTENT)))
        assert caught.value.hint == f"pip install minidump_cffi[{name}]"


def test_no_extra_is_imported_without_need() -> None:
    script = (
        "import sys, io, minidump_cffi as md\n"
        "try: md.plan_dump(md.AnyFile(io.BytesIO(b'PK')))\n"
        "except md.FormatError: pass\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = done.stdout.split()
    assert "minidump_cffi._inputs.opening" in imported
    assert [name for name in ("lz4", "fsspec", "compression.zstd", "backports.zstd") if name in imported] == []


@pytest.mark.parametrize("kind", [md.CoreFile, md.DumpFile, md.AnyFile])
def test_files_are_values(kind: Any) -> None:
    for given in ("core.1", b"core.1", Path("core.1"), "s3://bucket/core.1"):
        made = kind(given, max_input="1 GiB")
        assert pickle.loads(pickle.dumps(made)) == made
        assert made.max_input == 1 << 30
        assert made.name == os.fsdecode(given)
    for given in (3, io.BytesIO(b"MDMP")):
        with pytest.raises(TypeError, match="give a path to pickle it"):
            pickle.dumps(kind(given))
    for wrong in (True, None, 1.5, ["core"]):
        with pytest.raises(TypeError, match="a file is a path, a descriptor or an object with read"):
            kind(wrong)
    with pytest.raises(md.FilterError, match="max_input"):
        kind("core", max_input="much")
    with pytest.raises(ValueError, match="max_input must be above 0"):
        kind("core", max_input=0)


def test_what_is_said_of_a_core_is_checked() -> None:
    assert md.CoreFile("core", text="files", root="/sys", executable=b"a.out").text == "files"
    with pytest.raises(ValueError, match="text must be one of core, files"):
        md.CoreFile("core", text="all")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="root must be a path"):
        md.CoreFile("core", root=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="executable must be a path, not the URL"):
        md.CoreFile("core", executable="http://host/a.out")


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"PAGEDU64", "a crash dump of the Windows kernel"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        (b"Problem\x54ype: Crash", "a report of Apport"),
        (b"\x01\x02\x03\x04\x05", "it begins with 01 02 03 04"),
    ],
)
def test_other_files_are_called_by_their_name(head: bytes, what: str) -> None:
    for kind in (md.CoreFile, md.DumpFile, md.AnyFile):
        with pytest.raises(md.FormatError, match=f"neither a core nor a minidump.*{what}"):
            md.plan_dump(kind(io.BytesIO(head)))


def test_the_wrong_kind_is_said() -> None:
    with pytest.raises(md.FormatError, match="is an ELF file, no minidump: give a CoreFile"):
        md.plan_dump(md.DumpFile(io.BytesIO(b"\x7fELF\2\1\1")))
    with pytest.raises(md.FormatError, match="is a minidump, no core: give a DumpFile"):
        md.plan_dump(md.CoreFile(io.BytesIO(b"MDMP\x93\xa7")))


@pytest.mark.parametrize("mode", ["path", "descriptor", "command"])
def test_an_input_that_is_the_output_stays_as_it_is(mode: str, tmp_path: Path) -> None:
    """A descriptor at its beginning is not cut back: nothing was written."""
    path = tmp_path / "in.dmp"
    content = (Path(__file__).parents[1] / "data" / "own-a-crashpad.dmp").read_bytes()
    path.write_bytes(content)
    with path.open("rb") as file, path.open("r+b") as out:
        if mode == "command":
            command = [sys.executable, "-m", "minidump_cffi", "filter", "-", "-o", "-"]
            done = subprocess.run(command, stdin=file, stdout=out, stderr=subprocess.PIPE, check=False)
            assert done.returncode == 1 and b"both input and output" in done.stderr
        else:
            with pytest.raises(md.SinkError, match="both input and output"):
                md.write_dump(md.DumpFile(path if mode == "path" else file), out)
    assert path.read_bytes() == content
