"""Where a dump can go, and that it appears there complete or not at all."""

from __future__ import annotations

import errno
import gzip
import io
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake
import pytest

import minidump_cffi as md
from minidump_cffi import sinks

FULL = md.DumpType.WITH_FULL_MEMORY
TARGET = fake.small()
FAILING = fake.small(regions=(fake.Region(base=0x50_0000, size=4096, unreadable=(0x50_0000, 0x50_1000)),), threads=())
ABORT = md.Filter(read_failure="abort")


@pytest.fixture(scope="module")
def dump() -> bytes:
    """The bytes every output has to get; a stream gets others, for it cannot be patched."""
    file = io.BytesIO()
    fake.write(TARGET, file, FULL)
    return file.getvalue()


def without_time(data: bytes) -> bytes:
    return data[:20] + data[24:]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing may be left but what the test names."""
    place = tmp_path / "out"
    place.mkdir()
    yield place
    assert not [name for name in fake.names(place) if name.startswith(".minidump")]


def fails(file: Any, **options: Any) -> md.ReadError:
    with pytest.raises(md.ReadError) as caught:
        fake.write(FAILING, file, FULL, filter=ABORT, **options)
    return caught.value


@pytest.mark.parametrize("kind", [str, Path, os.fsencode], ids=["str", "path", "bytes"])
def test_a_new_path(kind: Any, folder: Path, dump: bytes) -> None:
    path = folder / "new.dmp"
    old = os.umask(0o777)
    try:
        report = fake.write(TARGET, kind(path), FULL)
    finally:
        os.umask(old)
    assert without_time(path.read_bytes()) == without_time(dump)
    assert path.stat().st_size == report.file_bytes
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert fake.names(folder) == ["new.dmp"]


def test_a_path_with_odd_bytes(folder: Path, dump: bytes) -> None:
    path = os.fsencode(folder) + b"/od\xff d.dmp"
    fake.write(TARGET, path, FULL)
    assert fake.names(folder) == ["od\udcff d.dmp"]


def test_a_file_is_replaced_at_once(folder: Path, dump: bytes) -> None:
    path = folder / "old.dmp"
    path.write_bytes(b"old")
    path.chmod(0o644)
    with path.open("rb") as old:
        fake.write(TARGET, path, FULL)
        assert old.read() == b"old", "who has the old file open keeps it"
    assert without_time(path.read_bytes()) == without_time(dump)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_failed_dump_leaves_nothing(folder: Path) -> None:
    error = fails(folder / "new.dmp")
    assert error.address == 0x50_0000
    assert fake.names(folder) == []


def test_a_failed_dump_leaves_the_old_file(folder: Path) -> None:
    path = folder / "old.dmp"
    path.write_bytes(b"old")
    fails(path)
    assert path.read_bytes() == b"old"
    assert fake.names(folder) == ["old.dmp"]


def test_symbolic_links_are_followed(folder: Path, dump: bytes) -> None:
    real = folder / "real.dmp"
    real.write_bytes(b"old")
    (folder / "link").symlink_to("real.dmp")
    (folder / "dangling").symlink_to("to-be.dmp")
    fake.write(TARGET, folder / "link", FULL)
    fake.write(TARGET, folder / "dangling", FULL)
    assert (folder / "link").is_symlink()
    assert without_time(real.read_bytes()) == without_time(dump)
    assert without_time((folder / "to-be.dmp").read_bytes()) == without_time(dump)


def no_unnamed_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that cannot make a file without a name."""
    real = os.open

    def refuse(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refuse)


@pytest.mark.parametrize("there", [False, True])
def test_where_files_need_names(there: bool, folder: Path, dump: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    no_unnamed_files(monkeypatch)
    path = folder / "a.dmp"
    if there:
        path.write_bytes(b"old")
    fails(path)
    assert fake.names(folder) == (["a.dmp"] if there else [])
    fake.write(TARGET, path, FULL)
    assert without_time(path.read_bytes()) == without_time(dump)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert fake.names(folder) == ["a.dmp"]


class Interrupt(BaseException):
    """What a signal handler raises."""


def interrupted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: Callable[..., bool]) -> list[Any]:
    """A signal handler raises when the first such call has come back; what it returned is in the list."""
    real, returned = getattr(owner, name), []

    def call(*values: Any, **named: Any) -> Any:
        found = real(*values, **named)
        if not returned and when(*values):
            returned.append(found)
            raise Interrupt
        return found

    monkeypatch.setattr(owner, name, call)
    return returned


