"""stop="snapshot": a child is made in the target, dumped at leisure, and nothing of it stays."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import file_rules
import live
import pytest

import minidump_cffi as md

pytestmark = pytest.mark.linux

# Two counters on different pages that are equal between two lines, and a marker on each page of a large area.
COUNTING = """
import ctypes, threading, time
area = ctypes.create_string_buffer(64 << 20)
base = (ctypes.addressof(area) + 4095) & ~4095
pages = (len(area) >> 12) - 2
first = ctypes.c_uint64.from_address(base)
last = ctypes.c_uint64.from_address(base + (pages - 1) * 4096)
for page in range(pages):
    ctypes.c_uint64.from_address(base + page * 4096 + 8).value = page
for _ in range(3):
    threading.Thread(target=lambda: [time.sleep(0.01) for _ in iter(int, 1)], daemon=True).start()
print(hex(base), pages, flush=True)
while True:
    first.value += 1
    last.value += 1
"""


def children_of(pid: int) -> list[int]:
    """All children of all threads, zombies too."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def files_of(pid: int) -> int:
    """How many descriptors are open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def read(dump: file_rules.DumpFile, address: int, size: int) -> bytes:
    """Bytes that must be in the dump."""
    found = dump.read_across(address, size)
    assert found is not None
    return found


def test_memory_is_of_one_moment_and_nothing_stays(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", COUNTING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_text, pages_text = process.stdout.readline().split()
        base, pages = int(base_text, 16), int(pages_text)
        files = files_of(process.pid)
        try:
            counts = []
            for turn in range(3):
                path = tmp_path / f"{turn}.dmp"
                report = md.write_dump(process.pid, path, md.DumpType.WITH_FULL_MEMORY, stop="snapshot")
                assert report.stop == "snapshot", report.messages
                assert not report.warnings & md.report.DumpWarning.ZOMBIE
                dump = file_rules.DumpFile(path)
                first = int.from_bytes(read(dump, base, 8), "little")
                last = int.from_bytes(read(dump, base + (pages - 1) * 4096, 8), "little")
                assert first - last in (0, 1)
                counts.append(first)
                for page in range(0, pages, 97):
                    assert int.from_bytes(read(dump, base + page * 4096 + 8, 8), "little") == page
                assert children_of(process.pid) == []
                assert files_of(process.pid) == files
            assert counts == sorted(set(counts))  # it ran in between
            assert process.poll() is None
        finally:
            process.kill()


MARKED = """
import mmap, time
areas = []
for advice in (mmap.MADV_DONTFORK, 18, None):  # 18: MADV_WIPEONFORK
    area = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if advice is not None:
        area.madvise(advice)
    area[4096 * 7 : 4096 * 7 + 9] = b"snapshot%d" % len(areas)
    areas.append(area)
shared = mmap.mmap(-1, 1 << 20)
shared[4096 * 7 : 4096 * 7 + 9] = b"snapshot3"
print("ready", flush=True)
while True:
    time.sleep(0.01)
"""


def test_memory_that_a_child_does_not_get(tmp_path: Path) -> None:
    """It is in the dump; shared memory is too, and the report says when it was read."""
    path = tmp_path / "app.dmp"
    with subprocess.Popen([sys.executable, "-c", MARKED], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            report = md.write_dump(process.pid, path, md.DumpType.WITH_FULL_MEMORY, stop="snapshot")
        finally:
            process.kill()
    assert report.stop == "snapshot", report.messages
    assert report.warnings & md.report.DumpWarning.SHARED_LATER
    data = path.read_bytes()
    assert all(b"\0\0\0\0snapshot%d\0\0\0\0" % number in data for number in range(4))


TRACING = """
import ctypes, sys
SEIZE = 0x4206
for tid in sys.argv[1:]:
    assert ctypes.CDLL(None, use_errno=True).ptrace(SEIZE, int(tid), None, None) == 0, ctypes.get_errno()
print("traced", flush=True)
sys.stdin.read()
"""


def test_another_traces_it_at_the_end(tmp_path: Path) -> None:
    """Another dump may begin while a snapshot is written: the child is waited for when that one has ended."""
    reports: list[md.DumpReport] = []
    reader, writer = os.pipe()

    def dump(pid: int) -> None:
        with open(writer, "wb") as file:
            reports.append(md.write_dump(pid, file, md.DumpType.WITH_FULL_MEMORY, stop="snapshot"))

    with subprocess.Popen([sys.executable, "-c", MARKED], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        thread = threading.Thread(target=dump, args=(process.pid,))
        thread.start()
        try:
            with open(reader, "rb") as output:
                output.read(1)
                tids = [thread.name for thread in Path(f"/proc/{process.pid}/task").iterdir()]
                with subprocess.Popen(
                    [sys.executable, "-c", TRACING, *tids], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                ) as tracer:
                    assert tracer.stdout is not None
                    assert tracer.stdout.readline() == b"traced\n"
                    drain = threading.Thread(target=output.read)  # to the end of the dump
                    drain.start()
                    thread.join(0.3)  # it comes to the child
                drain.join()
            thread.join()
            assert children_of(process.pid) == []
        finally:
            process.kill()
            thread.join()
    assert reports[0].stop == "snapshot", reports[0].messages
    assert not reports[0].warnings & md.report.DumpWarning.ZOMBIE


# -- refusals ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def cgroup(controller: str, limits: dict[str, str]) -> Iterator[Path]:
    """A cgroup of either version; skips where none can be made."""
    for parent in (Path("/sys/fs/cgroup") / controller, Path("/sys/fs/cgroup")):
        folder = parent / f"minidump-cffi-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            for name, limit in limits.items():
                if (folder / name).exists():
                    (folder / name).write_text(limit)
                    yield folder
                    return
        finally:
            live.wait_until(lambda folder=folder: not (folder / "cgroup.procs").read_text(), "its processes are gone")
            folder.rmdir()
    pytest.skip(f"no cgroup with a limit of {controller} can be made here")


USING = """
import os, sys, time
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
area = bytearray(int(sys.argv[2]) << 20)
for at in range(0, len(area), 4096):
    area[at] = 1
