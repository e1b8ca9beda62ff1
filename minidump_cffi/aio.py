"""`write_dump` and `plan_dump` for asyncio: the event loop runs on meanwhile, and cancelling the task ends the dump.

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
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from . import dumping
from ._native.errors import start_refused

__all__ = ["plan_dump", "write_dump"]

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
