"""Many dumps: `filter_many` of files, `write_dump_many` of processes, on threads, processes or machines."""

from __future__ import annotations

import os
import re
from collections import deque
from concurrent.futures import CancelledError
from contextlib import closing
from pathlib import PurePath
from typing import Generic, TypeVar

from . import _executors, _naming, targets
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

    from ._aliases import Process
    from .enums import DumpType
    from .files import CoreFile, DumpFile
    from .filters import Filter
    from .report import DumpReport

    Source: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes] | CoreFile | DumpFile | AnyFile
    Place: TypeAlias = str | os.PathLike[str]

__all__ = ["DumpedProcess", "FilteredFile", "filter_many", "write_dump_many"]

_Result = TypeVar("_Result", bound=Record)
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


class DumpedProcess(Record):
    """What became of one process of `write_dump_many`.

    Attributes
    ----------
    process : object
        As it was given.
    destination : str, os.PathLike or None
        Where its dump is, or would have been; None if that could not be found out.
    report : DumpReport or None
        Of the dump; None if there is none.
    error : Exception or None
        Why there is none.

    Examples
    --------
    >>> DumpedProcess(process=4711, destination="out/app-4711.dmp", error=ValueError("no")).report is None
    True
    """

    process: Any
    destination: str | os.PathLike[str] | None = None
    report: DumpReport | None = None
    error: Exception | None = None


def write_dump_many(
    processes: Iterable[Process],
    destination: Place | Callable[[Any], Place],
    *,
    filter: Filter | None = None,
    type: DumpType | int | str | None = None,
    executor: Executor | None = None,
    jobs: int | None = None,
    on_error: Literal["continue", "raise"] = "continue",
    **options: Any,
) -> Iterator[DumpedProcess]:
    """Write a dump of each process, several at a time; what `filter_many` is for files.

    Parameters
    ----------
    processes : iterable of Process
        As of `write_dump`. For an executor of other processes: pids, and what can be sent to them.
    destination : str, os.PathLike or callable
        A folder, which is made if it is not there, or its URL: a dump is named after its process, ``NAME-PID.dmp``.
        With braces the path or URL of the dump itself, a template: ``dumps/{host}-{name}-{pid}-{time}.dmp.zst``
        (`time` is UTC, and sorts; ``{{`` is a brace).
        Where another one of this batch has that name, a number is added; a file from before is replaced. Or a function
        that gets the process as it was given, and returns the path or URL of its dump.
    filter : Filter or None
        As of `write_dump`.
    type : DumpType, int, str or None
        As of `write_dump`.
    executor : concurrent.futures.Executor or None
        What runs the work; see `filter_many`. None: threads.
    jobs : int or None
        How many processes are dumped at a time; see `filter_many`.
    on_error : {"continue", "raise"}
        What happens when a process cannot be dumped: its result has the exception; or that is raised, and what is in
        work is given up.
    **options : object
        Other options of `write_dump`, for each process: `deadline`, `annotations`, ... `on_cancel` ends the whole;
        there is neither `callback` nor `progress`.

    Yields
    ------
    DumpedProcess
        In the order in which they are complete.

    Raises
    ------
    Cancelled
        `on_cancel` returned true.
    TypeError, ValueError
        An argument is wrong.

    Examples
    --------
    >>> import sys, tempfile
    >>> from subprocess import PIPE, Popen
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=PIPE, stdout=PIPE) as child:
    ...         _ = child.stdout.readline()
    ...         for done in write_dump_many([child], folder):
    ...             print(done.process is child, done.report.complete)
    ...         child.kill()
    True True
    """
    processes = several(processes)
    options = checked(options, type=type, filter=filter, on_error=on_error, jobs=jobs)
    on_cancel = options.pop("on_cancel")
    names = Names(destination, process_names, PROCESS_FIELDS)
    items = (process_item(process, names) for process in processes)
    kinds = _executors.workers(executor, jobs, "write_dump_many")
    return _results(items, kinds, options, on_cancel, on_error == "raise")


