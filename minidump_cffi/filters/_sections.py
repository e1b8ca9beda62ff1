"""The sections of a filter besides its rules: [dump], [threads], [modules], [memory], [streams], [redact]."""

from __future__ import annotations

from .._dump_types import dump_type, words_of
from .._record import Record
from ..enums import DumpType, ModuleWrite, Stream, ThreadWrite
from ..errors import FilterError
from . import _patterns, _values
from ._patterns import Pattern
from ._rules import ALL_MODULE, ALL_THREAD, ModuleRule, ThreadRule, module, thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypeVar

    from ._conditions import AddressRange, Glob

    Section = TypeVar("Section", bound=Record)
    Item = TypeVar("Item", ThreadRule, ModuleRule)


class Dump(Record):
    """The dump that the filter is made for.

    Parameters
    ----------
    type : DumpType, int, str or None
        The type of dumps with this filter for which none is given: flags, or words joined by ``+`` as for `write_dump`.
        None leaves it to `write_dump`.

    Attributes
    ----------
    type : DumpType or None
        The flags.

    Examples
    --------
    >>> Dump(type="heap")
    Dump(type='heap')
    """

    type: DumpType | None

    def __init__(self, *, type: DumpType | int | str | None = None) -> None:
        try:
            self._put("type", None if type is None else dump_type(type))
        except (TypeError, ValueError) as error:
            raise FilterError(f"dump.{error}") from None

    def __repr__(self) -> str:
        return f"Dump(type={None if self.type is None else words_of(self.type)!r})"


class Threads(Record):
    """What is written about threads.

    Parameters
    ----------
    rules : iterable of ThreadRule
        Made by `thread`; the last one that matches wins.
    default : ThreadWrite, str or iterable of str
        "include" (everything), "exclude", or `ThreadWrite` flags or names of them: for threads no rule names.
    exclude, include : iterable of int
        Thread ids to leave out, and to write all about; they come before `rules`.

    Attributes
    ----------
    rules : tuple of ThreadRule
        All of them, `exclude` and `include` too.
    default : ThreadWrite
        For all other threads.

    Examples
    --------
    >>> Threads(exclude=[4711], default=["thread", "stack"])
    Threads(rules=(ThreadRule(id=4711, write=<ThreadWrite: 0>),), default=<ThreadWrite.THREAD|STACK: 3>)
    """

    rules: tuple[ThreadRule, ...]
    default: ThreadWrite

    def __init__(
        self,
        rules: Iterable[ThreadRule] = (),
        *,
        default: ThreadWrite | str | Iterable[str] = "include",
        exclude: Iterable[int] = (),
        include: Iterable[int] = (),
    ) -> None:
        none, everything = ThreadWrite(0), ALL_THREAD
        left_out = [_at("threads.exclude", thread, tid, none) for tid in _list("threads.exclude", exclude)]
        kept = [_at("threads.include", thread, tid, everything) for tid in _list("threads.include", include)]
        self._put("rules", (*left_out, *kept, *_all("threads.rules", rules, ThreadRule)))
        self._put("default", _default("threads.default", default, everything))


class Modules(Record):
    """What is written about modules; their memory is the rules' business.

    Parameters
    ----------
    rules : iterable of ModuleRule
        Made by `module`; the last one that matches wins.
    default : ModuleWrite, str or iterable of str
        "include" (everything), "exclude", or `ModuleWrite` flags or names of them: for modules no rule names.
    exclude, include : iterable of Glob
        Globs of modules to leave out, and to write all about; they come before `rules`.

    Attributes
    ----------
    rules : tuple of ModuleRule
        All of them, `exclude` and `include` too.
    default : ModuleWrite
        For all other modules.

    Examples
    --------
    >>> Modules(exclude=["*/libbig*"]).rules
    (ModuleRule(path=b'*/libbig*', write=<ModuleWrite: 0>),)
    """

    rules: tuple[ModuleRule, ...]
    default: ModuleWrite

    def __init__(
        self,
        rules: Iterable[ModuleRule] = (),
        *,
        default: ModuleWrite | str | Iterable[str] = "include",
        exclude: Iterable[Glob] = (),
        include: Iterable[Glob] = (),
    ) -> None:
        none, everything = ModuleWrite(0), ALL_MODULE
        left_out = [_at("modules.exclude", module, path, none) for path in _list("modules.exclude", exclude)]
        kept = [_at("modules.include", module, path, everything) for path in _list("modules.include", include)]
        self._put("rules", (*left_out, *kept, *_all("modules.rules", rules, ModuleRule)))
        self._put("default", _default("modules.default", default, everything))


