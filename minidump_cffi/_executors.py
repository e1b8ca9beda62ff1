"""What runs the work of a batch: threads of ours, or an executor of the caller's, whose workers may die."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import pickle
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future
from pathlib import Path, PurePath

from ._inputs import remote
from ._record import replace
from .dumping import write_dump
from .files import FILES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import Any

    from .report import DumpReport

__all__ = ["Workers", "wait", "workers"]

SLICE = 0.1
"""Seconds between two looks at the caller's wishes."""
LOOKS = 10
"""That many of them after a pool broke, all of its work has ended, if it ever does."""
_OWN_MAX = 8


def work(number: int, source: Any, destination: Any, options: dict[str, Any]) -> DumpReport:
    """One dump; `number` makes each call another one."""
    destination = remote.local(destination)
    if remote.is_url(destination):
        remote.made_for(destination)
    else:
        Path(destination).parent.mkdir(parents=True, exist_ok=True)
    return write_dump(source, destination, **options)


def work_elsewhere(number: int, order: bytes) -> DumpReport:
    """One dump, in another process."""
    return work(number, *pickle.loads(order))


def workers(executor: Executor | None, jobs: int | None, name: str) -> Workers:
    """What runs the work; `name` is that of threads of ours.

    Raises
    ------
    TypeError
        It is no executor.
    """
    if executor is None:
        return _Threads(jobs or min(_OWN_MAX, _processors()), name)
    if not callable(getattr(executor, "submit", None)):
        raise TypeError(f"executor must be a concurrent.futures.Executor, not {executor!r}")
    if isinstance(executor, concurrent.futures.ProcessPoolExecutor):
        return _Processes(executor, jobs or 2 * _size(executor))
    kind = _Elsewhere if getattr(executor, "_client", None) is not None else Workers
    return kind(executor, jobs or 2 * _size(executor))


def _processors() -> int:
    """Those that we may use."""
    if sys.platform != "win32":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _size(executor: Any) -> int:
    """How many workers it has, as far as that can be found out."""
    client = getattr(executor, "_client", None)
    count: Any = getattr(executor, "_max_workers", None)
    if client is not None and callable(getattr(client, "nthreads", None)):  # Dask
        count = sum(client.nthreads().values())
    return count if isinstance(count, int) and count > 0 else os.cpu_count() or 1


class Workers:
    """An executor of the caller's.

    Attributes
    ----------
    room : int
        How many pieces of work it gets at a time.
    broken : bool
        Whether it takes no work any more before what it had has ended.
    asked : float
        When the caller was asked last whether to go on (time.monotonic).
    """

    def __init__(self, executor: Executor, room: int) -> None:
        self._executor = executor
        self.room = room
        self.broken = False
        self.asked = 0.0
        self._futures: set[Future[DumpReport]] = set()

    def submit(self, number: int, source: Any, destination: Any, options: dict[str, Any]) -> Future[DumpReport]:
        """Begin a piece of work."""
        return self._begun(lambda: self._executor.submit(work, number, source, destination, options))

    def _begun(self, submit: Callable[[], Future[DumpReport]]) -> Future[DumpReport]:
        try:
            future = submit()
        except BrokenExecutor as error:
            future = _failed(error)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def died(self, error: BaseException) -> bool:
        """Whether this says that a worker died, which need not have been this work's fault."""
        return False

    def look(self) -> None:
        """Called now and then while work is waited for."""

    def close(self) -> None:
        """Give up what has not begun; what runs is the executor's."""
        for future in tuple(self._futures):
            future.cancel()


class _Threads(Workers):
    """Threads of ours."""

    def __init__(self, jobs: int, name: str) -> None:
        super().__init__(concurrent.futures.ThreadPoolExecutor(jobs, thread_name_prefix=name), jobs)
        self._ended = threading.Event()

    def submit(self, number: int, source: Any, destination: Any, options: dict[str, Any]) -> Future[DumpReport]:
        return super().submit(number, source, destination, options | {"on_cancel": self._ended.is_set})

    def close(self) -> None:
        """End what runs, too, and wait for that."""
        self._ended.set()
        while True:
            try:
                self._executor.shutdown(wait=True, cancel_futures=True)
                return
            except KeyboardInterrupt:  # a second one: each dump ends by itself, and soon
                continue


