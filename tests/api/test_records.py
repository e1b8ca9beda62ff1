"""The base of the classes that hold values, beside a dataclass that says the same."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
from typing import Any

import pytest

import minidump_cffi as md
from minidump_cffi._record import Record


class Pair(Record):
    """Two values, one with a default."""

    first: int
    second: str = "b"


class Named(Record, kw_only=False):
    """Values by position, a check, and a field that is not shown."""

    number: int
    _kept: object = None

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("below 0")
        self._put("number", int(self.number))


class More(Pair):
    """Fields of the base come first."""

    third: float = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Twin:
    """The same as a dataclass."""

    first: int
    second: str = "b"


def shown(value: object) -> str:
    return repr(value).partition("(")[2]


@pytest.mark.parametrize("given", [{"first": 1}, {"first": 1, "second": "c"}, {"second": "c", "first": 2}], ids=str)
def test_it_is_what_a_dataclass_is(given: dict[str, Any]) -> None:
    ours, theirs = Pair(**given), Twin(**given)
    assert shown(ours) == shown(theirs)
    assert dataclasses.is_dataclass(ours)
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)  # type: ignore[call-overload]
    assert [(field.name, field.default) for field in dataclasses.fields(ours)] == [
        (field.name, field.default) for field in dataclasses.fields(theirs)
    ]
    assert shown(dataclasses.replace(ours, first=9)) == shown(dataclasses.replace(theirs, first=9))  # type: ignore[type-var]
    assert ours == Pair(**given) and hash(ours) == hash(Pair(**given)) and ours != Pair(first=-1)
    assert pickle.loads(pickle.dumps(ours)) == ours


@pytest.mark.parametrize("given", [{}, {"first": 1, "third": 2}, {"frist": 1}], ids=str)
def test_wrong_values_are_refused(given: dict[str, Any]) -> None:
    for kind in (Pair, Twin):
        with pytest.raises(TypeError, match=r"first|third|frist"):
            kind(**given)


def test_values_by_position_only_where_they_are_declared() -> None:
    assert Named(3) == Named(number=3)
    for call in (lambda: Pair(1), lambda: Named(1, 2), lambda: Named(1, number=1)):  # type: ignore[misc]
        with pytest.raises(TypeError, match=r"position|two values"):
            call()  # type: ignore[no-untyped-call]


def test_it_cannot_be_changed() -> None:
    pair = Pair(first=1)
    for change in (lambda: setattr(pair, "first", 2), lambda: delattr(pair, "first"), lambda: setattr(pair, "x", 1)):
        with pytest.raises(AttributeError, match="immutable"):
            change()
    assert pair.first == 1 and not hasattr(pair, "__dict__")


def test_others_are_not_equal() -> None:
    assert Pair(first=1) != More(first=1) and Pair(first=1) != Twin(first=1)
    assert shown(More(first=1)) == "first=1, second='b', third=0.5)"


def test_values_are_checked_and_kept_as_they_were_made() -> None:
    with pytest.raises(ValueError, match="below 0"):
        Named(-1)
    assert repr(Named(True)) == "Named(number=1)"
    one, other = Named(number=1, _kept="x"), Named(1)
    assert one == other and hash(one) == hash(other) and pickle.loads(pickle.dumps(one))._kept == "x"
    match one:
        case Named(number):
            assert number == 1


def test_signatures_name_the_fields() -> None:
    """As `help` and editors show them."""
    shown = inspect.signature(md.EngineOptions).parameters
    assert list(shown) == [name for name in md.EngineOptions._fields if not name.startswith("_")]
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in shown.values())
    assert shown["hold"].default == 0
    by_position = inspect.signature(md.CoreFile).parameters
    assert by_position["file"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert list(inspect.signature(md.Redact).parameters)[:2] == ["ranges", "patterns"]
    assert inspect.signature(md.Redact).parameters["patterns"].default == ()