def several(processes: Any) -> Any:
    """The processes, unless it is only one."""
    if isinstance(processes, int) or hasattr(processes, "pid"):
        raise TypeError(f"processes must be several processes: a list of them, a generator, not {processes!r}")
    return processes


def checked(
    options: dict[str, Any], *, type: Any, filter: Filter | None, on_error: object, jobs: object
) -> dict[str, Any]:
    """Options of each dump, with `on_cancel`; refused before there is any work."""
    if on_error not in ("continue", "raise"):
        raise ValueError(f"on_error must be one of continue, raise, not {on_error!r}")
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise ValueError(f"jobs must be a number above 0, not {jobs!r}")
    for name in _NOT_FOR_MANY:
        if options.get(name) is not None:
            raise TypeError(f"{name} is for one dump, and not for many: use write_dump")
    options = {"type": type, "filter": filter, "on_cancel": None, **options}
    DumpOptions(**options)
    if filter is not None:
        if not hasattr(filter, "compile"):
            raise TypeError(f"filter must be a Filter, not {filter!r}")
        filter.compile()  # its warnings belong here
    return options


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
        place of the suffix of a compressed one and after that of a core. With braces the path or URL of the dump
        itself, a template: ``filtered/{name}.dmp.zst``, also with `host` and `time`. Where another file of this batch
        has that name, a number is added; a file from before is replaced. Or a function that gets the source as it was
        given, and returns the path or URL of its dump.
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
    if isinstance(sources, (str, bytes, os.PathLike, *FILES)):
        raise TypeError(f"sources must be several files: a list of them, a generator, not {sources!r}")
    options = checked(options, type=type, filter=filter, on_error=on_error, jobs=jobs)
    on_cancel = options.pop("on_cancel")
    about: dict[str, Any] = {"root": root, "executable": executable, "text": text, "max_input": max_input}
    AnyFile("", **about)
    names = Names(destination, file_names, FILE_FIELDS)
    items = (_item(source, names, about) for source in sources)
    kinds = _executors.workers(executor, jobs, "filter_many")
    return _results(items, kinds, options, on_cancel, on_error == "raise")


class Item(Generic[_Result]):
    """A dump in work: what was given, and what becomes of it."""

    __slots__ = ("again", "destination", "error", "given", "make", "source")

    def __init__(self, given: Any, make: Callable[..., _Result]) -> None:
        self.given: Any = given
        self.make: Callable[..., _Result] = make
        self.source: Any = None
        self.destination: Place | None = None
        self.error: Exception | None = None
        self.again: bool = False  # it was in work when a worker died, and runs alone now

    def result(self, report: DumpReport | None, error: BaseException | None) -> _Result:
        if error is not None and not isinstance(error, Exception):
            raise error
        return self.make(self.given, destination=self.destination, report=report, error=error)


def _filtered(given: Any, **outcome: Any) -> FilteredFile:
    return FilteredFile(source=given, **outcome)


def _dumped(given: Any, **outcome: Any) -> DumpedProcess:
    return DumpedProcess(process=given, **outcome)


def _item(given: Any, names: Names, about: dict[str, Any]) -> Item[FilteredFile]:
    item = Item(given, _filtered)
    try:
        if isinstance(given, FILES):
            item.source = given
        elif isinstance(given, (str, bytes, os.PathLike)):
            item.source = AnyFile(given, **about)
        else:
            raise TypeError(f"a source is a path, a URL, a CoreFile, DumpFile or AnyFile, not {given!r}")
        item.destination = names.of(given, item.source)
    except Exception as error:
        item.error = error
    return item


def process_item(given: Any, names: Names) -> Item[DumpedProcess]:
    item = Item(given, _dumped)
    try:
        target = targets.resolve(given)
        item.source = given
        item.destination = names.of(given, target)
    except Exception as error:
        item.error = error
    return item


