"""Real programs at work: what a dump says of ids, threads, modules and memory is what /proc, gdb and readelf say.

Each is stopped (SIGSTOP) while it works, so that dump and oracles see the same moment; a stopped target stays stopped.
CI installs those that apt brings in a small package; the others are tried where they are installed.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import file_rules
import live
import pytest
import readers

import minidump_cffi as md

pytestmark = pytest.mark.linux

QUICK: Final = ("udmp-parser", "minidump", "minidump_stackwalk")
SAMPLES: Final = 400  # pages of memory that are compared

JAVA: Final = """
public class Work {
    public static void main(String[] words) throws Exception {
        Runnable work = () -> { double x = 1; for (;;) x = Math.sqrt(x + 1); };
        for (int i = 0; i < 4; i++) new Thread(work, "work-" + i).start();
        java.util.List<byte[]> kept = new java.util.ArrayList<>();
        System.out.println("ready");
        for (;;) { kept.add(new byte[100000]); if (kept.size() > 100) kept.clear(); Thread.sleep(1); }
    }
}
"""
GO: Final = """
package main
import ("fmt"; "time")
func main() {
    channel := make(chan int)
    for i := 0; i < 8; i++ { go func(i int) { for n := 0; ; n++ { channel <- n * i } }(i) }
    fmt.Println("ready")
    sum := 0
    for n := range channel { sum += n; if n % 10000 == 0 { time.Sleep(time.Microsecond) } }
}
"""
RUST: Final = """
use std::{collections::HashMap, thread};
fn main() {
    for number in 0..4u64 {
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            let mut map = HashMap::new();
            for at in 0u64.. { map.insert(at % 5000, at * number); }
        }).unwrap();
    }
    println!("ready");
    loop { thread::park(); }
}
"""
NODE: Final = """
const {Worker, isMainThread} = require("worker_threads");
if (isMainThread) { for (let i = 0; i < 3; i++) new Worker(__filename); setTimeout(() => console.log("ready"), 300); }
const kept = new Map();
setInterval(() => { for (let i = 0; i < 1000; i++) kept.set(i, "text " + Math.random()); }, 1);
"""
PYTHON: Final = """
import threading
def work():
    kept = {}
    while True:
        for at in range(1000): kept[at] = str(at) * 3
for number in range(4): threading.Thread(target=work, daemon=True, name=f"work {number}").start()
print("ready", flush=True)
threading.Event().wait()
"""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program at work."""

    pid: int
    process: subprocess.Popen[bytes]


