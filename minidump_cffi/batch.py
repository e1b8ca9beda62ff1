"""Many files through one filter: `filter_many`, on threads, processes or machines."""

from __future__ import annotations

import os
import re
from collections import deque
from concurrent.futures import CancelledError
from contextlib import closing
from pathlib import PurePath

from . import _executors
from ._inputs import remote
from ._options import DumpOptions
from ._record import Record
from .errors import Cancelled, SinkError
from .files import FILES, AnyFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor, Future
    from typing import Any, Literal, TypeAlias

    from .enums import DumpType
    from .files import CoreFile, DumpFile
    from .filters import Filter
    from .report import DumpReport

    Source: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes] | CoreFile | DumpFile | AnyFile
    Place: TypeAlias = str | os.PathLike[str]

__all__ = ["FilteredFile", "filter_many"]

_PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4")
_DUMPS = (".dmp", ".mdmp")
_NOT_FOR_MANY = ("callback", "progress")


class FilteredFile(Record):
    """What became of one file of `filter_many`.

    Attributes
    ----------
    source : object
        As it was given.
    destination : str, os.PathLike or None
        Where its dump is, or would have been; None if that could not be found out.
    report : DumpReport or None
        Of the dump; None if there is none.
    error : Exception or None
        Why there is none.

    Examples
    --------
    >>> FilteredFile(source="a.dmp", destination="out/a.dmp", error=ValueError("no")).report is None
    True
    """

    source: Any
    destination: str | os.PathLike[str] | None = None
    report: DumpReport | None = None
    error: Exception | None = None


def filter_many(
    sources: Iterable[Source],
    destination: Place | Callable[[Any], Place],
    *,
    filter: Filter | None = None,
    type: DumpType | int | str | None = None,
    executor: Executor | None = None,
    jobs: int | None = None,
    on_error: Literal["continue", "raise"] = "continue",
    root: str | os.PathLike[str] = "/",
    executable: str | os.PathLike[str] | None = None,
    text: Literal["core", "files"] = "core",
    max_input: int | str | None = None,
    **options: Any,
) -> Iterator[FilteredFile]:
    """Write a dump of each file: of cores and existing minidumps, in any mixture.

    Work begins when the first result is asked for, and ends when the iterator is closed: then nothing of the dumps that
    were not complete remains. Few files are in work at a time, and so many sources can come from a generator.

    Parameters
    ----------
    sources : iterable
        Paths, URLs (by fsspec, an extra), `CoreFile`, `DumpFile` or `AnyFile`.
    destination : str, os.PathLike or callable
        A folder, which is made if it is not there, or its URL: a dump has the name of its source, with ``.dmp`` in
        place of the suffix of a compressed one and after that of a core. Where another file of this batch has that
        name, a number is added; a file from before is replaced. Or a function that gets the source as it was given, and
        returns the path or URL of its dump.
    filter : Filter or None
        As of `write_dump`.
    type : DumpType, int, str or None
        As of `write_dump`.
    executor : concurrent.futures.Executor or None
        What runs the work: threads, since the GIL is not held; a ``ProcessPoolExecutor``; Dask, by
        ``Client.get_executor()``; or any other. It stays the caller's to shut down. None: threads.
    jobs : int or None
        How many files are in work at a time. None: as many as there are processors without an executor, eight at most,
        and twice the workers of an executor, so that none waits.
    on_error : {"continue", "raise"}
        What happens when a file cannot be filtered: its result has the exception; or that is raised, and what is in
        work is given up.
    root, executable : str, os.PathLike or None
        For sources that are paths or URLs: as of `CoreFile`.
    text : {"core", "files"}
        Likewise.
    max_input : int, str or None
        Likewise.
    **options : object
        Other options of `write_dump`, for each file: `deadline`, `annotations`, ... `on_cancel` ends the whole; there
        is neither `callback` nor `progress`.

    Yields
    ------
    FilteredFile
        In the order in which they are complete.

    Raises
    ------
    Cancelled
        `on_cancel` returned true.
    TypeError, ValueError
        An argument is wrong.

    Notes
    -----
    A worker that dies loses the one file that it died of. Of a ``ProcessPoolExecutor``, which is broken then, what was
    in work is done once more by a pool like it, one file after the other; Dask starts its workers by itself, and
    what it gives up (``KilledWorker``) is done once more, too. Threads die with this process.

    Examples
    --------
    >>> for done in filter_many(["/nowhere/a.dmp"], "out"):
    ...     print(done.destination, type(done.error).__name__)
    out/a.dmp InputError
    """
    if on_error not in ("continue", "raise"):
        raise ValueError(f"on_error must be one of continue, raise, not {on_error!r}")
    if isinstance(sources, (str, bytes, os.PathLike, *FILES)):
        raise TypeError(f"sources must be several files: a list of them, a generator, not {sources!r}")
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise ValueError(f"jobs must be a number above 0, not {jobs!r}")
    for name in _NOT_FOR_MANY:
        if options.get(name) is not None:
            raise TypeError(f"{name} is for one dump, and not for many: use write_dump")
    on_cancel = options.pop("on_cancel", None)
    options = {"type": type, "filter": filter, **options}
    DumpOptions(**options, on_cancel=on_cancel)  # checked before there is any work
    if filter is not None:
        filter.compile()  # its warnings belong here
    about: dict[str, Any] = {"root": root, "executable": executable, "text": text, "max_input": max_input}
    AnyFile("", **about)
    names = _Names(destination)
    items = (_item(source, names, about) for source in sources)
    return _results(items, _executors.workers(executor, jobs), options, on_cancel, on_error == "raise")


