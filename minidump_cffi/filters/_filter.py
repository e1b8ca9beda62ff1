"""Filters: what goes into a dump, as data.

A `Filter` is an ordered list of rules about memory, plus rules for threads, modules and streams. For every byte of the
target the **last** rule that matches decides; the default decides where none does. It is immutable, can be compared,
hashed and pickled, goes to TOML and back, and is compiled to a C table once, when it is first used.
"""

from __future__ import annotations

import bisect
import os
import sys
import warnings

from ..enums import SecondaryFlags
from ..errors import FilterError, FilterWarning
from . import _values
from ._files import read_trusted
from ._rules import RangeRules, Rule, pack
from ._sections import Dump, Memory, Modules, Redact, Streams, Threads, section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Literal, TypeAlias

    from .._native.filter import NativeFilter
    from ._conditions import Ranges
    from ._rules import ModuleRule, ThreadRule, Verdict

    ReadFailure: TypeAlias = Literal["skip", "abort"]

_SECTIONS: dict[str, Any] = {
    "dump": Dump,
    "threads": Threads,
    "modules": Modules,
    "memory": Memory,
    "streams": Streams,
    "redact": Redact,
}
_STATE = ("rules", "default", "read_failure", "ignore_case", "secondary_flags", *_SECTIONS)


