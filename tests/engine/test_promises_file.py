"""Promise: a dump appears complete under its name, or not at all. And: complete means that all was read."""

from __future__ import annotations

import errno
import io
import json
import operator
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import file_rules
import live
import pytest

import minidump_cffi as md

FULL = md.DumpType.WITH_FULL_MEMORY
Start = Callable[..., live.Target]


def left_in(folder: Path) -> list[str]:
    """Names in a folder, also hidden ones."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder for the dump alone."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def test_mode_is_private_whatever_the_umask(start_pattern: Start, place: Path) -> None:
    target = start_pattern()
    before = os.umask(0)
    try:
        md.write_dump(target.pid, place / "d.dmp")
    finally:
        os.umask(before)
    assert stat.S_IMODE((place / "d.dmp").stat().st_mode) == 0o600
    assert left_in(place) == ["d.dmp"]


def test_an_old_file_is_replaced_whole(start_pattern: Start, place: Path) -> None:
    target = start_pattern()
    path = place / "d.dmp"
    path.write_bytes(b"old" * 10_000_000)
    report = md.write_dump(target.pid, path)
    assert path.stat().st_size == report.file_bytes
    live.assert_accepted(path, report)


def boom() -> bool:
    """A hook that raises."""
    raise LookupError("the hook's own")


FAILURES: dict[str, tuple[dict[str, Any], type[BaseException]]] = {
    "cancelled": ({"on_cancel": lambda: True}, md.Cancelled),
    "deadline": ({"deadline": 1e-6}, md.DeadlineExceeded),
    "hook-raises": ({"on_cancel": boom}, LookupError),
    "progress-raises": ({"progress": lambda _: boom()}, LookupError),
}


@pytest.mark.parametrize("name", list(FAILURES))
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_a_failure_leaves_nothing_and_spoils_nothing(
    name: str, existing: bool, start_pattern: Start, place: Path
) -> None:
    target = start_pattern("--heap", 256)
    path = place / "d.dmp"
    if existing:
        path.write_bytes(b"the old dump")
    options, expected = FAILURES[name]
    with pytest.raises(expected):
        md.write_dump(target.pid, path, FULL, **options)
    target.assert_runs_on()
    if existing:
        assert path.read_bytes() == b"the old dump"
        assert left_in(place) == ["d.dmp"]
    else:
        assert left_in(place) == []


def test_a_killed_dumper_leaves_no_dump_under_the_name(start_pattern: Start, place: Path) -> None:
    target = start_pattern("--heap", 512)
    path = place / "d.dmp"
    program = (
        "import sys, minidump_cffi as md\nprint('go', flush=True)\nmd.write_dump(int(sys.argv[1]), sys.argv[2], 2)\n"
    )
    dumper = subprocess.Popen([sys.executable, "-c", program, str(target.pid), str(path)], stdout=subprocess.PIPE)
    try:
        assert dumper.stdout is not None
        dumper.stdout.readline()
        live.wait_until(lambda: live.status_field(target.pid, "TracerPid") != "0" or dumper.poll() is not None, "stop")
        dumper.send_signal(signal.SIGKILL)
    finally:
        assert dumper.wait(live.PATIENCE) == -signal.SIGKILL
        dumper.stdout.close()
    assert not path.exists()
    target.assert_runs_on()


@pytest.mark.parametrize("full", [False, True], ids=["normal", "full"])
def test_a_full_disk(full: bool, start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern("--heap", 32)
    with live.small_filesystem(tmp_path / "small", "16k" if not full else "8m") as folder:
        path = folder / "d.dmp"
        with pytest.raises(md.SinkError) as caught:
            md.write_dump(target.pid, path, FULL if full else md.DumpType.NORMAL)
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.phase is not None
        assert caught.value.pid == target.pid
        assert os.strerror(errno.ENOSPC) in str(caught.value)
        assert left_in(folder) == []
    target.assert_runs_on()


def test_a_full_disk_with_a_file_size_limit(start_pattern: Start, place: Path) -> None:
    """RLIMIT_FSIZE: EFBIG, and the SIGXFSZ that comes with it kills no process."""
    target = start_pattern("--heap", 32)
    program = (
        "import sys, os, resource, minidump_cffi as md\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try: md.write_dump(int(sys.argv[1]), sys.argv[2], 2)\n"
        "except md.SinkError as error: print(error.errno); sys.exit(7)\n"
    )
    done = live.run_python(program, target.pid, place / "d.dmp")
    assert (done.returncode, done.stdout.strip()) == (7, str(errno.EFBIG)), done.stderr
    assert left_in(place) == []
    target.assert_runs_on()


def test_a_full_disk_for_a_descriptor(start_pattern: Start, tmp_path: Path) -> None:
    target = start_pattern("--heap", 32)
    with live.small_filesystem(tmp_path / "small", "8m") as folder, open(folder / "d.dmp", "wb") as file:
        with pytest.raises(md.SinkError) as caught:
            md.write_dump(target.pid, file.fileno(), FULL)
        assert caught.value.errno == errno.ENOSPC
        assert (folder / "d.dmp").read_bytes()[:4] != b"MDMP", "a half dump is not recognisable as one"


def test_fsync_on_request(start_pattern: Start, place: Path) -> None:
    target = start_pattern()
    report = md.write_dump(target.pid, place / "d.dmp", fsync=True)
    live.assert_accepted(place / "d.dmp", report)


def test_a_failing_fsync_is_an_error(start_pattern: Start) -> None:
    """/dev/full takes no byte; a pipe cannot be flushed and is not asked to."""
    target = start_pattern()
    with open("/dev/full", "wb", buffering=0) as file:
        with pytest.raises(md.SinkError) as caught:
            md.write_dump(target.pid, file.fileno())
        assert caught.value.errno == errno.ENOSPC
    with pytest.raises(md.SinkError) as caught:
        md.write_dump(target.pid, "/dev/full")
    assert caught.value.errno == errno.ENOSPC
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@pytest.mark.parametrize("name", ["missing/d.dmp", "file/d.dmp"])
def test_a_path_that_cannot_be_written(name: str, start_pattern: Start, place: Path) -> None:
    target = start_pattern()
    (place / "file").write_bytes(b"")
    with pytest.raises(md.SinkError) as caught:
        md.write_dump(target.pid, place / name)
    assert caught.value.errno in (errno.ENOENT, errno.ENOTDIR)
    assert name in str(caught.value)
    assert left_in(place) == ["file"]


def test_a_folder_is_no_dump(start_pattern: Start, place: Path) -> None:
    target = start_pattern()
    with pytest.raises(md.SinkError) as caught:
        md.write_dump(target.pid, place)
    assert caught.value.errno == errno.EISDIR


def test_a_closed_descriptor(start_pattern: Start, place: Path) -> None:
    target = start_pattern()
    fd = os.open(place / "d", os.O_WRONLY | os.O_CREAT)
    os.close(fd)
    with pytest.raises(md.SinkError) as caught:
        md.write_dump(target.pid, fd)
    assert caught.value.errno == errno.EBADF


def test_a_descriptor_opened_for_reading(start_pattern: Start, place: Path) -> None:
    target = start_pattern()
    (place / "d").write_bytes(b"x")
    with open(place / "d", "rb") as file, pytest.raises(md.SinkError) as caught:
        md.write_dump(target.pid, file.fileno())
    assert caught.value.errno == errno.EBADF
    assert (place / "d").read_bytes() == b"x"


def test_offsets_count_from_the_position_of_a_descriptor(start_pattern: Start, place: Path) -> None:
    target = start_pattern()
    path = place / "d.dmp"
    with open(path, "wb", buffering=0) as file:
        file.write(b"a head of ours\n")
        report = md.write_dump(target.pid, file.fileno(), FULL)
    data = path.read_bytes()
    assert data.startswith(b"a head of ours\nMDMP")
    (place / "cut.dmp").write_bytes(data[15:])
    live.assert_accepted(place / "cut.dmp", report)


def test_an_append_descriptor_is_a_stream(start_pattern: Start, place: Path) -> None:
    target = start_pattern()
    path = place / "d.dmp"
    path.write_bytes(b"log\n")
    with open(path, "ab", buffering=0) as file:
        report = md.write_dump(target.pid, file.fileno(), FULL)
    (place / "cut.dmp").write_bytes(path.read_bytes()[4:])
    live.assert_accepted(place / "cut.dmp", report)


def test_a_pipe(start_pattern: Start, place: Path) -> None:
    target = start_pattern("--heap", 8)
    path = place / "d.dmp"
    ours, theirs = os.pipe()
    received: list[bytes] = []

    def drain() -> None:
        while data := os.read(ours, 1 << 16):
            received.append(data)

    reader = threading.Thread(target=drain)
    reader.start()
    try:
        report = md.write_dump(target.pid, theirs, FULL)
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)
    path.write_bytes(b"".join(received))
    live.assert_accepted(path, report)
    with file_rules.DumpFile(path) as dump:
        base, size, _ = target.region("plain")
        assert dump.read(base, size) == target.content("plain")


def test_a_closed_pipe(start_pattern: Start) -> None:
    target = start_pattern("--heap", 8)
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        with pytest.raises(md.SinkError) as caught:
            md.write_dump(target.pid, theirs, FULL)
    finally:
        os.close(theirs)
    assert caught.value.errno == errno.EPIPE
    target.assert_runs_on()


@pytest.mark.parametrize("limit", ["deadline", "max_stop"])
def test_a_stalled_pipe(limit: str, start_pattern: Start) -> None:
    """No reader: the target is resumed when the limit passes, and the call ends."""
    target = start_pattern("--heap", 8)
    ours, theirs = os.pipe()
    try:
        with pytest.raises(md.DeadlineExceeded):
            md.write_dump(target.pid, theirs, FULL, **{limit: 0.3})
        target.assert_runs_on()
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_fifo_by_path(start_pattern: Start, place: Path) -> None:
    target = start_pattern()
    fifo, path = place / "fifo", place / "d.dmp"
    os.mkfifo(fifo)
    with path.open("wb") as output:
        reader = subprocess.Popen(["cat", str(fifo)], stdout=output)
        report = md.write_dump(target.pid, fifo, FULL)
        assert reader.wait(live.PATIENCE) == 0
    live.assert_accepted(path, report)
    assert stat.S_ISFIFO(fifo.stat().st_mode)


class Half(io.RawIOBase):
    """Takes at most so many bytes of each write, as raw files may."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Store a part."""
        part = bytes(data[:1000])
        self.data += part
        return len(part)