class _Item:
    """A file in work."""

    __slots__ = ("again", "destination", "error", "given", "source")

    def __init__(self, given: Any) -> None:
        self.given = given
        self.source: Any = None
        self.destination: Place | None = None
        self.error: Exception | None = None
        self.again = False  # it was in work when a worker died, and runs alone now

    def result(self, report: DumpReport | None, error: BaseException | None) -> FilteredFile:
        if error is not None and not isinstance(error, Exception):
            raise error
        return FilteredFile(source=self.given, destination=self.destination, report=report, error=error)


def _item(given: Any, names: _Names, about: dict[str, Any]) -> _Item:
    item = _Item(given)
    try:
        if isinstance(given, FILES):
            item.source = given
        elif isinstance(given, (str, bytes, os.PathLike)):
            item.source = AnyFile(given, **about)
        else:
            raise TypeError(f"a source is a path, a URL, a CoreFile, DumpFile or AnyFile, not {given!r}")
        item.destination = names.of(given, item.source.name)
    except Exception as error:
        item.error = error
    return item


class _Names:
    """Where the dumps go: no two to the same place."""

    def __init__(self, destination: Any) -> None:
        self._folder: Any = None
        self._choose: Any = None
        if isinstance(destination, (str, os.PathLike)):
            self._folder = os.fspath(destination)
            if not isinstance(self._folder, str) or not self._folder:
                raise TypeError(f"destination must be a folder as a text or path, not {destination!r}")
        elif callable(destination):
            self._choose = destination
        else:
            raise TypeError(f"destination must be a folder, or a function that returns a path, not {destination!r}")
        self._taken: set[str] = set()

    def of(self, given: Any, name: str) -> Place:
        if self._choose is not None:
            place: Any = self._choose(given)
            if not isinstance(place, (str, os.PathLike)):
                raise TypeError(f"destination() must return a path or a URL, not {place!r}")
            if not self._take(os.fsdecode(place)):
                raise SinkError(f"{os.fsdecode(place)} is the destination of another file of this batch, too")
            return place
        stem, suffix = dump_name(name)
        number = 1
        while True:
            last = f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}"
            if remote.is_url(self._folder):
                found = remote.joined(self._folder, last)
            else:
                found = os.path.join(self._folder, last)  # noqa: PTH118
            if self._take(found):
                return found
            number += 1

    def _take(self, place: str) -> bool:
        key = place if remote.is_url(place) else os.path.normcase(os.path.abspath(place))  # noqa: PTH100
        if key in self._taken:
            return False
        self._taken.add(key)
        return True


def dump_name(name: str) -> tuple[str, str]:
    """Name and suffix of the dump of a source."""
    if remote.is_url(name):
        name = re.split("[?#]", name)[0].rstrip("/")
    stem = PurePath(name).name or "dump"
    for suffix in _PACKED:
        if stem.lower().endswith(suffix) and len(stem) > len(suffix):
            stem = stem[: -len(suffix)]
    for suffix in _DUMPS:
        if stem.lower().endswith(suffix) and len(stem) > len(suffix):
            return stem[: -len(suffix)], stem[-len(suffix) :]
    return stem, ".dmp"


def _results(
    items: Iterator[_Item],
    workers: _executors.Workers,
    options: dict[str, Any],
    on_cancel: Callable[[], object] | None,
    stop_at_error: bool,
) -> Iterator[FilteredFile]:
    """Run the work, and give the results; whatever ends this, nothing of ours runs on."""

    def passed(result: FilteredFile) -> FilteredFile:
        if stop_at_error and result.error is not None:
            result.error.add_note(f"source: {result.source!r}")
            raise result.error
        return result

    running: dict[Future[DumpReport], _Item] = {}
    again: deque[_Item] = deque()  # were in work when a worker died
    number = 0
    with closing(workers):
        while True:
            # What may have killed a worker runs alone, so that it kills nothing else.
            alone = bool(again) or any(item.again for item in running.values())
            room = workers.room - len(running) if not alone else 0 if running else 1
            while room > 0 and not (workers.broken and running):
                item = again.popleft() if again else next(items, None)
                if item is None:
                    break
                if item.error is not None:
                    yield passed(item.result(None, item.error))
                    continue
                number += 1  # Dask takes the same arguments for the same work
                future = workers.submit(number, item.source, item.destination, options)
                running[future] = item
                room -= 1
            if not running:
                return
            for future in _executors.wait(workers, running, on_cancel, _cancelled):
                item = running.pop(future)
                error = future.exception() if not future.cancelled() else CancelledError("the executor gave it up")
                if error is not None and workers.died(error) and not item.again:
                    item.again = True
                    again.append(item)
                    continue
                yield passed(item.result(None if error else future.result(), error))


def _cancelled() -> Cancelled:
    return Cancelled("on_cancel cancelled the batch", hresult=0x800704C7)
