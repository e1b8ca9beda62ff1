"""`write_dump`, `write_dump_many` and `plan_dump` for asyncio.

The event loop runs on meanwhile, and cancelling the task ends the dump.

>>> import asyncio, sys
>>> from subprocess import PIPE, Popen
>>> from minidump_cffi import aio
>>> async def main():
...     with Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=PIPE, stdout=PIPE) as child:
...         _ = child.stdout.readline()
...         async with asyncio.timeout(30):
...             report = await aio.write_dump(child, "/dev/null")
...         child.kill()
...     return report.complete
>>> asyncio.run(main())
True
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import errno
import functools
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from . import _executors, batch, dumping
from ._native.errors import start_refused
from .errors import Cancelled

if TYPE_CHECKING:
    from ._aliases import Process
    from .enums import DumpType
    from .filters import Filter
    from .report import DumpReport

__all__ = ["plan_dump", "write_dump", "write_dump_many"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _awaitable(
    function: Callable[_P, _R],
) -> Callable[[Callable[[], None]], Callable[_P, Coroutine[Any, Any, _R]]]:
    """The same function on a thread of its own, with the same parameters, as something to await.

    A thread of its own, because those of the loop's executor may all be busy, and a dump that waits for one would keep
    what it is to be cancelled for.
    """

    @functools.wraps(function)
    async def run(*args: _P.args, **options: _P.kwargs) -> _R:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[_R] = loop.create_future()
        cancelled = threading.Event()
        wish: Any = options.get("on_cancel")

        def wants_cancel() -> bool:
            return cancelled.is_set() or (wish is not None and bool(wish()))

        if wish is None or callable(wish):  # what is neither is refused there
            options["on_cancel"] = wants_cancel

        def settle(set_it: Callable[[Any], None], value: Any) -> None:
            if not ended.done():
                set_it(value)

        def work() -> None:
            try:
                outcome: tuple[Callable[[Any], None], Any] = (ended.set_result, function(*args, **options))
            except StopIteration as error:  # of a hook; a future refuses it (PEP 479)
                raised = RuntimeError("a hook raised StopIteration")
                raised.__cause__ = error
                outcome = (ended.set_exception, raised)
            except BaseException as error:
                outcome = (ended.set_exception, error)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing to notify
                loop.call_soon_threadsafe(settle, *outcome)

        context = contextvars.copy_context()
        try:
            threading.Thread(target=context.run, args=(work,), name=function.__name__, daemon=True).start()
        except RuntimeError as error:
            raise start_refused(errno.EAGAIN, "cannot start the dump thread") from error
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            cancelled.set()
            # Until the target runs again and the output is gone; being cancelled once more changes nothing.
            while not ended.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([ended])
            if not ended.cancelled():
                ended.exception()  # seen
            raise
        finally:
            cancelled.set()  # also when the loop throws the coroutine away

    def documented(text: Callable[[], None]) -> Callable[_P, Coroutine[Any, Any, _R]]:
        run.__doc__, run.__module__ = text.__doc__, text.__module__
        return run

    return documented


@_awaitable(dumping.write_dump)
def write_dump() -> None:
    """Write a minidump of a live process, as `minidump_cffi.write_dump` does, for asyncio.

    Parameters, result and exceptions are those of that function. The dump is taken by a thread that is started for it;
    hooks (`on_cancel`, `progress`) are called there, about ten times a second, and reach the loop by
    ``call_soon_threadsafe``.

    Cancelling the task ends the dump: within about a tenth of a second the target is resumed and the output is removed.
    Only then is `asyncio.CancelledError` raised, so that ``asyncio.timeout`` and ``asyncio.TaskGroup`` work as
    expected. A dump that was complete at that moment is kept. An output or a callback that hangs is abandoned after
    five seconds; the target is resumed before that.

    Examples
    --------
    >>> import asyncio, sys
    >>> from subprocess import PIPE, Popen
    >>> with Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=PIPE, stdout=PIPE) as child:
    ...     _ = child.stdout.readline()
    ...     report = asyncio.run(write_dump(child, "/dev/null", deadline=30.0))
    ...     child.kill()
    >>> report.complete
    True
    """


@_awaitable(dumping.plan_dump)
def plan_dump() -> None:
    """Say what `write_dump` would write, as `minidump_cffi.plan_dump` does, without blocking the loop.

    Parameters, result and exceptions are those of that function; cancelling works as in `write_dump`.

    Examples
    --------
    >>> import asyncio, sys
    >>> from subprocess import PIPE, Popen
    >>> with Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=PIPE, stdout=PIPE) as child:
    ...     _ = child.stdout.readline()
    ...     plan = asyncio.run(plan_dump(child))
    ...     child.kill()
    >>> plan.memory_bytes > 0
    True
    """


def _dump(process: Any, destination: Any, **options: Any) -> DumpReport:
    return _executors.work(0, process, destination, options)


@_awaitable(_dump)
def _write_one() -> None:
    """One dump of many."""


async def write_dump_many(
    processes: Iterable[Process] | AsyncIterable[Process],
    destination: batch.Place | Callable[[Any], batch.Place],
    *,
    filter: Filter | None = None,
    type: DumpType | int | str | None = None,
    jobs: int = 4,
    on_error: Literal["continue", "raise"] = "continue",
    **options: Any,
) -> AsyncIterator[batch.DumpedProcess]:
    """Write a dump of each process, `jobs` at a time, for ``async for``.

    Parameters, results and exceptions are those of `minidump_cffi.write_dump_many`; the processes may come from an
    asynchronous generator. Leaving the loop early, or cancelling the task, ends what is in work: close the iterator
    (`contextlib.aclosing`) to wait for that at once.

    Examples
    --------
    >>> import asyncio, sys, tempfile
    >>> from subprocess import PIPE, Popen
    >>> async def main(child, folder):
    ...     return [done.report.complete async for done in write_dump_many([child], folder)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=PIPE, stdout=PIPE) as child:
    ...         _ = child.stdout.readline()
    ...         print(asyncio.run(main(child, folder)))
    ...         child.kill()
    [True]
    """
    options = batch.checked(options, type=type, filter=filter, on_error=on_error, jobs=jobs)
    names = batch.Names(destination, batch.process_names, batch.PROCESS_FIELDS)
    given = _each(batch.several(processes))
    running: dict[asyncio.Task[DumpReport], batch.Item[batch.DumpedProcess]] = {}
    more = True
    try:
        while more or running:
            while more and len(running) < jobs:
                try:
                    item = batch.process_item(await anext(given), names)
                except StopAsyncIteration:
                    more = False
                    break
                if item.error is not None:
                    yield batch.passed(item, None, item.error, stop=on_error == "raise")
                    continue
                running[asyncio.create_task(_write_one(item.source, item.destination, **options))] = item
            if not running:
                continue
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                error = task.exception()
                if isinstance(error, Cancelled):  # on_cancel ends the whole
                    raise error
                yield batch.passed(running.pop(task), None if error else task.result(), error, stop=on_error == "raise")
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _each(processes: Any) -> AsyncIterator[Any]:
    if isinstance(processes, AsyncIterable):
        async for process in processes:
            yield process
        return
    for process in processes:
        yield process