print("ready", flush=True)
while True:
    time.sleep(0.01)
"""


def use(folder: Path, megabytes: int) -> subprocess.Popen[str]:
    """A process in the cgroup that has as much memory."""
    process = subprocess.Popen(
        [sys.executable, "-c", USING, str(folder), str(megabytes)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("megabytes", "stop"), [(40, "snapshot"), (94, "whole")])
def test_a_memory_cgroup_near_its_limit(tmp_path: Path, megabytes: int, stop: str) -> None:
    limit = str(100 << 20)
    limits = {"memory.max": limit, "memory.limit_in_bytes": limit}
    with cgroup("memory", limits) as folder, use(folder, megabytes) as process:
        try:
            report = md.write_dump(process.pid, tmp_path / "app.dmp", stop="snapshot")
            assert report.stop == stop, report.messages
            assert any("memory cgroup" in text for text in report.messages) == (stop == "whole")
            assert process.poll() is None
        finally:
            process.kill()


def test_a_limit_of_processes(tmp_path: Path) -> None:
    with cgroup("pids", {"pids.max": "1"}) as folder, use(folder, 1) as process:
        try:
            report = md.write_dump(process.pid, tmp_path / "app.dmp", stop="snapshot")
            assert report.stop == "whole"
            assert report.warnings & md.report.DumpWarning.STOP
            assert any("clone failed in it: Resource temporarily unavailable" in text for text in report.messages)
            assert children_of(process.pid) == []
            with pytest.raises(md.DumpError):
                md.write_dump(process.pid, tmp_path / "strict.dmp", stop="snapshot", strict=True)
            assert not (tmp_path / "strict.dmp").exists()
        finally:
            process.kill()


# -- real programs -----------------------------------------------------------------------------------------------------

SNAPSHOTS = 20

JAVA = """
public class Busy {
    public static void main(String[] words) throws Exception {
        for (int i = 0; i < 6; i++) {
            Thread thread = new Thread(() -> {
                try {
                    while (true) { byte[][] rows = new byte[100][1000]; rows[5][7] = 1; Thread.sleep(1); }
                } catch (Throwable why) { System.exit(3); }
            });
            thread.setDaemon(true);
            thread.start();
        }
        System.out.println("ready");
        for (long round = 0; ; round++) {
            java.util.HashMap<Integer, String> map = new java.util.HashMap<>();
            for (int i = 0; i < 500; i++) map.put(i, "" + i);
            for (int i = 0; i < 500; i++) if (!map.get(i).equals("" + i)) System.exit(4);
            if (round % 20 == 0) System.out.println(round);
        }
    }
}
"""


def take_many(pid: int, path: Path) -> None:
    """As many snapshots, of which nothing stays."""
    files = files_of(pid)
    for turn in range(SNAPSHOTS):
        kind = md.DumpType.NORMAL if turn % 10 else md.DumpType.WITH_FULL_MEMORY
        report = md.write_dump(pid, path, kind, stop="snapshot")
        assert report.stop == "snapshot", report.messages
        assert not report.warnings & md.report.DumpWarning.ZOMBIE
        assert children_of(pid) == []
    live.wait_until(lambda: files_of(pid) == files, "its files are as before")


def test_a_virtual_machine_of_java(tmp_path: Path) -> None:
    java, compiler = shutil.which("java"), shutil.which("javac")
    if java is None or compiler is None:
        pytest.skip("no Java here")
    (tmp_path / "Busy.java").write_text(JAVA)
    subprocess.run([compiler, "Busy.java"], cwd=tmp_path, check=True)
    command = [java, "-Xmx64m", "-XX:+UseSerialGC", "-cp", str(tmp_path), "Busy"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        reader = threading.Thread(target=lambda: list(process.stdout or ()))
        reader.start()
        try:
            assert first == "ready\n"
            take_many(process.pid, tmp_path / "java.dmp")
            assert process.poll() is None
        finally:
            process.kill()
            reader.join()


def test_node(tmp_path: Path) -> None:
    """Its engine marks all of its heap with MADV_DONTFORK."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here")
    program = """
    console.log("ready");
    setInterval(() => {
        const map = new Map();
        for (let i = 0; i < 1000; i++) map.set(i, "" + i);
        for (let i = 0; i < 1000; i++) if (map.get(i) !== "" + i) process.exit(3);
    }, 1);
    """
    with subprocess.Popen([node, "-e", program], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            take_many(process.pid, tmp_path / "node.dmp")
            assert process.poll() is None
        finally:
            process.kill()


def test_redis_loses_no_request(tmp_path: Path) -> None:
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("no redis here")
    path = tmp_path / "redis"
    command = [server, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            live.wait_until(path.exists, "redis listens")
            over = threading.Event()
            answers: list[bytes] = []

            def ask() -> None:
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(path))
                    lines = client.makefile("rb")
                    while not over.is_set():
                        client.sendall(b"INCR count\r\n")
                        answers.append(lines.readline())

            client = threading.Thread(target=ask)
            client.start()
            try:
                live.wait_until(lambda: len(answers) > 10, "redis answers")
                take_many(process.pid, tmp_path / "redis.dmp")
            finally:
                over.set()
                client.join()
            assert answers == [b":%d\r\n" % number for number in range(1, len(answers) + 1)]
        finally:
            process.kill()