class _Elsewhere(Workers):
    """Other processes, of this machine or of others: Dask, whose client makes such an executor."""

    def submit(self, number: int, source: Any, destination: Any, options: dict[str, Any]) -> Future[DumpReport]:
        try:
            # Here, so that what cannot be sent fails alone, and Dask sees bytes: it would take our records apart.
            order = pickle.dumps((_anywhere(source), _absolute(destination), options))
        except Exception as error:
            return _failed(error)
        return self._begun(lambda: self._executor.submit(work_elsewhere, number, order))

    def died(self, error: BaseException) -> bool:
        return type(error).__name__ == "KilledWorker"  # Dask has restarted the worker


def _anywhere(source: Any) -> Any:
    """The same file for a process in another directory; processes are the same there."""
    if not isinstance(source, FILES):
        return source
    paths = {name: getattr(source, name) for name in ("file", "root", "executable") if name in source._fields}
    return replace(source, **{name: _absolute(path) for name, path in paths.items()})


def _absolute(path: Any) -> Any:
    if isinstance(path, (str, bytes, PurePath)) and not remote.is_url(path):
        return os.path.abspath(path)  # noqa: PTH100 -- it may be bytes
    return path


def _failed(error: Exception) -> Future[DumpReport]:
    future: Future[DumpReport] = Future()
    future.set_exception(error)
    return future


class _Processes(_Elsewhere):
    """A pool of processes: when one dies all that was in work is lost, and the pool is of no use any more."""

    def __init__(self, executor: concurrent.futures.ProcessPoolExecutor, room: int) -> None:
        super().__init__(executor, room)
        self._own = False
        self._looks = 0  # since the pool has been broken

    def submit(self, number: int, source: Any, destination: Any, options: dict[str, Any]) -> Future[DumpReport]:
        if self.broken:
            self._renew()
        return super().submit(number, source, destination, options)

    def _begun(self, submit: Callable[[], Future[DumpReport]]) -> Future[DumpReport]:
        try:
            return super()._begun(submit)
        except Exception as error:
            if not self._is_broken():
                raise
            return _failed(BrokenExecutor(f"a worker died while work was submitted: {error}"))

    def _is_broken(self) -> bool:
        return bool(getattr(self._executor, "_broken", False))

    def look(self) -> None:
        """Fail what a pool of Python before 3.12 has forgotten: submitted just when it broke, it would never end."""
        self._looks = self._looks + 1 if self._is_broken() else 0
        if self._looks > LOOKS:
            for future in tuple(self._futures):
                with contextlib.suppress(concurrent.futures.InvalidStateError):
                    future.set_exception(BrokenExecutor("a worker died while work was submitted"))

    def died(self, error: BaseException) -> bool:
        if isinstance(error, BrokenExecutor):
            self.broken = True
            return True
        return False

    def _renew(self) -> None:
        """Make a pool of our own with the same settings."""
        self._end()
        old: Any = self._executor
        self._executor = concurrent.futures.ProcessPoolExecutor(
            old._max_workers,
            mp_context=old._mp_context,
            initializer=old._initializer,
            initargs=old._initargs,
            max_tasks_per_child=old._max_tasks_per_child,
        )
        self._own, self.broken, self._looks = True, False, 0

    def close(self) -> None:
        super().close()
        self._end()

    def _end(self) -> None:
        """End a pool of ours with all that it does; a dump that is not complete has no name."""
        if not self._own:
            return
        pool: Any = self._executor
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            with contextlib.suppress(OSError, ValueError):
                process.terminate()
        for process in processes:
            with contextlib.suppress(OSError, ValueError, AssertionError):
                process.join()


def wait(
    workers: Workers,
    running: Collection[Future[Any]],
    on_cancel: Callable[[], object] | None,
    cancelled: Callable[[], Exception],
) -> Iterable[Future[Any]]:
    """Those that have ended, one at least; asks about ten times a second whether to go on."""
    while True:
        done, _ = concurrent.futures.wait(running, SLICE, FIRST_COMPLETED)
        now = time.monotonic()
        if on_cancel is not None and now - workers.asked >= SLICE:  # also where work ends all the time
            workers.asked = now
            if on_cancel():
                raise cancelled()
        if done:
            return done
        workers.look()