def installed(name: str) -> str:
    """Path of a program, or a skip."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: a real program to dump")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def talk(port: int, text: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), live.PATIENCE) as connection:
        connection.sendall(text)
        return connection.recv(1 << 16)


def answers(port: int, text: bytes) -> Callable[[], bool]:
    def asked() -> bool:
        with contextlib.suppress(OSError):
            return bool(talk(port, text))
        return False

    return asked


Started = Iterator[Program]


@contextlib.contextmanager
def started(*command: str | os.PathLike[str], ready: Callable[[], bool] | None = None, **options: object) -> Started:
    """Run it; ready when that is so, or when it says a line."""
    process = subprocess.Popen(
        [os.fspath(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        **options,  # type: ignore[call-overload]
    )
    assert process.stdout is not None
    try:
        if ready is None:
            assert process.stdout.readline() == b"ready\n"
        else:
            live.wait_until(ready, f"{command[0]} answers")
        yield Program(pid=process.pid, process=process)
        assert process.poll() is None, "it runs on"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def redis(folder: Path) -> Started:
    port = free_port()
    command = [installed("redis-server"), "--port", str(port), "--save", "", "--dir", folder, "--bind", "127.0.0.1"]
    with started(*command, ready=answers(port, b"PING\r\n")) as program:
        talk(port, b"".join(b"SET key:%d %s\r\n" % (at, b"value" * 20) for at in range(2000)))
        yield program


@contextlib.contextmanager
def nginx(folder: Path) -> Started:
    port = free_port()
    (folder / "conf").write_text(
        f"daemon off; error_log stderr; pid {folder}/pid; worker_processes 1; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path "
        f"{folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\nserver {{ listen 127.0.0.1:{port}; "
        'location / { return 200 "yes"; } } }\n'
    )
    request = b"GET / HTTP/1.0\r\n\r\n"
    with started(installed("nginx"), "-p", folder, "-c", folder / "conf", ready=answers(port, request)) as program:
        yield program


@contextlib.contextmanager
def postgres(folder: Path) -> Started:
    initdb, server = installed("initdb"), installed("postgres")
    options: dict[str, object] = {}
    if os.getuid() == 0:  # it refuses root
        options = {"user": "nobody", "group": "nogroup"}
        for part in (folder, *folder.parents):
            if part.stat().st_uid == 0 and part != Path("/tmp"):
                with contextlib.suppress(PermissionError):
                    part.chmod(part.stat().st_mode | 0o011)
        folder.chmod(0o777)
    data, port = folder / "data", free_port()
    done = subprocess.run(
        [initdb, "-D", data, "-N", "-A", "trust", "-U", "test"], capture_output=True, check=False, **options
    )  # type: ignore[call-overload]
    if done.returncode != 0:
        pytest.skip(f"initdb is not installed for this user: {done.stderr[-200:]!r}")
    words = ["-D", data, "-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1", "-F"]
    startup = b"\x00\x00\x00\x1e\x00\x03\x00\x00user\x00test\x00database\x00test\x00"[:-1] + b"\x00"
    with started(server, *words, ready=answers(port, startup), **options) as program:
        yield program


def compiled(folder: Path, name: str, source: str, *command: str, **options: object) -> Path:
    (folder / name).write_text(source)
    done = subprocess.run([*command], cwd=folder, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        pytest.skip(f"{Path(command[0]).name} is not installed whole: {done.stderr[-300:]}")
    return folder / "work"


@contextlib.contextmanager
def java(folder: Path) -> Started:
    (folder / "Work.java").write_text(JAVA)
    with started(installed("java"), "-Xmx256m", folder / "Work.java") as program:
        yield program


@contextlib.contextmanager
def go(folder: Path) -> Started:
    work = compiled(folder, "work.go", GO, installed("go"), "build", "-o", "work", "work.go")
    with started(work) as program:
        yield program


@contextlib.contextmanager
def rust(folder: Path) -> Started:
    work = compiled(folder, "work.rs", RUST, installed("rustc"), "-O", "-o", "work", "work.rs")
    with started(work) as program:
        yield program


@contextlib.contextmanager
def node(folder: Path) -> Started:
    (folder / "work.js").write_text(NODE)
    with started(installed("node"), folder / "work.js") as program:
        yield program


@contextlib.contextmanager
def cpython(folder: Path) -> Started:
    (folder / "work.py").write_text(PYTHON)
    with started(sys.executable, folder / "work.py") as program:
        yield program


PROGRAMS: Final = {found.__name__: found for found in (redis, nginx, postgres, java, go, rust, node, cpython)}


# ----------------------------------------------------------------------------------------------------------- oracles


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    live.wait_until(lambda: set(live.task_states(pid).values()) == {"T"}, "all threads are stopped")


def gdb_registers(pid: int) -> dict[int, dict[str, int]]:
    """What gdb says of the registers of each thread."""
    script = (
        "import gdb\n"
        "gdb.execute('set language c')\n"
        "for thread in gdb.selected_inferior().threads():\n"
        "    thread.switch()\n"
        "    frame = gdb.newest_frame()\n"
        "    values = [int(gdb.parse_and_eval(f'(unsigned long)${name}')) for name in "
        "('rip', 'rsp', 'rbp', 'rbx', 'r12', 'rdi')]\n"
        "    print('REGISTERS', thread.ptid[1], *[value & (1 << 64) - 1 for value in values])\n"
    )
    done = subprocess.run(
        ["gdb", "-q", "-nx", "-batch", "-iex", "set auto-load off", "-iex", "set auto-solib-add off", "-p", str(pid),
         "-ex", f"python exec({script!r})"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=live.PATIENCE * 2, check=False,
    )  # fmt: skip
    rows = [list(map(int, line.split()[1:])) for line in done.stdout.splitlines() if line.startswith("REGISTERS ")]
    assert rows, done.stdout + done.stderr
    return {row[0]: dict(zip(("rip", "rsp", "rbp", "rbx", "r12", "rdi"), row[1:], strict=True)) for row in rows}


def mappings(pid: int) -> list[tuple[int, int, str, int, str]]:
    """Start, end, permissions, offset and path."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text("utf-8", "surrogateescape").splitlines():
        span, permissions, offset, _, _, *path = line.split(maxsplit=5)
        first, end = (int(word, 16) for word in span.split("-"))
        found.append((first, end, permissions, int(offset, 16), path[0] if path else ""))
    return found


