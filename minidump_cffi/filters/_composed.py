"""Filters made of others: what `base | more` and `Filter.replace` are, and what ``extends`` of a filter file does."""

from __future__ import annotations

from ..errors import FilterError
from . import _values
from ._sections import Dump, Environ, Memory, Modules, Redact, Streams, Threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from ._filter import Filter
    from ._patterns import Pattern

    Section = TypeVar("Section", Threads, Modules)
    Item = TypeVar("Item", bound=bytes | Pattern)

PLAIN = ("default", "read_failure", "ignore_case")
"""What of a filter is one value."""


def combined(base: Filter, more: Filter) -> Filter:
    """The rules of both, those of `more` after those of `base`; see `Filter.__or__`."""
    usual = type(base)()
    values: dict[str, Any] = {
        name: _later(getattr(base, name), getattr(more, name), getattr(usual, name)) for name in PLAIN
    }
    return type(base)(
        *base.rules,
        *more.rules,
        **values,
        secondary_flags=base.secondary_flags | more.secondary_flags,
        dump=Dump(type=_later(base.dump.type, more.dump.type, None)),
        threads=_both(base.threads, more.threads),
        modules=_both(base.modules, more.modules),
        memory=Memory(add=base.memory.add + more.memory.add, remove=base.memory.remove + more.memory.remove),
        streams=Streams(exclude=base.streams.exclude | more.streams.exclude),
        redact=_redacted(base.redact, more.redact),
    )


def _later(first: Any, later: Any, usual: Any) -> Any:
    return first if later == usual else later


def _both(base: Section, more: Section) -> Section:
    kind = type(base)
    return kind([*base.rules, *more.rules], default=_later(base.default, more.default, kind().default))


def _joined(base: tuple[Item, ...], more: tuple[Item, ...]) -> tuple[Item, ...]:
    """Both, what they share once."""
    known = set(base)
    return (*base, *(item for item in more if item not in known))


def _redacted(base: Redact, more: Redact) -> Redact:
    return Redact(
        ranges=base.ranges + more.ranges,
        patterns=_joined(base.patterns, more.patterns),
        keys=base.keys + more.keys,
        stacks=base.stacks or more.stacks,
        environ=Environ(
            keep=_joined(base.environ.keep, more.environ.keep),
            drop=_joined(base.environ.drop, more.environ.drop),
            everywhere=base.environ.everywhere or more.environ.everywhere,
        ),
        fill=_later(base.fill, more.fill, Redact().fill),
    )


def replaced(filter: Filter, known: tuple[str, ...], changes: dict[str, Any]) -> Filter:
    """The filter with other values; see `Filter.replace`."""
    for name in changes:
        if name not in known:
            raise TypeError(f"a Filter has no {name!r}{_values.did_you_mean(name, known)}")
    values = {name: getattr(filter, name) for name in known} | changes
    rules = values.pop("rules")
    if isinstance(rules, (str, bytes)) or not hasattr(rules, "__iter__"):
        raise FilterError(f"rules: expected rules, not {rules!r}")
    return type(filter)(*rules, **values)
