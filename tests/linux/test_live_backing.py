"""Memory backed by a file or the kernel: all of it is in the dump, and the dump gives the target none of it.

Reading such memory through the target's addresses would be a page fault: it fills page tables, and allocates what
was never touched, down to the last huge page of the machine or the last block of a small tmpfs.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import file_rules
import live
import pytest
import readers

import minidump_cffi as md

pytestmark = pytest.mark.linux

FULL = md.DumpType.WITH_FULL_MEMORY
MIB = 1 << 20
SLACK = 64  # KiB: the share of pages that other processes have too (Pss) moves with them
HUGE_PAGES = 24
OVERLAY = {"lowerdir": "lower", "upperdir": "upper", "workdir": "work"}
BY_A_CHILD = 2  # seed of the page that a child of the target filled
KINDS = ("memfd", "anonymous", "tmpfs", "sysv", "hugetlb", "huge-private", "private-file", "shared-file", "views")
Start = Callable[..., live.Target]


@pytest.fixture(scope="session")
def backed_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The target, compiled."""
    folder = tmp_path_factory.mktemp("backed")
    return live.compile_c(live.HERE / "targets" / "backed.c", folder / "backed", "-O1", "-Wall", "-Wextra", "-Werror")


@contextlib.contextmanager
def huge_pages() -> Iterator[None]:
    """Free huge pages; skips where there are none to be had."""
    pool = Path("/proc/sys/vm/nr_hugepages")
    before = pool.read_text()
    try:
        pool.write_text(str(int(before) + HUGE_PAGES))
    except OSError as error:
        pytest.skip(f"no huge pages can be set aside: {error}")
    try:
        if meminfo("HugePages_Free") < HUGE_PAGES:
            pytest.skip("no huge pages can be set aside: memory is too fragmented")
        yield
    finally:
        pool.write_text(before)


