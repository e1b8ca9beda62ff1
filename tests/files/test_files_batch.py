"""`filter_many`: names, errors, executors whose workers die, URLs, and what is left when it ends early."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import killers
import live
import pytest

import minidump_cffi as md
from minidump_cffi import _executors, batch

DATA = live.HERE / "data"
SAMPLES = [DATA / name for name in ("own-a-breakpad.dmp", "own-a-crashpad.dmp", "google-null_write_av.dmp")]
linux = pytest.mark.linux


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def whole(path: Path) -> bool:
    return path.read_bytes()[:4] == b"MDMP"


def test_each_file_has_its_dump_and_its_report(out: Path) -> None:
    results = list(md.filter_many(SAMPLES, out, filter=md.Filter(streams={"exclude": ["environ"]})))
    assert sorted(result.source for result in results) == sorted(SAMPLES)
    for result in results:
        assert isinstance(result.source, Path)
        assert result.error is None and result.report is not None and result.report.complete
        assert result.destination == str(out / result.source.name)
        assert whole(out / result.source.name)
        assert result.report.file_bytes == (out / result.source.name).stat().st_size
        assert pickle.loads(pickle.dumps(result)) == result
    assert files(out) == sorted(path.name for path in SAMPLES)
    alone = out / "alone"
    report = md.write_dump(md.DumpFile(SAMPLES[0]), alone, filter=md.Filter(streams={"exclude": ["environ"]}))
    assert alone.read_bytes() == (out / SAMPLES[0].name).read_bytes()
    assert report.file_bytes == alone.stat().st_size


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("core", "core.dmp"),
        ("/var/lib/core.a b.0.zst", "core.a b.0.dmp"),
        ("a.dmp", "a.dmp"),
        ("a.DMP.xz", "a.DMP"),
        ("a.mdmp", "a.mdmp"),
        (".gz", ".gz.dmp"),
        (".dmp", ".dmp.dmp"),
        ("s3://bucket/dumps/a.dmp.gz?version=1", "a.dmp"),
        ("descriptor 3", "descriptor 3.dmp"),
    ],
)
def test_names_of_dumps(name: str, expected: str) -> None:
    assert "".join(batch.dump_name(name)) == expected


def test_no_two_go_to_the_same_place(tmp_path: Path, out: Path) -> None:
    sources = []
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
        sources.append(tmp_path / folder / "same.dmp")
        shutil.copy(SAMPLES[0], sources[-1])
    sources.append(tmp_path / "c" / "same-2.dmp")
    shutil.copy(SAMPLES[1], sources[-1])
    results = {result.source: Path(str(result.destination)).name for result in md.filter_many(sources, out)}
    assert [results[source] for source in sources] == ["same.dmp", "same-2.dmp", "same-3.dmp", "same-2-2.dmp"]
    assert len(files(out)) == 4
    assert len(list(md.filter_many(sources, out))) == 4
    assert len(files(out)) == 4  # those of a batch before are replaced

    same = {result.source: result for result in md.filter_many(sources, lambda source: out / "one.dmp")}
    assert sorted(result.error is None for result in same.values()) == [False, False, False, True]
    assert "is the destination of another file of this batch" in str(same[sources[1]].error)
    in_place = list(md.filter_many([sources[0]], sources[0].parent))
    assert "is both input and output" in str(in_place[0].error)
    assert sources[0].read_bytes() == SAMPLES[0].read_bytes()


def test_errors_are_results_or_raised(tmp_path: Path, out: Path) -> None:
    (tmp_path / "bad.dmp").write_bytes(b"MDMP" + b"\xff" * 60)
    sources: list[Any] = [tmp_path / "none.dmp", tmp_path / "bad.dmp", 3, SAMPLES[0]]
    results = list(md.filter_many(iter(sources), out))
    kinds = {str(result.source): type(result.error) for result in results}
    assert kinds == {
        str(sources[0]): md.InputError,
        str(sources[1]): md.FormatError,
        "3": TypeError,
        str(SAMPLES[0]): type(None),
    }
    assert files(out) == [SAMPLES[0].name]
    with pytest.raises(md.InputError) as caught:
        list(md.filter_many(sources, out, on_error="raise", jobs=1))
    assert any("none.dmp" in note for note in caught.value.__notes__)

    def no_name(source: Any) -> str:
        raise LookupError(source)

    failed = list(md.filter_many(SAMPLES, no_name))
    assert all(isinstance(result.error, LookupError) and result.destination is None for result in failed)
    assert isinstance(next(md.filter_many(SAMPLES[:1], lambda source: 5)).error, TypeError)  # type: ignore[arg-type, return-value]


def test_wrong_arguments_are_said_at_once(out: Path) -> None:
    many: Any = md.filter_many
    with pytest.raises(TypeError, match="sources must be several files"):
        many("a.dmp", out)
    with pytest.raises(TypeError, match="sources must be several files"):
        many(md.DumpFile("a.dmp"), out)
    with pytest.raises(ValueError, match="on_error must be one of continue, raise"):
        many([], out, on_error="ignore")
    with pytest.raises(TypeError, match="progress is for one dump"):
        many([], out, progress=print)
    with pytest.raises(TypeError, match="has no spoon"):
        many([], out, spoon=True)
    with pytest.raises(ValueError, match="jobs must be a number above 0"):
        many([], out, jobs=0)
    with pytest.raises(TypeError, match="executor must be"):
        many([], out, executor=5)
    with pytest.raises(TypeError, match="destination must be a folder"):
        many([], 5)
    with pytest.raises(ValueError, match="text must be one of"):
        many([], out, text="all")
    with pytest.raises(ValueError, match="'ful' is not known"):
        many([], out, type="ful")
    assert list(many([], out)) == []
    assert not out.exists()


def test_sources_are_taken_as_there_is_room(out: Path) -> None:
    """A generator without an end: few of it are taken before the first results."""
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield SAMPLES[taken % len(SAMPLES)]

    results = md.filter_many(endless(), out, jobs=3)
    for number in range(20):
        assert next(results).error is None
        assert taken <= number + 4
    assert isinstance(results, Iterator)
    results.close()  # type: ignore[attr-defined]
    assert len(files(out)) <= taken
    assert all(whole(path) for path in out.iterdir())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("filter_many")]


def test_cancel_ends_the_batch(tmp_path: Path, out: Path) -> None:
    """The file in work reads from an object that never ends."""

    class Endless:
        name = "endless"

        def read(self, size: int) -> bytes:
            time.sleep(0.001)
            return os.urandom(64)

    start = time.monotonic()
    with pytest.raises(md.Cancelled):
        list(md.filter_many([md.DumpFile(Endless())], out, on_cancel=lambda: time.monotonic() > start + 0.3))
    assert time.monotonic() < start + 10
    assert files(out) == []
    results = list(md.filter_many([md.DumpFile(Endless()), SAMPLES[0]], out, deadline=0.3))
    assert {type(result.error) for result in results} == {md.DeadlineExceeded, type(None)}


@linux  # as all pools of processes here: under Wine they hang now and then, in their own pipes
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes(method: str, out: Path) -> None:
    if method == "fork" and sys.version_info >= (3, 12):
        pytest.skip("pytest has threads, and Python warns of a fork then")
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        results = list(md.filter_many(SAMPLES, out, executor=pool, filter=md.Filter()))
        assert [result.error for result in results] == [None] * 3
        unpicklable = next(md.filter_many([md.DumpFile(3)], out, executor=pool))
        assert "give a path to pickle it" in str(unpicklable.error)
    assert files(out) == sorted(path.name for path in SAMPLES)


@linux
def test_a_process_that_dies_loses_one_file(tmp_path: Path, out: Path) -> None:
    """What was in work with it is done again, and nothing is left running."""
    trace = tmp_path / "killed"
    slow = [killers.Slow(path, tmp_path / "slow", 0.6) for path in copies(tmp_path, 3)]
    # Four are in work at first; the second killer comes when the last of them is done again.
    sources: list[Any] = [killers.Killer(trace), *slow, killers.Killer(trace), killers.Killer(trace), *SAMPLES]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        results = list(md.filter_many(sources, out, executor=pool))
    assert len(results) == len(sources)
    lost = [result for result in results if result.error is not None]
    assert {type(result.source) for result in lost} == {killers.Killer}
    assert len(lost) == 3
    assert all(isinstance(result.error, concurrent.futures.BrokenExecutor) for result in lost)
    assert len(files(out)) == len(sources) - 3
    assert multiprocessing.active_children() == []


def copies(folder: Path, count: int) -> list[Path]:
    made = [folder / f"copy-{number}.dmp" for number in range(count)]
    for path in made:
        shutil.copy(SAMPLES[0], path)
    return made


@linux
def test_relative_paths_are_those_of_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers may have another working directory, as those of Dask on other machines do."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(SAMPLES[0], "a.dmp")
    sources: list[Any] = ["a.dmp", md.DumpFile(Path("a.dmp"))]
    with concurrent.futures.ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), initializer=os.chdir, initargs=("/",)
    ) as pool:
        results = list(md.filter_many(sources, "out", executor=pool))
    assert [result.error for result in results] == [None, None]
    assert sorted(str(result.destination) for result in results) == [
        os.path.join("out", "a-2.dmp"),  # noqa: PTH118
        os.path.join("out", "a.dmp"),  # noqa: PTH118
    ]
    assert files(tmp_path / "out") == ["a-2.dmp", "a.dmp"]


@linux
def test_a_process_that_is_killed_from_outside_loses_nothing(tmp_path: Path, out: Path) -> None:
    trace = tmp_path / "trace"
    sources: list[Any] = [killers.Slow(SAMPLES[0], trace, 0.5), *copies(tmp_path, 4)]

    def kill() -> None:
        live.wait_until(lambda: trace.exists() and trace.read_text(), "a worker began")
        os.kill(int(trace.read_text().split()[0]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = list(md.filter_many(sources, out, executor=pool))
    killer.join()
    assert [result.error for result in results] == [None] * 5
    assert len(trace.read_text().split()) == 2


def test_an_executor_that_breaks_and_is_not_known(out: Path) -> None:
    class Broken(concurrent.futures.Executor):
        def submit(self, function: Any, /, *args: Any, **keywords: Any) -> Any:
            raise concurrent.futures.BrokenExecutor("no workers are left")

    results = list(md.filter_many(SAMPLES, out, executor=Broken()))
    assert [str(result.error) for result in results] == ["no workers are left"] * 3
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool = concurrent.futures.ThreadPoolExecutor(1)
        pool.shutdown()
        list(md.filter_many(SAMPLES, out, executor=pool))


@linux
def test_work_that_a_breaking_pool_forgot(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Submitted just when a worker dies: refused with a strange error, or never heard of again. It is done again."""
    real = concurrent.futures.ProcessPoolExecutor.submit
    calls = 0

    def submit(self: Any, function: Any, /, *words: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 2:
            return real(self, function, *words)
        self._broken = "a child process terminated abruptly"
        if calls == 1:
            return concurrent.futures.Future()
        raise OSError("handle is closed")

    monkeypatch.setattr(concurrent.futures.ProcessPoolExecutor, "submit", submit)
    monkeypatch.setattr(_executors, "LOOKS", 2)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = list(md.filter_many(SAMPLES, out, executor=pool))
    assert [result.error for result in results] == [None] * 3
    assert calls == 5


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Dask, with two workers that are processes of this machine."""
    import dask
    from distributed import Client, LocalCluster

    settings = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.worker.memory.terminate": False,
        "distributed.admin.log-format": "",
    }
    environment = {"PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(live.HERE / "support")])}
    with dask.config.set(settings), contextlib.ExitStack() as stack:
        cluster = stack.enter_context(
            LocalCluster(
                n_workers=2,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                silence_logs=50,
                env=environment,
            )
        )
        yield stack.enter_context(Client(cluster))


@linux
@pytest.mark.filterwarnings("ignore")
def test_dask(client: Any, tmp_path: Path, out: Path) -> None:
    """A real cluster: all files, and twice, since equal work need not be the same; then with workers that die."""
    assert len(client.scheduler_info()["workers"]) == 2
    executor = client.get_executor()
    rules = md.Filter(md.exclude(kind="stack"))
    for _ in range(2):
        results = list(md.filter_many(SAMPLES, out, executor=executor, filter=rules))
        assert [result.error for result in results] == [None] * 3
        assert files(out) == sorted(path.name for path in SAMPLES)
        shutil.rmtree(out)
    wrong: list[Any] = [tmp_path / "none", md.DumpFile(3)]
    failed = {str(result.source): type(result.error) for result in md.filter_many(wrong, out, executor=executor)}
    assert [kind for _, kind in sorted(failed.items())] == [md.InputError, TypeError]
    sources: list[Any] = [*copies(tmp_path, 4), killers.Killer(tmp_path / "killed"), *SAMPLES]
    results = list(md.filter_many(sources, out, executor=executor))
    lost = [result for result in results if result.error is not None]
    assert [type(result.source) for result in lost] == [killers.Killer]
    assert type(lost[0].error).__name__ == "KilledWorker"
    assert len(files(out)) == len(sources) - 1


@pytest.fixture
def memory() -> Iterator[Any]:
    """The file system of fsspec in memory, empty."""
    import fsspec

    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@linux
def test_urls(memory: Any, tmp_path: Path, out: Path) -> None:
    """From a server to a store, and from there to a folder."""
    handler = partial(Quiet, directory=str(DATA))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        sources = [f"{base}/{path.name}" for path in SAMPLES] + [f"{base}/none.dmp"]
        results = {result.source: result for result in md.filter_many(sources, "memory://dumps/new")}
    finally:
        server.shutdown()
        server.server_close()
    assert isinstance(results[sources[3]].error, md.InputError)
    assert [results[source].error for source in sources[:3]] == [None] * 3
    assert sorted(memory.store) == sorted(f"/dumps/new/{path.name}" for path in SAMPLES)
    stored = [f"memory://dumps/new/{path.name}" for path in SAMPLES]
    again = list(md.filter_many(stored, out))
    assert [result.error for result in again] == [None] * 3
    for path in SAMPLES:
        assert md.write_dump(md.DumpFile(path), tmp_path / "one.dmp").complete
        assert memory.cat(f"/dumps/new/{path.name}") == (tmp_path / "one.dmp").read_bytes()
    there = list(md.filter_many(SAMPLES, f"file://{tmp_path}/there"))
    assert [result.error for result in there] == [None] * 3
    assert files(tmp_path / "there") == sorted(path.name for path in SAMPLES)


class Quiet(SimpleHTTPRequestHandler):
    """Says nothing."""

    def log_message(self, *words: object) -> None:
        pass


@linux
def test_a_url_is_written_completely_or_not_at_all(
    memory: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bad.dmp").write_bytes(b"MDMP" + b"\xff" * 60)
    failed = next(md.filter_many([tmp_path / "bad.dmp"], "memory://dumps"))
    assert isinstance(failed.error, md.FormatError)
    assert memory.store == {}

    def refuse(*words: object, **options: object) -> None:
        raise PermissionError("read only")

    monkeypatch.setattr(type(memory), "mv", refuse)
    failed = next(md.filter_many(SAMPLES[:1], "memory://dumps"))
    assert isinstance(failed.error, md.SinkError)
    assert "cannot write memory://dumps/own-a-breakpad.dmp: read only" in str(failed.error)
    assert memory.store == {}


def test_urls_without_fsspec(monkeypatch: pytest.MonkeyPatch, out: Path) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    for source, destination in (("s3://bucket/a.dmp", str(out)), (str(SAMPLES[0]), "s3://bucket")):
        failed = next(md.filter_many([source], destination))
        assert isinstance(failed.error, (md.InputError, md.SinkError))
        assert failed.error.hint == "pip install minidump_cffi[remote]"
        assert failed.error.hint in str(failed.error)


INTERRUPTED = """
import sys, threading, time, signal, os
import minidump_cffi as md
from concurrent.futures import ProcessPoolExecutor

class Endless:
    name = "endless"
    def read(self, size):
        print("reading", flush=True)
        time.sleep(0.01)
        return os.urandom(1000)

try:
    for done in md.filter_many([sys.argv[1], md.DumpFile(Endless()), md.DumpFile(Endless())], sys.argv[2], jobs=3):
        print(done.destination, flush=True)
except KeyboardInterrupt:
    assert threading.active_count() == 1, threading.enumerate()
    print("ended", flush=True)
"""


@linux
def test_ctrl_c_leaves_no_partial_file_and_no_worker(out: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(SAMPLES[0]), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        seen = [child.stdout.readline() for _ in range(3)]
        while not any(line.startswith(str(out)) for line in seen):
            seen.append(child.stdout.readline())
        child.send_signal(signal.SIGINT)
        rest = child.stdout.read()
        assert child.wait(30) == 0
    assert rest.splitlines()[-1] == "ended"
    assert files(out) == [SAMPLES[0].name]