@pytest.mark.parametrize("spool", [True, False], ids=["spool", "direct"])
def test_short_writes_are_no_failure(spool: bool, start_pattern: Start, place: Path) -> None:
    target = start_pattern()
    sink = Half()
    report = md.write_dump(target.pid, sink, spool=spool)
    (place / "d.dmp").write_bytes(sink.data)
    live.assert_accepted(place / "d.dmp", report)


class Refusing:
    """Raises in its third write."""

    def __init__(self) -> None:
        self.calls = 0

    def write(self, data: Any) -> int:
        """Store nothing."""
        self.calls += 1
        if self.calls == 3:
            raise ZeroDivisionError("the sink's own")
        return len(data)


@pytest.mark.parametrize("spool", [True, False], ids=["spool", "direct"])
def test_a_sink_that_raises(spool: bool, start_pattern: Start) -> None:
    target = start_pattern("--heap", 8)
    with pytest.raises(ZeroDivisionError, match="the sink's own"):
        md.write_dump(target.pid, Refusing(), FULL, spool=spool)
    target.assert_runs_on()


def test_complete_means_that_all_was_read(start_pattern: Start, take: live.Taker) -> None:
    """Every byte asked for is in an extent of the file, except what is beyond the end of a mapped file."""
    target = start_pattern()
    report, _path = take(target, FULL)
    assert report.complete
    assert not [gap for gap in report.gaps if gap.reason is not md.report.GapReason.BEYOND_EOF]
    behind = sum(gap.size for gap in report.gaps)
    assert report.memory_bytes == sum(extent.size for extent in report.extents) + behind