@pytest.fixture
def start_backed(backed_program: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a target of a kind."""
    with contextlib.ExitStack() as stack:

        def start(kind: str, mib: int, folder: Path | None = None) -> live.Target:
            if kind.startswith("huge"):
                stack.enter_context(huge_pages())
            if kind == "tmpfs" and folder is None:
                folder = stack.enter_context(live.small_filesystem(tmp_path / "tmpfs", "1m"))
            command = [str(backed_program), kind, str(mib), str(folder or tmp_path)]
            return stack.enter_context(live.Target(command))

        yield start


def meminfo(name: str) -> int:
    """A figure of /proc/meminfo: KiB, or pages."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise KeyError(name)


def blocks(target: live.Target) -> int:
    """Blocks of the file of the mapping."""
    fd = target.info["fd"]
    return Path(f"/proc/{target.pid}/fd/{fd}").stat().st_blocks if fd >= 0 else 0


def figures(target: live.Target) -> dict[str, int]:
    """What the target has of memory, in KiB."""
    found = {}
    for name in ("RssAnon", "RssFile", "RssShmem", "VmPTE", "HugetlbPages"):
        found[name] = int(live.status_field(target.pid, name).split()[0])
    for line in Path(f"/proc/{target.pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        if name.startswith("Pss"):
            found[name] = int(value.split()[0])
    return found


def settled(target: live.Target) -> dict[str, int]:
    """The figures of a target that has answered once (its first answer touches pages of its own)."""
    target.ping()
    return figures(target)


def assert_grows_by_nothing(before: dict[str, int], after: dict[str, int]) -> None:
    grown = {name: after[name] - before[name] for name in before}
    grown = {name: kib for name, kib in grown.items() if kib > (SLACK if name.startswith("Pss") else 0)}
    assert not grown, f"KiB more than before: {grown}"


def page_of(target: live.Target, offset: int, seed: int) -> bytes:
    """The pattern of a page: that of its place in the first view."""
    return live.pattern(target.info["views"][0] + offset, live.PAGE, seed)


def assert_content(target: live.Target, path: Path) -> None:
    """Every page that holds something is in the file, in each view, and an independent reader finds it there too."""
    pieces: list[tuple[int, int]] = target.info["pieces"]
    places = [(view + offset, live.PAGE) for view in target.info["views"] for offset, _ in pieces]
    wanted = [page_of(target, offset, seed) for _ in target.info["views"] for offset, seed in pieces]
    with file_rules.DumpFile(path) as dump:
        assert [dump.read_across(*place) for place in places] == wanted
    assert list(readers.read_udmp(path, places).contents) == wanted


def assert_nothing_else(target: live.Target, path: Path) -> None:
    """What was never touched is zeros, or not in the file."""
    with file_rules.DumpFile(path) as dump:
        base, size = target.info["views"][0], target.info["size"]
        filled = {offset for offset, _ in target.info["pieces"]}
        for offset in range(0, size, live.PAGE):
            if offset not in filled:
                assert dump.read_across(base + offset, live.PAGE) in (None, bytes(live.PAGE)), hex(offset)


@pytest.mark.parametrize("kind", KINDS)
def test_the_target_does_not_grow(kind: str, start_backed: Start, take: live.Taker) -> None:
    target = start_backed(kind, 32)
    before, shmem, free, held = settled(target), meminfo("Shmem"), meminfo("HugePages_Free"), blocks(target)
    report, path = take(target, FULL, only=["udmp-parser"])
    assert report.complete
    assert_grows_by_nothing(before, settled(target))
    assert meminfo("HugePages_Free") == free
    assert blocks(target) == held
    assert meminfo("Shmem") - shmem < 16 * 1024, "KiB of shared memory of the whole machine"
    assert_content(target, path)
    assert_nothing_else(target, path)


@pytest.mark.parametrize("kind", ["memfd", "anonymous", "sysv"])
def test_a_terabyte_of_shared_memory_takes_what_is_in_it(kind: str, start_backed: Start, take: live.Taker) -> None:
    try:
        target = start_backed(kind, 1 << 20)
    except AssertionError as error:
        if "77" in str(error):
            pytest.skip("no terabyte of addresses can be had")
        raise
    before = settled(target)
    report, path = take(target, FULL, only=["udmp-parser"])
    assert report.complete
    assert report.zero_bytes > 1 << 39
    assert path.stat().st_blocks * 512 < 64 * MIB
    assert_grows_by_nothing(before, settled(target))
    assert_content(target, path)


def test_a_small_tmpfs_is_not_filled(start_backed: Start, take: live.Taker, tmp_path: Path) -> None:
    """A file longer than its file system: one page too many and the target would die of SIGBUS."""
    with live.small_filesystem(tmp_path / "small", "64k") as folder, start_backed("tmpfs", 32, folder) as target:
        report, path = take(target, FULL, only=["udmp-parser"])
        assert report.complete
        assert_content(target, path)


def test_holes_are_told_as_untouched(start_backed: Start, take: live.Taker) -> None:
    target = start_backed("memfd", 32)
    report, _ = take(target, FULL, only=["udmp-parser"])
    region = next(region for region in report.regions if region.base == target.info["views"][0])
    assert region.kept == 32 * MIB
    assert region.untouched == 32 * MIB - len(target.info["pieces"]) * live.PAGE
    assert region.flags & md.report.RegionFlags.SHARED


WITHOUT_THE_CAPABILITY = """
import ctypes, json, os, sys
for capability in (21, 40):  # CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE
    if ctypes.CDLL(None).prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
        sys.exit(77)
os.execv(sys.executable, [sys.executable, "-m", "minidump_cffi", *sys.argv[1:]])
"""


def dump_without_the_capability(target: live.Target, path: Path) -> tuple[int, dict[str, Any]]:
    """Exit status and report of a dumper that may read the process, and must not open its map_files."""
    words = ("dump", target.pid, "-o", path, "--type", "full", "--json")
    done = live.run_python(WITHOUT_THE_CAPABILITY, *words)
    if done.returncode == 77:
        pytest.skip("capabilities cannot be dropped here")
    assert done.returncode in (0, 3), done.stderr
    live.wait_until(lambda: live.status_field(target.pid, "TracerPid") == "0", "released")
    target.assert_runs_on()
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_capability_nothing_is_allocated(kind: str, start_backed: Start, tmp_path: Path) -> None:
    """The file is reached by a descriptor or a path; where it cannot be, what is not in the page tables is a gap."""
    target = start_backed(kind, 32)
    free, held, shmem = meminfo("HugePages_Free"), blocks(target), meminfo("Shmem")
    path = tmp_path / "d.dmp"
    status, report = dump_without_the_capability(target, path)
    assert meminfo("HugePages_Free") == free
    assert blocks(target) == held
    assert meminfo("Shmem") - shmem < 16 * 1024
    reachable = kind not in ("anonymous", "sysv")
    assert (status, report["complete"]) == ((0, True) if reachable else (3, False))
    if reachable:
        assert report["gaps"] == []
        assert_content(target, path)
        return
    base, size = target.info["views"][0], target.info["size"]
    seen = {offset: seed for offset, seed in target.info["pieces"] if seed != BY_A_CHILD}
    assert {gap["reason"] for gap in report["gaps"]} == {"unknown"}
    assert sum(gap["size"] for gap in report["gaps"]) == size - len(seen) * live.PAGE
    with file_rules.DumpFile(path) as dump:
        for offset, seed in target.info["pieces"]:
            if seed == BY_A_CHILD:
                assert not dump.holds(base + offset)
            else:
                assert dump.read_across(base + offset, live.PAGE) == page_of(target, offset, seed)
    assert any("CAP_CHECKPOINT_RESTORE" in message for message in report["messages"])


@pytest.mark.parametrize("written", [False, True], ids=["as-it-is", "written-to"])
def test_the_vdso(written: bool, start_backed: Start, take: live.Taker) -> None:
    """Pages of it that the target never looked at are those of ours; one that it, or a tracer, changed is its own."""
    target = start_backed("memfd", 1)
    base, end = next(
        tuple(int(part, 16) for part in line.split()[0].split("-"))
        for line in Path(f"/proc/{target.pid}/maps").read_text().splitlines()
        if line.endswith("[vdso]")
    )
    with Path(f"/proc/{target.pid}/mem").open("r+b", buffering=0) as memory:
        if written:
            memory.seek(end - 8)
            memory.write(b"changed!")
        before = settled(target)
        _, path = take(target, FULL, only=["udmp-parser"])
        assert_grows_by_nothing(before, settled(target))
        memory.seek(base)
        content = memory.read(end - base)
    assert content.endswith(b"changed!") == written
    with file_rules.DumpFile(path) as dump:
        assert dump.read_across(base, end - base) == content


FORKER = """
import mmap, os, signal, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
area = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
where = next(line for line in open("/proc/self/maps") if sys.argv[1] in line)
print(int(where.partition("-")[0], 16), flush=True)
sys.stdin.readline()
child = os.fork()
if child == 0:
    signal.pause()
print(child, flush=True)
sys.stdin.readline()
os.kill(child, signal.SIGKILL)
"""

MAPPER = """
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
area = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
os.close(fd)
area.madvise(mmap.MADV_RANDOM)
touched = area[0]
where = next(line for line in open("/proc/self/maps") if sys.argv[1] in line)
print('{"base": %d}' % int(where.partition("-")[0], 16), flush=True)
for line in sys.stdin:
    print("pong 0 0 0", flush=True)
"""


def assert_inherited(merged: Path, take: live.Taker) -> None:
    """A fork that is younger than the upper file still shows the lower one."""
    file = merged / "inherited"
    old, new = file.read_bytes(), live.pattern(0, 16 * live.PAGE, 3)
    command, pipe = [sys.executable, "-c", FORKER, str(file)], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdin is not None and parent.stdout is not None
        base = int(parent.stdout.readline())
        with file.open("r+b") as opened:
            opened.write(new)
        time.sleep(2)  # times of processes and files are told in seconds
        parent.stdin.write("fork\n")
        parent.stdin.flush()
        report, path = take(int(parent.stdout.readline()), FULL, only=["udmp-parser"])
    assert report.complete
    with file_rules.DumpFile(path) as dump:
        assert dump.read_across(base, len(old)) == old


def test_a_file_that_overlayfs_has_replaced(tmp_path: Path, take: live.Taker) -> None:
    """The mapping shows the lower file, and its path leads to the upper one that was written to."""
    folders = {name: tmp_path / name for name in ("lower", "upper", "work", "merged")}
    for folder in folders.values():
        folder.mkdir()
    old, new = live.pattern(0, 16 * live.PAGE, 1), live.pattern(0, 16 * live.PAGE, 2)
    for name in ("file", "inherited"):
        (folders["lower"] / name).write_bytes(old)
    options = ",".join(f"{name}={folders[key]}" for name, key in OVERLAY.items())
    command = ["mount", "-t", "overlay", "-o", options, "overlay", str(folders["merged"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no overlayfs can be mounted here: {done.stderr.strip()}")
    try:
        file = folders["merged"] / "file"
        with live.Target([sys.executable, "-c", MAPPER, str(file)]) as target:
            with file.open("r+b") as opened:
                opened.write(new)
            report, path = take(target, FULL, only=["udmp-parser"])
            assert report.complete
            with file_rules.DumpFile(path) as dump:
                assert dump.read_across(target.info["base"], len(old)) == old
        assert_inherited(folders["merged"], take)
    finally:
        subprocess.run(["umount", str(folders["merged"])], check=True)


LOCKER = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""


@contextlib.contextmanager
def locked(path: Path, *, unnamed: bool = False) -> Iterator[None]:
    """A file that this process has locked, and still has at the end; also one that it made without a name."""
    with contextlib.ExitStack() as stack:
        if unnamed:
            file = stack.enter_context(open(os.open(path.parent, os.O_TMPFILE | os.O_RDWR), "r+b"))
            file.write(path.read_bytes())
            file.flush()
            path.unlink()
            os.link(f"/proc/self/fd/{file.fileno()}", path, src_dir_fd=0, follow_symlinks=True)
        else:
            file = stack.enter_context(path.open("r+b"))
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert "BlockingIOError" in live.run_python(LOCKER, path).stderr
        yield
        assert "BlockingIOError" in live.run_python(LOCKER, path).stderr
    assert live.run_python(LOCKER, path).returncode == 0


@pytest.mark.parametrize("unnamed", [False, True])
def test_locks_of_the_caller_are_kept(unnamed: bool, take: live.Taker, tmp_path: Path) -> None:
    """Closing any descriptor of a file drops the POSIX locks of the process: the memory is read instead."""
    file, content = tmp_path / "mapped", live.pattern(0, 16 * live.PAGE, 1)
    file.write_bytes(content)
    with locked(file, unnamed=unnamed), live.Target([sys.executable, "-c", MAPPER, str(file)]) as target:
        report, path = take(target, FULL, only=["udmp-parser"])
        assert report.complete
        with file_rules.DumpFile(path) as dump:
            assert dump.read_across(target.info["base"], len(content)) == content


UNREAD_LIBRARY = """
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None)
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, *[ctypes.c_size_t] * 5]
fd = os.open(sys.argv[1], os.O_RDONLY)
print('{"base": %d}' % libc.mmap(None, os.fstat(fd).st_size, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, fd, 0))
os.close(fd)
sys.stdout.flush()
for line in sys.stdin:
    print("pong 0 0 0", flush=True)
"""


def test_locks_of_the_caller_are_kept_by_a_small_dump(take: live.Taker, tmp_path: Path) -> None:
    """It looks for locks when it opens the first file only: of a library whose header the target has not read."""
    file = tmp_path / "library.so"
    shutil.copy(sys.modules["_struct"].__file__ or "", file)
    with live.Target([sys.executable, "-c", UNREAD_LIBRARY, str(file)]) as target:
        named = record_at(take(target, only=["udmp-parser"])[1], target.info["base"])
        assert named[:4] == b"LEpB"
        with locked(file):
            again = record_at(take(target, only=["udmp-parser"])[1], target.info["base"])
    assert again == named


def record_at(path: Path, base: int) -> bytes:
    """The CodeView record of a module."""
    with file_rules.DumpFile(path) as dump:
        (found,) = [record for where, _, _, record in dump.modules() if where == base]
        return bytes(found)


def test_locks_of_the_caller_on_shared_memory_are_kept(start_backed: Start, take: live.Taker, tmp_path: Path) -> None:
    """Of shared memory only the pages that the target has are read: reading others would allocate them."""
    with live.small_filesystem(tmp_path / "small", "1m") as folder, start_backed("tmpfs", 32, folder) as target:
        (file,) = folder.iterdir()
        held = blocks(target)
        with locked(file):
            report, path = take(target, FULL, only=["udmp-parser"])
        assert blocks(target) == held
        assert not report.complete
        assert {gap.reason for gap in report.gaps} == {md.report.GapReason.UNKNOWN}
        assert any("POSIX lock" in message for message in report.messages)
        with file_rules.DumpFile(path) as dump:
            for offset, seed in target.info["pieces"]:
                if seed == 1:  # written through the mapping
                    content = dump.read_across(target.info["views"][0] + offset, live.PAGE)
                    assert content == page_of(target, offset, seed)


LOADER = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
print("{}", flush=True)
for line in sys.stdin:
    print("pong 0 0 0", flush=True)
"""


def test_locks_of_the_caller_on_modules_are_kept(take: live.Taker, tmp_path: Path) -> None:
    """The build id of a module whose memory has none is looked for in its file."""
    source, library = tmp_path / "library.c", tmp_path / "library.so"
    source.write_text("int answer(void) { return 42; }\n")
    live.compile_c(source, library, "-shared", "-fPIC", "-Wl,--build-id=none")
    with live.Target([sys.executable, "-c", LOADER, str(library)]) as target, locked(library):
        report, _ = take(target, only=["udmp-parser"])
        assert any(os.fsencode(library) == region.name for region in report.regions)


LISTENER = """
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
listener = libc.fanotify_init(0x04, os.O_RDONLY)  # FAN_CLASS_CONTENT
if listener < 0:
    sys.exit(77)
FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD = 0x01, 0x10000, -100
fd = os.open(sys.argv[1], os.O_RDONLY)
area = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
os.close(fd)
where = next(line for line in open("/proc/self/maps") if sys.argv[1] in line)
mask, path = ctypes.c_uint64(FAN_OPEN_PERM), os.fsencode(sys.argv[1])
if libc.fanotify_mark(listener, FAN_MARK_ADD, mask, AT_FDCWD, path):
    sys.exit(77)
print('{"base": %d}' % int(where.partition("-")[0], 16), flush=True)
for line in sys.stdin:
    print("pong 0 0 0", flush=True)
"""


def test_a_listener_that_gives_permission_is_not_waited_for(take: live.Taker, tmp_path: Path) -> None:
    """Opening a file that the target watches would wait for an answer that it cannot give while it is stopped."""
    file, content = tmp_path / "watched", live.pattern(0, 16 * live.PAGE, 1)
    file.write_bytes(content)
    try:
        target = live.Target([sys.executable, "-c", LISTENER, str(file)])
    except AssertionError as error:
        if "77" in str(error):
            pytest.skip("fanotify gives no permissions here")
        raise
    with target:
        report, path = take(target, FULL, only=["udmp-parser"], stall_timeout=3)
        assert report.complete
        with file_rules.DumpFile(path) as dump:
            assert dump.read_across(target.info["base"], len(content)) == content


def test_pages_of_a_file_that_was_never_read_are_stored(start_pattern: Any, take: live.Taker) -> None:
    """A full dump is full: an unwinder elsewhere needs pages of libraries that their program never touched."""
    target = start_pattern("--no-regions")
    before = settled(target)
    report, path = take(target, FULL, only=["udmp-parser"])
    assert_grows_by_nothing(before, settled(target))
    seen = 0
    with file_rules.DumpFile(path) as dump:
        for region in report.regions:
            if not region.flags & md.report.RegionFlags.FILE or b"libc.so" not in region.name:
                continue
            library, offset = Path(os.fsdecode(region.name)), file_offset(target.pid, region.base)
            if region.protect == md.filters.MemoryProtect.EXECUTE_READ:
                wanted = library.read_bytes()[offset : offset + region.size]
                assert dump.read_across(region.base, len(wanted)) == wanted
                seen += 1
    assert seen == 1


def file_offset(pid: int, base: int) -> int:
    """Where in its file a mapping begins."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if int(line.partition("-")[0], 16) == base:
            return int(line.split()[2], 16)
    raise KeyError(hex(base))