@pytest.mark.parametrize(
    ("named", "function"),
    [(False, "open"), (False, "link"), (False, "replace"), (True, "open"), (True, "replace")],
)
def test_an_interrupt_leaves_no_file_in_the_making(
    named: bool, function: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call has been made, and what it returned is lost."""
    if named:
        no_unnamed_files(monkeypatch)
    path = folder / "a.dmp"
    path.write_bytes(b"old")
    creates = os.O_CREAT if named else os.O_TMPFILE
    lost = interrupted(monkeypatch, os, function, lambda *values: function != "open" or values[1] & creates == creates)
    with pytest.raises(Interrupt):
        fake.write(TARGET, path, FULL)
    assert len(lost) == 1
    assert fake.names(folder) == ["a.dmp"]
    if function == "open":
        os.close(lost[0])


@pytest.mark.parametrize("named", [False, True], ids=["unnamed", "named"])
def test_an_output_that_an_interrupt_lost(named: bool, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if named:
        no_unnamed_files(monkeypatch)
    before = fake.names(Path("/proc/self/fd"))
    lost = interrupted(monkeypatch, sinks, "open_sink", lambda *_: True)
    with pytest.raises(Interrupt):
        fake.write(TARGET, folder / "a.dmp", FULL)
    lost.clear()
    assert fake.names(folder) == []
    assert fake.names(Path("/proc/self/fd")) == before


def test_an_interrupt_closes_no_number_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may have the number by then."""
    closed: list[int] = []
    sink = sinks.open_sink(folder / "a.dmp", spool=True, fsync=False, give_up=lambda: None)
    real = os.close
    monkeypatch.setattr(os, "close", lambda fd: (closed.append(fd), real(fd)))
    interrupted(monkeypatch, os, "close", lambda _: True)
    with pytest.raises(Interrupt):
        sink.discard()
    sink.discard()
    del sink
    assert len(closed) == len(set(closed)) != 0


def test_fsync_reaches_file_and_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda fd: flushed.append(stat.S_ISDIR(os.fstat(fd).st_mode)))
    fake.write(TARGET, folder / "a.dmp", FULL)
    assert flushed == []
    fake.write(TARGET, folder / "a.dmp", FULL, fsync=True)
    assert flushed == [True], "the file itself is flushed in C"