MISSING = """
import ctypes, json, mmap, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
uffd = libc.syscall(323, os.O_CLOEXEC)
memory = os.memfd_create("half there")
os.ftruncate(memory, 32768)
os.pwrite(memory, b"page that exists" * 256, 0)
area = mmap.mmap(memory, 32768)
at = ctypes.addressof(ctypes.c_char.from_buffer(area))
api = ctypes.create_string_buffer(struct.pack("QQQ", 0xAA, 0, 0), 24)
register = ctypes.create_string_buffer(struct.pack("QQQQ", at, 32768, 1, 0), 32)
ok = uffd >= 0 and libc.ioctl(uffd, 0xC018AA3F, api) == 0 and libc.ioctl(uffd, 0xC020AA00, register) == 0
print(json.dumps(at if ok else None), flush=True)
sys.stdin.read()
"""


def half_missing_memory() -> tuple[subprocess.Popen[bytes], int] | None:
    """A process with a shared mapping of 8 pages with only its first page supplied (userfaultfd)."""
    process = subprocess.Popen([sys.executable, "-c", MISSING], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    answer = json.loads(process.stdout.readline() or b"null")
    if answer is None:
        end(process)
        return None
    return process, answer


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill and close."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


@pytest.mark.linux
def test_memory_that_cannot_be_read_is_a_gap(place: Path) -> None:
    """The first page is kept, the others are one gap; reading them neither hangs nor wakes the handler."""
    made = half_missing_memory()
    if made is None:
        pytest.skip("no userfaultfd here")
    process, address = made
    missing = address + live.PAGE, 7 * live.PAGE
    try:
        path = place / "d.dmp"
        report = md.write_dump(process.pid, path, FULL, deadline=live.PATIENCE)
        live.assert_accepted(path, report)
        assert not report.complete
        gaps = [gap for gap in report.gaps if gap.reason is md.report.GapReason.READ_FAILED]
        assert [(gap.address, gap.size) for gap in gaps] == [missing]
        assert gaps[0].errno in (errno.EFAULT, errno.EIO)
        with file_rules.DumpFile(path) as dump:
            assert dump.read(address, live.PAGE) == b"page that exists" * 256
            assert not dump.holds(*missing)
        done = live.run_cli("dump", str(process.pid), "-o", place / "cli.dmp", "--type", "full", "--json")
        assert done.returncode == 3, done.stderr
        assert json.loads(done.stdout)["complete"] is False
        with pytest.raises(md.ReadError) as caught:
            md.write_dump(process.pid, place / "no.dmp", FULL, filter=md.Filter(read_failure="abort"))
        assert caught.value.address == missing[0]
        assert caught.value.errno in (errno.EFAULT, errno.EIO)
        assert left_in(place) == ["cli.dmp", "d.dmp"]
    finally:
        end(process)


@pytest.mark.linux
def test_secret_memory_is_never_read(place: Path) -> None:
    """memfd_secret: only its process can read it, so it is not read; it is in MemoryInfoList."""
    program = (
        "import ctypes, json, mmap, os, sys\n"
        "fd = ctypes.CDLL(None).syscall(447, 0)\n"
        "if fd < 0: print('null', flush=True); sys.exit()\n"
        "os.ftruncate(fd, 16384)\narea = mmap.mmap(fd, 16384)\narea[:] = b'unreadable page!' * 1024\n"
        "print(json.dumps(ctypes.addressof(ctypes.c_char.from_buffer(area))), flush=True)\nsys.stdin.read()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())
        if address is None:
            pytest.skip("this kernel has no memfd_secret")
        report = md.write_dump(process.pid, place / "d.dmp", FULL, dontdump="ignore")
        live.assert_accepted(place / "d.dmp", report)
        region = next(region for region in report.regions if region.base == address)
        assert region.verdict == "never-read"
        with file_rules.DumpFile(place / "d.dmp") as dump:
            assert not dump.holds(address, 16384)
            assert any(info.base == address for info in dump.infos())
    finally:
        end(process)


def test_the_plan_says_what_the_dump_will_be(start_pattern: Start, place: Path) -> None:
    target = start_pattern()
    base, size, _ = target.region("plain")
    keep = md.Filter(md.exclude(range=(base, base + size), label="plain"))
    plan = md.plan_dump(target.pid, FULL, filter=keep)
    report = md.write_dump(target.pid, place / "d.dmp", FULL, filter=keep)
    assert plan.planned
    assert not report.planned
    for name in ("memory_bytes", "memory64_ranges", "memory_ranges", "memory_info_count"):
        assert getattr(plan, name) == getattr(report, name), name
    # Streams made of target memory (link map, environment) are not read for a plan, and what follows them moves.
    assert abs(plan.file_bytes - report.file_bytes) < 65536
    rule = report.rules[0]
    assert (rule.label, rule.kept, rule.excluded) == ("plain", 0, size)
    assert left_in(place) == ["d.dmp"]


def test_the_limits_of_this_process_are_unharmed(start_pattern: Start, place: Path) -> None:
    """No descriptor, thread or child remains after success and after failure."""
    target = start_pattern("--heap", 8)

    def figures() -> tuple[int, int]:
        return sum(1 for _ in Path("/proc/self/fd").iterdir()), sum(1 for _ in Path("/proc/self/task").iterdir())

    md.write_dump(target.pid, place / "d.dmp", FULL)
    before = figures()
    for number in range(5):
        md.write_dump(target.pid, place / f"{number}.dmp", FULL)
        with pytest.raises(md.Cancelled):
            md.write_dump(target.pid, place / "no.dmp", FULL, on_cancel=lambda: True)
    # Fewer is possible: a thread that an earlier test abandoned may have returned meanwhile.
    live.wait_until(lambda: all(map(operator.le, figures(), before)), f"{before} descriptors and threads", patience=5)
