"""Several threads at once: who owns what C uses, and for how long.

The stress program runs plain, with every byte of the extension under AddressSanitizer, and under ThreadSanitizer.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake
import live
import pytest
import readers

import minidump_cffi as md
from minidump_cffi._native import options as native_options
from minidump_cffi._native import session as native_session

ROOT = live.HERE.parent
STRESS = live.HERE / "stress" / "threads.py"
FULL = md.DumpType.WITH_FULL_MEMORY
TARGET = fake.Target(regions=(fake.Region(base=0x1000_0000, size=1 << 24),))


# ------------------------------------------------------------------------------------------------ sessions of others


def test_a_job_outlives_its_close_for_other_threads() -> None:
    """A thread that starts a dump looks at the sessions of others, which these may close at the same time."""
    source = native_options.source(TARGET.source())
    session = native_session.Session(None, {"plan_only": 1, "dump_type": int(FULL)}, {"pidfd": -1}, fill=[source])
    session.start()
    while not session.wait(0.1):
        pass
    assert session.finish() is None
    assert session.report()["extents"]
    session.close()
    assert session not in native_session._started
    assert session.pointer, "the session of C lives as long as its object"
    assert session.wait(0)
    session.cancel()
    session.close()
    assert session.progress().phase >= md.report.Phase.PLAN


@pytest.mark.linux
def test_jobs_end_before_python_does(tmp_path: Path) -> None:
    """A daemon thread is in the middle of a dump when the main thread ends: it is cancelled, and nothing crashes."""
    program = (
        "import atexit, threading, subprocess\n"
        "atexit.register(lambda: print(all(one.wait(0) for one in (*native_session._started,)), flush=True))  # last\n"
        "import minidump_cffi as md\n"
        "from minidump_cffi._native import session as native_session\n"
        "child = subprocess.Popen(['sleep', '100'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "class Out:\n"
        "    def __init__(self): self.started = threading.Event()\n"
        "    def write(self, data):\n"
        "        self.started.set()\n"
        "        import time; time.sleep(0.02)\n"
        "        return len(data)\n"
        "out = Out()\n"
        "def dump():\n"
        "    streams = [md.UserStream(type=0x10000, data=bytes(1 << 20))]\n"
        "    md.write_dump(child, out, md.DumpType.WITH_FULL_MEMORY, spool=False, user_streams=streams,\n"
        "                  options=md.EngineOptions(buffer_bytes=4096))\n"
        "threading.Thread(target=dump, daemon=True).start()\n"
        "assert out.started.wait(20)\n"
        "print(child.pid, flush=True)\n"
    )
    for _ in range(3):
        done = live.run_python(program)
        words = done.stdout.split()
        assert done.returncode == 0 and len(words) == 2, (done.returncode, done.stdout, done.stderr)
        pid, ended = int(words[0]), words[1]
        try:
            assert ended in ("True", b"True"), "a session still runs when Python ends"
            live.wait_until(lambda pid=pid: live.status_field(pid, "TracerPid") == "0", "the target runs on")
            assert set(live.task_states(pid).values()) <= {"S", "R"}
        finally:
            os.kill(pid, 9)


# --------------------------------------------------------------------------------------- one callback, many users


@pytest.mark.parametrize("kind", ["hooks", "python"])
def test_a_refused_dump_takes_nothing_from_the_one_in_progress(kind: str) -> None:
    """Neither the exception of its hook, which its thread has not fetched yet, nor what it has recorded."""
    asked, raised, go_on = threading.Event(), threading.Event(), threading.Event()

    def fail(*_: object) -> bool:
        asked.set()
        raised.wait(20)
        raise KeyError("from the hook")

    def look() -> bool:  # on the thread of the dump
        if asked.is_set():
            raised.set()
            go_on.wait(20)
        return False

    functions = {md.protocol.CallbackType.INCLUDE_THREAD: fail}
    callback: Any = (
        md.Callback(hooks=functions, record=True) if kind == "hooks" else md.protocol.PythonCallback(functions)
    )
    target = fake.small()
    outcome: list[BaseException] = []

    def work() -> None:
        try:
            fake.write(target, io.BytesIO(), FULL, callback=callback, on_cancel=look)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert raised.wait(20)
    time.sleep(0.2)  # the worker of C has ended, and its caller does not know yet
    for refused in (
        lambda: fake.write(target, io.BytesIO(), FULL, callback=callback),
        callback.close,
        callback.reset,
        lambda: callback.in_use().__enter__(),
    ):
        with pytest.raises(md.CallbackError, match="in use"):
            refused()
    if kind == "hooks":
        assert len(callback.recording)
    go_on.set()
    thread.join()
    assert [type(error) for error in outcome] == [KeyError]
    callback.close()


def test_a_callback_is_closed_while_others_ask_it() -> None:
    """Each of the others is answered, or told that it is closed; nothing is used after it was freed."""
    for _ in range(300):
        callback = md.Callback(md.Filter(md.exclude(name="/x/*")), record=True)
        odd: list[BaseException] = []
        start = threading.Barrier(4)

        def ask(use: Callable[[], object], start: threading.Barrier = start, odd: list[BaseException] = odd) -> None:
            start.wait()
            for _ in range(20):
                try:
                    use()
                except md.CallbackError as error:
                    if "closed" not in str(error):
                        odd.append(error)

        uses = (callback.cancel, lambda callback=callback: callback.counters, callback.raise_error)
        threads = [threading.Thread(target=ask, args=(use,)) for use in uses]
        for thread in threads:
            thread.start()
        start.wait()
        callback.close()
        for thread in threads:
            thread.join()
        assert not odd


@pytest.mark.linux
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_fork_while_another_thread_uses_a_callback() -> None:
    """The child inherits a lock that no thread of it holds, and closes the callback all the same."""
    callback = md.Callback()
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with callback._lock:
            held.set()
            release.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        with contextlib.suppress(md.CallbackError):
            callback.cancel()
        callback.close()
        os._exit(0 if callback.closed else 1)
    release.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    callback.close()


@pytest.mark.linux
def test_a_dump_of_our_own_process_within_one_is_refused(tmp_path: Path) -> None:
    """A hook or a signal handler that asks for another one would wait for itself."""
    refused: list[BaseException] = []

    def again(state: object) -> None:
        try:
            md.write_dump(os.getpid(), tmp_path / "inner.dmp", busy_timeout=60.0)
        except md.TargetBusy as error:
            refused.append(error)

    assert md.write_dump(os.getpid(), tmp_path / "outer.dmp", progress=again).complete
    assert refused
    assert fake.names(tmp_path) == ["outer.dmp"]


@pytest.mark.linux
def test_dumps_of_our_own_process_wait_for_each_other(tmp_path: Path) -> None:
    outcomes: list[Any] = []

    def dump(number: int) -> None:
        try:
            outcomes.append(md.write_dump(os.getpid(), tmp_path / f"{number}.dmp", busy_timeout=60.0).complete)
        except BaseException as error:
            outcomes.append(error)

    threads = [threading.Thread(target=dump, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [True] * 3


# ------------------------------------------------------------------------------------------------ under load


def stress(*words: object, **environment: str) -> dict[str, Any]:
    """Run the stress program to its end."""
    done = subprocess.run(
        [*PREFIX.get(environment.pop("runner", ""), ()), sys.executable, STRESS, *map(str, words)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


PREFIX = {"fixed addresses": ("setarch", "-R")}


@pytest.mark.linux
def test_threads_that_dump_different_processes() -> None:
    outcomes = stress("--threads", 8, "--dumps", 500)["outcomes"]
    assert outcomes["to_path: ok"] > 100
    assert outcomes["late: DeadlineExceeded"]
    assert outcomes["failing_callback: HookError"]


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds the package with a sanitizer; a skip where the compiler has no run time for it (in CI a failure)."""

    def build(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        source = folder / "source"  # a tree of its own: objects that were built before would be taken as they are
        source.mkdir()
        for part in ("csrc", "minidump_cffi", "tools"):
            shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        for part in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in"):
            shutil.copy(ROOT / part, source)
        flags = f"-fsanitize={name} -O1 -g -fno-omit-frame-pointer"
        command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run(
            [*command, "--target", folder / "lib", source],
            env={**os.environ, "CFLAGS": flags, "LDFLAGS": f"-fsanitize={name}", "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return folder / "lib"

    return build


def run_time(library: str) -> str:
    """Path of a sanitizer's run time."""
    done = subprocess.run([*live.compiler().split(), f"-print-file-name={library}"], capture_output=True, text=True)
    path = done.stdout.strip()
    if not Path(path).is_absolute():
        if readers.readers_required():
            pytest.fail(f"this compiler has no {library}")
        pytest.skip(f"this compiler has no {library}")
    return path


@pytest.mark.linux
@pytest.mark.timeout(900)
def test_threads_under_address_sanitizer(sanitized: Callable[[str], Path]) -> None:
    library = run_time("libasan.so")
    options = "detect_leaks=0:abort_on_error=0"
    stress(
        *("--threads", 8, "--dumps", 80),
        LD_PRELOAD=library, ASAN_OPTIONS=options, PYTHONMALLOC="malloc", PYTHONPATH=str(sanitized("address")),
    )  # fmt: skip


@pytest.mark.linux
@pytest.mark.timeout(900)
def test_threads_under_thread_sanitizer(sanitized: Callable[[str], Path]) -> None:
    """Without forks, which it does not follow; the target is traced by a thread there."""
    library = run_time("libtsan.so")
    options = f"halt_on_error=1:second_deadlock_stack=1:suppressions={STRESS.with_name('tsan.supp')}"
    stress(
        *("--threads", 8, "--dumps", 40, "--no-fork"),
        runner="fixed addresses", LD_PRELOAD=library, TSAN_OPTIONS=options, PYTHONPATH=str(sanitized("thread")),
    )  # fmt: skip