@pytest.mark.parametrize("named", [False, True], ids=["unnamed", "named"])
@pytest.mark.parametrize("taken", [False, True], ids=["new", "replaced"])
def test_a_folder_that_cannot_be_flushed(
    named: bool, taken: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new name goes again; what was replaced is gone, so the dump stays, and the error says so."""

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    if named:
        no_unnamed_files(monkeypatch)
    monkeypatch.setattr(os, "fsync", refuse)
    path = folder / "a.dmp"
    if taken:
        path.write_bytes(b"before")
    with pytest.raises(md.SinkError, match="cannot flush the folder of") as caught:
        fake.write(TARGET, path, FULL, fsync=True)
    assert caught.value.errno == errno.EIO and caught.value.phase is md.report.Phase.FINISH
    assert fake.names(folder) == (["a.dmp"] if taken else [])
    assert ("the dump has its final name" in str(caught.value)) is taken
    if taken:
        assert path.read_bytes()[:4] == b"MDMP"


def test_a_rename_that_fails_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(md.SinkError, match="put in place") as caught:
        fake.write(TARGET, folder / "a.dmp", FULL)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.phase is md.report.Phase.FINISH
    assert fake.names(folder) == []


def test_killed_while_writing(folder: Path) -> None:
    """SIGKILL: no file, no part of one, under any name."""
    program = f"""if True:
        import os, sys
        sys.path[:0] = {sys.path!r}
        import fake, minidump_cffi as md
        target = fake.Target(regions=(fake.Region(base=0x10000000, size=1 << 33, touch_every=1),))
        fake.write(target, sys.argv[1], md.DumpType.WITH_FULL_MEMORY, progress=lambda _: print(1, flush=True))
    """
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder / "big.dmp")], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "1\n"
        child.kill()
    assert fake.names(folder) == []


@pytest.mark.parametrize(
    ("make", "number"),
    [
        (lambda folder: folder, errno.EISDIR),
        (lambda folder: str(folder) + "/", errno.EISDIR),
        (lambda folder: folder / "missing" / "a.dmp", errno.ENOENT),
        (lambda folder: "/proc/a.dmp", None),
        (lambda folder: "", errno.ENOENT),
        (lambda folder: "a\0b", errno.EINVAL),
        (lambda folder: folder / ("x" * 300), errno.ENAMETOOLONG),
        (lambda folder: 9999, errno.EBADF),
        (lambda folder: -1, errno.EBADF),
        (lambda folder: "/dev/full", errno.ENOSPC),
    ],
)
def test_unwritable(make: Any, number: int | None, folder: Path) -> None:
    with pytest.raises(md.SinkError) as caught:
        fake.write(TARGET, make(folder), FULL)
    assert isinstance(caught.value, OSError)
    # What the system says of /proc depends on the user.
    assert caught.value.errno == number or (number is None and caught.value.errno)
    assert fake.names(folder) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="the folder is made unwritable by a user change")
def test_a_folder_without_permission(folder: Path) -> None:
    folder.chmod(0o555)
    program = f"""if True:
        import os, sys
        sys.path[:0] = {sys.path!r}
        import fake, minidump_cffi as md
        os.setegid(65534); os.seteuid(65534)
        try: fake.write(fake.small(), sys.argv[1])
        except md.SinkError as error: print(error.errno, error)
    """
    for place in folder.parents:
        if place.stat().st_uid == 0 and place.name.startswith("pytest-"):
            place.chmod(0o755)
    said = subprocess.run(
        [sys.executable, "-c", program, str(folder / "a.dmp")], capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith(f"{errno.EACCES} ")


# ------------------------------------------------------------------------------------------------------ descriptors


def test_a_descriptor_is_written_from_its_position(folder: Path, dump: bytes) -> None:
    path = folder / "a.dmp"
    path.write_bytes(b"head" + b"x" * 1_000_000)
    with path.open("r+b", buffering=0) as file:
        file.seek(4)
        report = fake.write(TARGET, file.fileno(), FULL)
        assert file.tell() == 4 + report.file_bytes
    assert without_time(path.read_bytes()[4:]) == without_time(dump)


def test_a_failed_dump_is_cut_off_a_descriptor(folder: Path) -> None:
    path = folder / "a.dmp"
    path.write_bytes(b"head")
    with path.open("r+b", buffering=0) as file:
        file.seek(4)
        fails(file.fileno())
        assert file.tell() == 4
    assert path.read_bytes() == b"head"


def test_append(folder: Path, dump: bytes) -> None:
    path = folder / "a.dmp"
    path.write_bytes(b"head")
    with path.open("ab", buffering=0) as file:
        report = fake.write(TARGET, file.fileno(), FULL)
    assert path.stat().st_size == 4 + report.file_bytes


def test_a_descriptor_for_reading(folder: Path) -> None:
    path = folder / "a"
    path.touch()
    with path.open("rb") as file, pytest.raises(md.SinkError) as caught:
        fake.write(TARGET, file.fileno(), FULL)
    assert caught.value.errno == errno.EBADF


def test_a_pipe_gets_a_whole_dump() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdin is not None and reader.stdout is not None
        taken: list[bytes] = []
        thread = threading.Thread(target=lambda: taken.append(reader.stdout.read()))  # type: ignore[union-attr]
        thread.start()
        report = fake.write(TARGET, reader.stdin.fileno(), FULL)
        reader.stdin.close()
        thread.join()
    assert len(taken[0]) == report.file_bytes
    assert taken[0][:4] == b"MDMP"


def test_a_closed_pipe() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        with pytest.raises(md.SinkError) as caught:
            fake.write(TARGET, write, FULL)
    finally:
        os.close(write)
    assert caught.value.errno == errno.EPIPE


def test_a_socket() -> None:
    ours, theirs = socket.socketpair()
    taken: list[bytes] = []

    def read() -> None:
        while data := theirs.recv(1 << 16):
            taken.append(data)

    with ours, theirs:
        thread = threading.Thread(target=read)
        thread.start()
        report = fake.write(TARGET, ours.fileno(), FULL)
        ours.shutdown(socket.SHUT_WR)
        thread.join()
    assert len(b"".join(taken)) == report.file_bytes


def test_a_fifo_waits_for_its_reader(folder: Path) -> None:
    path = folder / "fifo"
    os.mkfifo(path)
    taken: list[bytes] = []

    def read() -> None:
        time.sleep(0.2)
        taken.append(path.read_bytes())

    thread = threading.Thread(target=read)
    thread.start()
    report = fake.write(TARGET, path, FULL)
    thread.join()
    assert len(taken[0]) == report.file_bytes
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_fifo_without_a_reader_ends_with_the_deadline(folder: Path) -> None:
    path = folder / "fifo"
    os.mkfifo(path)
    with pytest.raises(md.DeadlineExceeded):
        fake.write(TARGET, path, FULL, deadline=0.1)
    with pytest.raises(md.Cancelled):
        fake.write(TARGET, path, FULL, on_cancel=lambda: True)


def test_devices(dump: bytes) -> None:
    assert fake.write(TARGET, "/dev/null", FULL).complete


def test_a_file_that_lost_its_name(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        report = fake.write(TARGET, f"/dev/fd/{file.fileno()}", FULL)
        assert os.fstat(file.fileno()).st_size == report.file_bytes


# ----------------------------------------------------------------------------------------------------- file objects


@pytest.mark.parametrize("mode", ["wb", "w+b", "r+b", "xb"])
@pytest.mark.parametrize("buffering", [-1, 0])
def test_open_files(mode: str, buffering: int, folder: Path, dump: bytes) -> None:
    path = folder / "a.dmp"
    if mode == "r+b":
        path.write_bytes(b"z" * 10)
    with path.open(mode, buffering=buffering) as file:
        if mode == "r+b":
            assert file.read(1) == b"z"  # read-ahead must not move the dump
        else:
            file.write(b"z")
        fake.write(TARGET, file, FULL)
        file.write(b"end")
    data = path.read_bytes()
    assert data[:1] == b"z" and data[-3:] == b"end"
    assert without_time(data[1:-3]) == without_time(dump)


def test_memory_and_compression(dump: bytes) -> None:
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb") as zipped:
        fake.write(TARGET, zipped, FULL)
    assert without_time(gzip.decompress(file.getvalue())) == without_time(dump)


class Raw(io.RawIOBase):
    """A raw stream that takes at most so many bytes at a time."""

    def __init__(self, most: int | None) -> None:
        self.most = most
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int | None:
        if self.most is None:
            return None
        self.data += bytes(data[: self.most])
        return min(len(data), self.most)


class Counting:
    """Takes everything, but returns a number of its own, as compressors do."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: Any) -> int:
        self.data += bytes(data)
        return 3


@pytest.mark.parametrize("spool", [True, False])
def test_short_writes(spool: bool, dump: bytes) -> None:
    raw, counting = Raw(1000), Counting()
    first = fake.write(TARGET, raw, FULL, spool=spool)
    second = fake.write(TARGET, counting, FULL, spool=spool)
    assert len(raw.data) == first.file_bytes
    assert without_time(bytes(raw.data)) == without_time(bytes(counting.data))
    assert len(counting.data) == second.file_bytes


@pytest.mark.parametrize(("most", "number"), [(None, errno.EAGAIN), (0, errno.EIO)])
@pytest.mark.parametrize("spool", [True, False])
def test_a_raw_stream_that_takes_nothing(most: int | None, number: int, spool: bool) -> None:
    with pytest.raises(md.SinkError) as caught:
        fake.write(TARGET, Raw(most), FULL, spool=spool)
    assert caught.value.errno == number


class Broken:
    """Fails after some bytes with an exception of its own."""

    class Error(BaseException):
        """Not even an Exception."""

    def __init__(self, after: int) -> None:
        self.after = after

    def write(self, data: Any) -> None:
        self.after -= len(data)
        if self.after < 0:
            raise self.Error("mine")


@pytest.mark.parametrize("spool", [True, False])
def test_what_a_file_object_raises_comes_out_whole(spool: bool) -> None:
    with pytest.raises(Broken.Error, match="mine") as caught:
        fake.write(TARGET, Broken(100_000), FULL, spool=spool)
    names = [entry.name for entry in caught.traceback]
    assert "write" in names, "with the traceback of the place where it was raised"


def test_an_object_that_is_spooled_gets_nothing_of_a_failed_dump() -> None:
    file = io.BytesIO()
    fails(file)
    assert file.getvalue() == b""


def test_spool_in_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    real = sinks._outputs.temporary_file
    monkeypatch.setattr(sinks._outputs, "temporary_file", lambda name: seen.append(name) or real(name))
    file = io.BytesIO()
    fake.write(TARGET, file, FULL, spool=folder)
    assert seen == [str(folder)]
    with pytest.raises(md.SinkError) as caught:
        fake.write(TARGET, file, FULL, spool=folder / "missing")
    assert caught.value.errno == errno.ENOENT


def test_handing_on_can_be_cancelled(dump: bytes) -> None:
    file = Counting()
    with pytest.raises(md.Cancelled):
        fake.write(
            fake.Target(regions=(fake.Region(base=0x10_0000, size=4 << 20),)),
            file,
            FULL,
            on_cancel=lambda: len(file.data) > 0,
        )
    assert len(file.data) == sinks.CHUNK


@pytest.mark.parametrize(
    "file", [io.StringIO(), True, object(), 1.5, None], ids=["text", "bool", "object", "float", "none"]
)
def test_what_is_no_output(file: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        fake.write(TARGET, file, FULL)


def test_text_files_are_refused_with_the_reason(folder: Path) -> None:
    with (folder / "a").open("w") as file, pytest.raises(TypeError, match="binary mode"):
        fake.write(TARGET, file, FULL)


def test_forward_io_goes_back_only_where_it_can() -> None:
    file = io.BytesIO(b"old")
    file.seek(3)
    io_handler = sinks.ForwardIo(file)
    io_handler.write(0, memoryview(b"aaaa"))
    io_handler.write(8, memoryview(b"bb"))
    io_handler.write(2, memoryview(b"cc"))
    io_handler.finish()
    assert file.getvalue() == b"oldaacc\0\0\0\0bb"
    with pytest.raises(md.SinkError) as caught:
        sinks.ForwardIo(Counting()).write(5, memoryview(b"x"))
    assert caught.value.errno == errno.ESPIPE


def test_no_descriptors_are_lost(folder: Path) -> None:
    def count() -> int:
        return len(fake.names("/proc/self/fd"))

    before = count()
    for _ in range(3):
        fake.write(TARGET, folder / "a.dmp", FULL)
        fake.write(TARGET, io.BytesIO(), FULL)
        fake.write(TARGET, io.BytesIO(), FULL, spool=False)
        fails(folder / "a.dmp")
        fails(io.BytesIO())
    assert count() == before


def test_a_write_to_a_dead_pipe_raises_no_signal() -> None:
    assert signal.getsignal(signal.SIGPIPE) in (signal.SIG_IGN, signal.SIG_DFL)
    old = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        test_a_closed_pipe()
    finally:
        signal.signal(signal.SIGPIPE, old)