class Memory(Record):
    """Memory in addition to what the dump type and the rules say.

    Parameters
    ----------
    add : iterable of AddressRange
        Address ranges to add to a dump without full memory, (first, end) pairs.
    remove : iterable of AddressRange
        Address ranges to leave out, in every dump type; like an `exclude` after all other rules.

    Attributes
    ----------
    add, remove : tuple of (int, int)
        Address ranges [first, end).

    Examples
    --------
    >>> Memory(add=[("0x1000", 0x3000)]).add
    ((4096, 12288),)
    """

    add: tuple[tuple[int, int], ...]
    remove: tuple[tuple[int, int], ...]

    def __init__(self, *, add: Iterable[AddressRange] = (), remove: Iterable[AddressRange] = ()) -> None:
        self._put("add", _ranges("memory.add", add))
        self._put("remove", _ranges("memory.remove", remove))


class Streams(Record):
    """Streams of the dump.

    Parameters
    ----------
    exclude : Stream, str or iterable of str
        `Stream` flags or names of streams to leave out ("environ", "cmdline", ...).

    Attributes
    ----------
    exclude : Stream
        The streams left out.

    Examples
    --------
    >>> Streams(exclude=["environ", "cmdline"]).exclude
    <Stream.CMDLINE|ENVIRON: 24>
    """

    exclude: Stream

    def __init__(self, *, exclude: Stream | str | Iterable[str] = ()) -> None:
        self._put("exclude", _values.flags(Stream, exclude, "streams.exclude"))


class Environ(Record):
    """Whose values of environment variables are overwritten.

    Parameters
    ----------
    keep : iterable of Glob
        Globs over names; if there are any, values of all other variables are overwritten.
    drop : iterable of Glob
        Globs over names of variables whose values always are.
    everywhere : bool
        Whether these values are overwritten wherever they are in the dump: on stacks and heaps, in texts, as they are
        and as UTF-16. False: in the environment only, as are values under 4 bytes always.

    Attributes
    ----------
    keep, drop : tuple of bytes
        The globs.
    everywhere : bool
        As given.

    Examples
    --------
    >>> Environ(drop=["*TOKEN*"], everywhere=True)
    Environ(keep=(), drop=(b'*TOKEN*',), everywhere=True)
    """

    keep: tuple[bytes, ...]
    drop: tuple[bytes, ...]
    everywhere: bool

    def __init__(self, *, keep: Iterable[Glob] = (), drop: Iterable[Glob] = (), everywhere: bool = False) -> None:
        if not isinstance(everywhere, bool):
            raise FilterError(f"redact.environ.everywhere: expected true or false, not {everywhere!r}")
        self._put("everywhere", everywhere)
        for name, globs in (("keep", keep), ("drop", drop)):
            what = f"redact.environ.{name}"
            self._put(name, tuple(_values.glob(glob, what) for glob in _list(what, globs)))
        if everywhere and not self.keep and not self.drop:
            raise FilterError('redact.environ.everywhere: of which variables? Give keep or drop; drop = ["*"] is all')