class Filter:
    """What goes into a dump.

    Parameters
    ----------
    *rules : Rule or RangeRules
        Made by `include`, `exclude`, `head`, `include_ranges`, `exclude_ranges`. The last one that matches wins.
    default : Verdict
        "include" or "exclude": for memory no rule matches.
    read_failure : ReadFailure
        "skip": memory that cannot be read is left out and reported as a gap. "abort": the dump fails (`ReadError`).
    threads, modules : Threads, iterable of ThreadRule or mapping; Modules, iterable of ModuleRule or mapping
        What is written about them: rules made by `thread` and `module`, of which the last one that matches wins, or a
        `filters.Threads` and a `filters.Modules`.
    memory : Memory, mapping or None
        Address ranges to add and to remove: a `filters.Memory`.
    streams : Streams, mapping or None
        Streams to leave out: a `filters.Streams`.
    redact : Redact, mapping or None
        What is overwritten in the dump: a `Redact`.
    dump : Dump, mapping or None
        The type of dump it is made for: a `filters.Dump`.
    ignore_case : bool or None
        Globs ignore ASCII case and read a backslash as ``/``. None: as on the current system.
    secondary_flags : SecondaryFlags, str or iterable of str
        MINIDUMP_SECONDARY_FLAGS to set.

    Raises
    ------
    FilterError
        A value is wrong.

    Notes
    -----
    Parameters and sections have the names that they have in a filter file. A section may also be given as a dict of its
    parameters: ``streams={"exclude": ["environ"]}``.

    A rule's number, as errors and reports give it, counts from 0; each range of `include_ranges` counts.

    Examples
    --------
    >>> from minidump_cffi import exclude, include
    >>> keep = Filter(
    ...     exclude(type="mapped", min_size="64 MiB"),
    ...     include(module="*/libapp*.so*", label="our code"),
    ...     streams={"exclude": ["environ"]},
    ... )
    >>> keep.rules[1].label
    'our code'
    >>> Filter.from_toml(keep.to_toml()) == keep
    True
    """

    __slots__ = ("__weakref__", "_native", *_STATE)

    rules: tuple[Rule | RangeRules, ...]
    default: Verdict
    read_failure: ReadFailure
    ignore_case: bool
    secondary_flags: SecondaryFlags
    dump: Dump
    threads: Threads
    modules: Modules
    memory: Memory
    streams: Streams
    redact: Redact
    _native: NativeFilter | None

    def __init__(
        self,
        *rules: Rule | RangeRules,
        default: Verdict = "include",
        read_failure: ReadFailure = "skip",
        threads: Threads | Iterable[ThreadRule] | Mapping[str, Any] = (),
        modules: Modules | Iterable[ModuleRule] | Mapping[str, Any] = (),
        memory: Memory | Mapping[str, Any] | None = None,
        streams: Streams | Mapping[str, Any] | None = None,
        redact: Redact | Mapping[str, Any] | None = None,
        dump: Dump | Mapping[str, Any] | None = None,
        ignore_case: bool | None = None,
        secondary_flags: SecondaryFlags | str | Iterable[str] = SecondaryFlags.NONE,
    ) -> None:
        for number, rule in enumerate(rules):
            if not isinstance(rule, (Rule, RangeRules)):
                raise FilterError(f"rule {number}: expected one made by include(), exclude() or head(), not {rule!r}")
        _choice("default", default, ("include", "exclude"))
        _choice("read_failure", read_failure, ("skip", "abort"))
        sections = {"threads": threads, "modules": modules, "memory": memory, "streams": streams, "redact": redact}
        for name in ("threads", "modules"):
            given: Any = sections[name]
            if not isinstance(given, _SECTIONS[name]) and not hasattr(given, "keys"):
                sections[name] = {"rules": given}
        self._fill(
            {
                "rules": rules,
                "default": default,
                "read_failure": read_failure,
                "ignore_case": os.name == "nt" if ignore_case is None else bool(ignore_case),
                "secondary_flags": _values.flags(SecondaryFlags, secondary_flags, "secondary_flags"),
                **{name: section(name, kind, sections[name]) for name, kind in _SECTIONS.items() if name in sections},
                "dump": section("dump", Dump, dump),
            }
        )

    def _fill(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_native", None)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Filter is immutable; make a new one instead of setting {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Filter is immutable; {name!r} cannot be deleted")

    def _key(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in _STATE)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Filter) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (dict(zip(_STATE, self._key(), strict=True)),)

    def __len__(self) -> int:
        """Return the number of rules about memory."""
        return sum(1 if isinstance(rule, Rule) else len(rule) for rule in self.rules)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        more = [
            f"{name}={getattr(self, name)!r}" for name in _STATE[1:] if getattr(self, name) != getattr(EVERYTHING, name)
        ]
        return f"Filter({', '.join([*map(repr, self.rules), *more])})"

    def __or__(self, more: Filter) -> Filter:
        """Combine two filters: `base | more` has the rules of `base`, and then those of `more`, which decide later.

        Lists of both are joined (streams, memory, threads, modules, redaction; `secondary_flags` too). Of what is one
        value (`default`, `read_failure`, `ignore_case`, `dump.type`, the default of threads and modules, `redact.fill`)
        that of `more` counts, unless it is what a `Filter` without arguments has; `replace` sets it whatever it is.

        Examples
        --------
        >>> from minidump_cffi import exclude, include
        >>> base = Filter(exclude(kind="file"), streams={"exclude": ["environ"]})
        >>> mine = base | Filter(include(name="/srv/*"), streams={"exclude": ["cmdline"]})
        >>> len(mine), mine.streams.exclude
        (2, <Stream.CMDLINE|ENVIRON: 24>)
        """
        if not isinstance(more, Filter):
            return NotImplemented
        from . import _composed

        return _composed.combined(self, more)

    def replace(self, **changes: Any) -> Filter:
        """Make the same filter with other values.

        Parameters
        ----------
        **changes : object
            Parameters of `Filter` by their names; `rules` is an iterable of rules.

        Raises
        ------
        FilterError
            A value is wrong.
        TypeError
            There is no such parameter.

        Examples
        --------
        >>> from minidump_cffi import include
        >>> Filter(include(kind="heap")).replace(default="exclude").default
        'exclude'
        """
        from . import _composed

        return _composed.replaced(self, _STATE, changes)

    @classmethod
    def preset(cls, name: str) -> Filter:
        """Return a filter that is ready made.

        Parameters
        ----------
        name : str
            One of `PRESETS`. "no-environment": the environment is overwritten, in its stream and in memory.
            "no-secrets": environment and command line are overwritten in their streams and in memory; values of
            variables are overwritten wherever they are, but those of variables whose names say that they are paths,
            locales or settings; and so are keys of known forms (`KEYS`).

        Raises
        ------
        FilterError
            There is no such preset.

        Notes
        -----
        What stays in the dump is in docs/redaction.md.

        Examples
        --------
        >>> from minidump_cffi import exclude
        >>> keep = Filter.preset("no-secrets") | Filter(exclude(name="/dev/shm/*"))
        >>> keep.streams.exclude
        <Stream.CMDLINE|ENVIRON: 24>
        """
        from . import _presets

        return _presets.preset(name, cls)

    @classmethod
    def from_ranges(
        cls, ranges: Ranges, *, action: Verdict = "exclude", label: str | None = None, **others: Any
    ) -> Filter:
        """Make a filter of address ranges that share one action: the fast way for very many.

        Parameters
        ----------
        ranges : Ranges
            As for `include_ranges`.
        action : Verdict
            "include" (then `default` is "exclude", unless given) or "exclude".
        label : str or None
            Name of all of them in reports.
        **others : object
            Keyword arguments of `Filter`.

        Examples
        --------
        >>> len(Filter.from_ranges([(0x1000, 0x2000), (0x4000, 0x6000)]))
        2
        """
        others.setdefault("default", "exclude" if action == "include" else "include")
        return cls(RangeRules(action, pack(ranges), label), **others)

    @classmethod
    def from_toml(cls, text: str | bytes, *, source: str | None = None) -> Filter:
        """Make a filter from the text of a filter file, and compile it.

        Parameters
        ----------
        text : str or bytes
            TOML, as in the documentation of filter files; bytes must be UTF-8.
        source : str or None
            Name of the file, for messages, and for what ``extends`` is relative to.

        Raises
        ------
        FilterError
            Not TOML (file and line), an unknown key (with the nearest known one), or a wrong value (the number of the
            rule, from 0, and its label).
        """
        from . import _toml

        return _toml.read(text, source, cls)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Filter:
        """Read a filter file; see `from_toml`.

        On POSIX the file must not be another user's to write: it decides which secrets are left out. It has to belong
        to us or to root, its group may write it if it is ours (for root: root's), and a symbolic link of another user
        in a directory that others can write is not followed.

        Raises
        ------
        FilterError
            As for `from_toml`; or another user can write the file.
        OSError
            The file cannot be read.
        """
        return cls.from_toml(read_trusted(os.fspath(path)), source=os.fspath(path))

    def to_toml(self) -> str:
        """Write the filter as the text of a filter file: `from_toml` makes an equal filter of it."""
        from . import _toml

        return _toml.write(self)

    def compile(self) -> Filter:
        """Compile to the C table now instead of at the first use; returns the filter itself.

        Raises
        ------
        FilterError
            A rule cannot be compiled: an empty range in a block of ranges, a malformed glob.

        Warns
        -----
        FilterWarning
            A rule can never decide anything, because later rules hide it completely.
        """
        self._compiled()
        return self

    def _compiled(self) -> NativeFilter:
        """The C table, made once per process; threads that come together wait for the first."""
        native = self._native
        if native is not None and native.alive():
            return native
        from .._native import filter as compiled

        with compiled.compile_lock():
            native = self._native
            if native is not None and native.alive():
                return native
            try:
                native = compiled.NativeFilter(self)
            except FilterError as error:
                raise self._located(error) from None
            object.__setattr__(self, "_native", native)
        self._warn(native.dead_rules())
        return native

    def _warn(self, dead: list[int]) -> None:
        """Warn about rules that can never decide anything: once for each, once for a whole block of ranges."""
        first, left = 0, sorted(dead)
        for rule in self.rules:
            count = 1 if isinstance(rule, Rule) else len(rule)
            split = bisect.bisect_left(left, first + count)
            hidden, left = left[:split], left[split:]
            if hidden:
                what = self.rule_name(hidden[0])
                if isinstance(rule, RangeRules):
                    what = f"{len(hidden)} of the {count} ranges from {self.rule_name(first)} on"
                text = f"{what} can never decide anything: later rules hide {'it' if len(hidden) == 1 else 'them'}"
                warnings.warn(text, FilterWarning, stacklevel=_caller())
            first += count

    def _located(self, error: FilterError) -> FilterError:
        """The same error, with the label of the rule that the C side knows by number only."""
        index = error.index
        # Numbers count per list: thread and module rules, ranges to add and to remove have their own.
        if index is not None and index < len(self) and error.message.startswith("rule "):
            error.label = self._rule_at(index).label
            if error.label is not None:
                error.message = f"{error.message} (label {error.label!r})"
        return error

    def _rule_at(self, number: int) -> Rule | RangeRules:
        for rule in self.rules:
            count = 1 if isinstance(rule, Rule) else len(rule)
            if number < count:
                return rule
            number -= count
        raise IndexError(number)

    def rule_name(self, number: int) -> str:
        """Return the name of the rule with this number, for messages: its number and its label."""
        label = self._rule_at(number).label
        return f"rule {number}" if label is None else f"rule {number} ({label})"

    @property
    def table_bytes(self) -> int:
        """Bytes of the compiled table."""
        return self._compiled().bytes()

    @property
    def table_intervals(self) -> int:
        """Elementary intervals of the compiled table."""
        return self._compiled().intervals()


def _caller() -> int:
    """The stacklevel of the code that called into this package, for warnings."""
    level, frame = 1, sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == __name__.partition(".")[0]:
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    return level


def _choice(what: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise FilterError(f"{what}: {value!r} is not known{_values.did_you_mean(str(value), known)}")


def _restore(state: dict[str, Any]) -> Filter:
    made = Filter.__new__(Filter)
    made._fill(state)
    return made


EVERYTHING = Filter()
"""The filter that keeps everything; never changes."""