def process_names(target: Any) -> tuple[str, dict[str, object]]:
    """The name of a dump in a folder as a template, and the values of its fields."""
    return "{name}-{pid}.dmp", targets.name_values(target)


def file_names(source: Any) -> tuple[str, dict[str, object]]:
    """The same for a file."""
    stem, suffix = dump_name(source.name)
    return f"{{name}}{suffix}", {"name": stem, "time": _naming.timestamp(), "host": _naming.plain(_naming.host())}


PROCESS_FIELDS: dict[str, object] = {"name": "app", "pid": 1, "time": "now", "host": "host"}
FILE_FIELDS: dict[str, object] = {"name": "app", "time": "now", "host": "host"}
"""What a template may hold, with values to try it."""


class Names:
    """Where the dumps go: no two to the same place."""

    def __init__(
        self, destination: Any, naming: Callable[[Any], tuple[str, dict[str, object]]], fields: dict[str, object]
    ) -> None:
        self._folder: Any = None
        self._template: Any = None
        self._choose: Any = None
        self._naming = naming
        if isinstance(destination, (str, os.PathLike)):
            place = os.fspath(destination)
            if not isinstance(place, str) or not place:
                raise TypeError(f"destination must be a folder as a text or path, not {destination!r}")
            if _naming.is_template(place):
                _naming.expand(place, fields)
                self._template = place
            else:
                self._folder = place
        elif callable(destination):
            self._choose = destination
        else:
            raise TypeError(f"destination must be a folder, or a function that returns a path, not {destination!r}")
        self._taken: set[str] = set()

    def of(self, given: Any, about: Any) -> Place:
        if self._choose is not None:
            place: Any = self._choose(given)
            if not isinstance(place, (str, os.PathLike)):
                raise TypeError(f"destination() must return a path or a URL, not {place!r}")
            if not self._take(os.fsdecode(place)):
                raise SinkError(f"{os.fsdecode(place)} is the destination of another file of this batch, too")
            return place
        template, values = self._naming(about)
        found: str = _naming.expand(self._template or template, values)
        if self._folder is not None:
            at_url = remote.is_url(self._folder)
            found = remote.joined(self._folder, found) if at_url else os.path.join(self._folder, found)  # noqa: PTH118
        number, last = 1, found
        while not self._take(last):
            number += 1
            last = _numbered(found, number)
        return last

    def _take(self, place: str) -> bool:
        key = place if remote.is_url(place) else os.path.normcase(os.path.abspath(place))  # noqa: PTH100
        if key in self._taken:
            return False
        self._taken.add(key)
        return True


def _numbered(place: str, number: int) -> str:
    """The place with a number before the suffixes of dumps."""
    suffix = ""
    for known in (*_PACKED, *_DUMPS):
        if place.lower().endswith(known):
            place, suffix = place[: -len(known)], place[-len(known) :] + suffix
    return f"{place}-{number}{suffix}"


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
    items: Iterator[Item[_Result]],
    workers: _executors.Workers,
    options: dict[str, Any],
    on_cancel: Callable[[], object] | None,
    stop_at_error: bool,
) -> Iterator[_Result]:
    """Run the work, and give the results; whatever ends this, nothing of ours runs on."""
    running: dict[Future[DumpReport], Item[_Result]] = {}
    again: deque[Item[_Result]] = deque()  # were in work when a worker died
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
                    yield passed(item, None, item.error, stop=stop_at_error)
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
                yield passed(item, None if error else future.result(), error, stop=stop_at_error)


def passed(item: Item[_Result], report: DumpReport | None, error: BaseException | None, *, stop: bool) -> _Result:
    """The result of an item; its error is raised if that is to end the work."""
    result = item.result(report, error)
    if stop and error is not None:
        error.add_note(f"{result._fields[0]}: {item.given!r}")
        raise error
    return result


def _cancelled() -> Cancelled:
    return Cancelled("on_cancel cancelled the batch", hresult=0x800704C7)