def build_id(path: str) -> str | None:
    done = subprocess.run(["readelf", "-nW", path], capture_output=True, text=True, check=False)
    found = re.findall(r"Build ID: ([0-9a-f]+)", done.stdout)
    return found[0] if found else None


def is_elf(path: str) -> bool:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"
    return False


def check_modules(pid: int, dump: file_rules.DumpFile) -> None:
    modules = {base: (path, record) for base, _, path, record in dump.modules()}
    maps = mappings(pid)
    running = {path for _, _, permissions, _, path in maps if "x" in permissions and is_elf(path)}
    named = {path for path, _ in modules.values()}
    assert running <= named
    assert all(is_elf(path) or path.startswith(("[", "linux-")) for path in named), named
    for base, (path, record) in modules.items():
        if path not in running:
            continue  # [vdso], and images that are mapped to be read only
        assert base in {first for first, _, _, _, mapped in maps if mapped == path}
        expected = build_id(path)
        if expected is not None:
            assert record[:4] == b"LEpB" and record[4:].hex() == expected, path
    executable = str(Path(f"/proc/{pid}/exe").readlink())
    assert next(iter(dump.modules()))[2] == executable


def check_memory(pid: int, dump: file_rules.DumpFile, full: bool) -> None:
    chosen = random.Random(pid)
    ranges = dump.ranges()
    pages = [(found, at) for found in ranges for at in range(found.address, found.address + found.size, 4096)]
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for found, at in chosen.sample(pages, min(SAMPLES, len(pages))):
            size = min(4096, found.address + found.size - at)
            memory.seek(at)
            offset = found.offset + at - found.address
            assert dump.data[offset : offset + size] == memory.read(size), hex(at)
    if full:  # all that can be written is there
        for first, _, permissions, _, path in mappings(pid):
            if permissions.startswith("rw-p") and path in ("", "[heap]", "[stack]"):
                assert dump.read(first, 1) is not None or first not in live_pages(pid, first), hex(first)


def live_pages(pid: int, address: int) -> set[int]:
    """The address, if the page there was ever touched."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        file.seek(address // 4096 * 8)
        return {address} if int.from_bytes(file.read(8), "little") >> 62 else set()


@pytest.mark.parametrize("dump_type", [md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY], ids=["normal", "full"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_at_work(name: str, dump_type: md.DumpType, tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    (tmp_path / "program").mkdir()
    with PROGRAMS[name](tmp_path / "program") as program:
        pid = program.pid
        time.sleep(0.2)
        stop(pid)
        try:
            report = md.write_dump(pid, path, dump_type, exception=md.SignalInfo(tid=pid))
            # Each thread goes back into the stop by itself, when a processor is free.
            live.wait_until(lambda: set(live.task_states(pid).values()) == {"T"}, "a stopped target stays stopped")
            assert report.complete, report.missing[:3]
            expected = gdb_registers(pid)
            with file_rules.DumpFile(path) as dump:
                threads = {thread.tid: thread for thread in dump.threads()}
                assert set(threads) == set(live.task_states(pid)) == set(expected)
                for tid, registers in expected.items():
                    assert registers == {name: threads[tid].register(name) for name in registers}
                    comm = Path(f"/proc/{pid}/task/{tid}/comm").read_bytes().removesuffix(b"\n").decode()
                    assert dump.thread_names()[tid] == comm
                    assert dump.read(registers["rsp"], 8) is not None
                check_modules(pid, dump)
                check_memory(pid, dump, dump_type == md.DumpType.WITH_FULL_MEMORY)
        finally:
            os.kill(pid, signal.SIGCONT)
        live.wait_until(lambda: "T" not in live.task_states(pid).values(), "it runs on")
    readers.assert_accepted_counts(path, live.expected_counts(report), QUICK)