class Redact(Record):
    """What is overwritten in the dump instead of being left out of it.

    Parameters
    ----------
    ranges : iterable of AddressRange
        Address ranges, (first, end) pairs.
    patterns : iterable of bytes, str or Pattern
        Bytes (or text, as UTF-8) whose every occurrence is overwritten: up to 4,096 of 4 to 4,096 bytes each. A
        `Pattern` also says what belongs to it after them.
    keys : bool, str or iterable of str
        Forms of keys that are overwritten wherever they are: names of `KEYS`, or True for all of them.
    stacks : bool
        Sanitize stacks: words that are neither pointers into a module or a stack nor numbers up to 4,096 become
        0x0defaced0defaced.
    environ : Environ, mapping or None
        Values of environment variables: an `Environ`, or a dict of its parameters.
    fill : int
        What is written over what is hidden: a byte as a number from 0 to 255.

    Attributes
    ----------
    ranges : tuple of (int, int)
        Address ranges [first, end).
    patterns : tuple of bytes or Pattern
        The patterns; bytes where nothing follows. `repr` does not show them.
    keys : tuple of str
        Names of the forms of keys.
    stacks : bool
        Whether stacks are sanitized.
    environ : Environ
        Variables whose values stay, and those whose values do not.
    fill : int
        The byte.

    Notes
    -----
    What redaction covers, and what it cannot, is in docs/redaction.md.

    Examples
    --------
    >>> Redact(patterns=[b"hunter2"], keys=["jwt"]).keys
    ('jwt',)
    >>> Redact(patterns=[b"hunter2"])
    Redact(ranges=(), patterns=<1>, keys=(), stacks=False, environ=Environ(keep=(), drop=(), everywhere=False), fill=88)
    """

    ranges: tuple[tuple[int, int], ...]
    patterns: tuple[bytes | Pattern, ...]
    keys: tuple[str, ...]
    stacks: bool
    environ: Environ
    fill: int

    def __init__(
        self,
        *,
        ranges: Iterable[AddressRange] = (),
        patterns: Iterable[bytes | str | Pattern] = (),
        keys: bool | str | Iterable[str] = (),
        stacks: bool = False,
        environ: Environ | Mapping[str, Any] | None = None,
        fill: int = ord("X"),
    ) -> None:
        if isinstance(patterns, (str, bytes)):
            raise FilterError("redact.patterns: expected a list, not a string")
        if isinstance(patterns, Pattern):
            patterns = (patterns,)
        if not isinstance(stacks, bool):
            raise FilterError(f"redact.stacks: expected true or false, not {stacks!r}")
        hidden = tuple(_patterns.pattern(pattern, at) for at, pattern in enumerate(patterns))
        self._put("ranges", _ranges("redact.ranges", ranges))
        self._put("patterns", hidden)
        self._put("keys", _patterns.key_names(keys))
        self._put("stacks", stacks)
        self._put("environ", section("redact.environ", Environ, environ))
        self._put("fill", _values.byte(fill, "redact.fill"))

    def __bool__(self) -> bool:
        """Whether anything is overwritten."""
        return bool(self.ranges or self.patterns or self.keys or self.stacks or self.environ.keep or self.environ.drop)

    def all_patterns(self) -> list[Pattern]:
        """Return the patterns, those of keys too."""
        own = [Pattern(item) if isinstance(item, bytes) else item for item in self.patterns]
        return own + [pattern for name in self.keys for pattern in _patterns.of_keys(name)]

    def __repr__(self) -> str:
        shown = {name: repr(getattr(self, name)) for name in self._fields} | {"patterns": f"<{len(self.patterns)}>"}
        return f"Redact({', '.join(f'{name}={value}' for name, value in shown.items())})"


def section(what: str, kind: type[Section], value: Any) -> Section:
    """A section: itself, nothing, or a dict of its parameters."""
    if value is None:
        return kind()
    if isinstance(value, kind):
        return value
    if not hasattr(value, "keys"):
        raise FilterError(f"{what}: expected {kind.__name__} or a dict, not {type(value).__name__}")
    known = keys(kind)
    for key in value:
        if key not in known:
            raise FilterError(f"{what}: unknown key {key!r}{_values.did_you_mean(str(key), known)}")
    return kind(**value)


def keys(kind: type[Record]) -> tuple[str, ...]:
    """What a section takes."""
    code = kind.__init__.__code__
    return code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]


def _at(where: str, make: Any, *values: object) -> Any:
    """Calls `make`; its complaint gets the place in front."""
    try:
        return make(*values)
    except FilterError as error:
        error.message = f"{where}: {error.message}"
        raise


def _list(what: str, values: Any) -> Any:
    """Several values; one text would be taken for its letters."""
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise FilterError(f"{what}: expected a list, not {values!r}")
    return values


def _ranges(what: str, ranges: Any) -> tuple[tuple[int, int], ...]:
    return tuple(_values.address_range(pair, what) for pair in _list(what, ranges))


def _all(what: str, values: Any, kind: type[Item]) -> tuple[Item, ...]:
    items = tuple(_list(what, values))
    for number, item in enumerate(items):
        if not isinstance(item, kind):
            raise FilterError(f"{what}: item {number}: expected a {kind.__name__}, not {item!r}")
    return items


def _default(what: str, value: Any, everything: Any) -> Any:
    if isinstance(value, str) and value in ("include", "exclude"):
        return everything if value == "include" else type(everything)(0)
    return _values.flags(type(everything), value, what)
