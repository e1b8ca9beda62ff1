"""Frozen dataclasses that cost next to nothing to import.

`dataclasses` imports `inspect` and compiles source for each class, which was a third of a dump from the command line. A
`Record` is declared like a frozen, keyword-only dataclass. Type checkers see one (PEP 681), and so do
`dataclasses.fields`, `replace` and `asdict`; all records share the methods below.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, TypeVar, dataclass_transform

    AnyRecord = TypeVar("AnyRecord", bound="Record")
else:

    def dataclass_transform(**_: object):
        """Say something to type checkers only."""
        return lambda made: made


_set = object.__setattr__


class _Fields:
    """`__dataclass_fields__`, made when something asks for it."""

    def __get__(self, record: object, owner: type[Record]) -> dict[str, Any]:
        from dataclasses import field, make_dataclass

        fields = []
        for name in owner._fields:
            about = field(repr=False, compare=False) if name.startswith("_") else field()
            if name in owner._defaults:
                about = field(default=owner._defaults[name], repr=about.repr, compare=about.compare)
            fields.append((name, owner.__annotations__.get(name, object), about))
        made: Any = make_dataclass(owner.__name__, fields, kw_only=True)
        found: dict[str, Any] = made.__dataclass_fields__
        return found


@dataclass_transform(frozen_default=True, kw_only_default=True, eq_default=True)
class _RecordType(type):
    """Makes slots of the annotations of a class, and takes defaults out of their way."""

    def __new__(
        meta, name: str, bases: tuple[type, ...], namespace: dict[str, Any], *, kw_only: bool = True
    ) -> _RecordType:
        names = tuple(name for name in namespace.get("__annotations__", ()) if name != "_")
        defaults = {name: namespace.pop(name) for name in names if name in namespace}
        annotated = tuple(namespace.get("__annotations__", ()))
        by_position = () if kw_only else annotated[: annotated.index("_")] if "_" in annotated else names
        namespace["__slots__"] = names
        for base in bases:
            names, defaults = (*getattr(base, "_fields", ()), *names), {**getattr(base, "_defaults", {}), **defaults}
            by_position = (*getattr(base, "__match_args__", ()), *by_position)
        shown = tuple(name for name in names if not name.startswith("_"))
        namespace.update(_fields=names, _shown=shown, _names=frozenset(names), _defaults=defaults)
        namespace["__match_args__"] = tuple(name for name in by_position if not name.startswith("_"))
        made: Any = super().__new__(meta, name, bases, namespace)
        made._setters = tuple((name, getattr(made, name).__set__) for name in names)
        return made  # type: ignore[no-any-return]

    @property
    def __signature__(cls) -> Any:
        """For `inspect.signature`, `help` and editors."""
        from inspect import Parameter, signature

        _self, *own = signature(cls.__init__).parameters.values()  # type: ignore[misc]
        made: Any = signature(lambda: None)
        if own[0].kind is not Parameter.VAR_POSITIONAL or own[0].name != "values":
            return made.replace(parameters=own)  # it takes other values than its fields
        record: Any = cls
        kinds: dict[str, Any] = {}
        for kind in reversed(record.__mro__):
            kinds |= vars(kind).get("__annotations__", {})
        by_position = record.__match_args__
        return made.replace(
            parameters=[
                Parameter(
                    name,
                    Parameter.POSITIONAL_OR_KEYWORD if name in by_position else Parameter.KEYWORD_ONLY,
                    default=record._defaults.get(name, Parameter.empty),
                    annotation=kinds.get(name, Parameter.empty),
                )
                for name in [*by_position, *(name for name in record._shown if name not in by_position)]
            ]
        )


class Record(metaclass=_RecordType):
    """Base of the classes that hold values: immutable, compared by value, hashable, picklable.

    With ``kw_only=False`` values may be given by position, up to a field ``_: KW_ONLY`` if there is one.

    A class may check its values in `__post_init__`, and replace them there with `_put`. Fields whose names begin
    with an underscore are neither shown nor compared. Fields that a class names in `_addresses` are shown in hex.
    """

    if TYPE_CHECKING:
        _fields: ClassVar[tuple[str, ...]]
        _shown: ClassVar[tuple[str, ...]]
        _names: ClassVar[frozenset[str]]
        _defaults: ClassVar[dict[str, Any]]
        _addresses: ClassVar[frozenset[str]]
        _setters: ClassVar[tuple[tuple[str, Any], ...]]
    else:
        _addresses = frozenset()
        __dataclass_fields__ = _Fields()

        def __init__(self, *values, **given):
            cls = self.__class__
            if values:
                given = _by_name(cls, values, given)
            setters = cls._setters
            if len(given) != len(setters):
                given = {**cls._defaults, **given}
                if len(given) != len(setters):
                    raise TypeError(_wrong(cls, given))
            try:
                for name, put in setters:
                    put(self, given[name])
            except KeyError:
                raise TypeError(_wrong(cls, given)) from None
            self.__post_init__()

        def __setattr__(self, name, value):
            raise AttributeError(f"a {self.__class__.__name__} is immutable; {name!r} cannot be set")

        def __delattr__(self, name):
            raise AttributeError(f"a {self.__class__.__name__} is immutable; {name!r} cannot be deleted")

    def __post_init__(self) -> None:
        """Check the values."""

    def _put(self, name: str, value: object) -> None:
        """For `__post_init__`: a value in its final form."""
        _set(self, name, value)

    def _key(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self._shown])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record) or other.__class__ is not self.__class__:
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={self._text(name)}" for name in self._shown)
        return f"{self.__class__.__qualname__}({values})"

    def _text(self, name: str) -> str:
        value = getattr(self, name)
        return f"{value:#x}" if name in self._addresses and isinstance(value, int) else repr(value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.__class__, tuple([getattr(self, name) for name in self._fields]))


def replace(record: AnyRecord, /, **changes: object) -> AnyRecord:
    """The same record with other values; they are checked."""
    return record.__class__(**{name: getattr(record, name) for name in record._fields} | changes)


def in_order(cls: type[AnyRecord], values: tuple[Any, ...]) -> AnyRecord:
    """A record of all its values, in the order of its fields; they are checked."""
    made = cls.__new__(cls)
    for (_, put), value in zip(cls._setters, values, strict=True):
        put(made, value)
    made.__post_init__()
    return made


def _restore(cls: type[Record], values: tuple[Any, ...]) -> Record:
    made = cls.__new__(cls)
    for name, value in zip(cls._fields, values, strict=True):
        _set(made, name, value)
    return made


def _by_name(cls: Any, values: tuple[Any, ...], given: dict[str, Any]) -> dict[str, Any]:
    """Values that were given by position, under their names."""
    if len(values) > len(cls.__match_args__):
        raise TypeError(f"{cls.__name__} takes at most {len(cls.__match_args__)} values by position")
    named = dict(zip(cls.__match_args__, values, strict=False))
    if named.keys() & given.keys():
        raise TypeError(f"{cls.__name__} was given two values for {', '.join(sorted(named.keys() & given.keys()))}")
    return named | given


def _wrong(cls: type[Record], given: dict[str, Any]) -> str:
    unknown = [name for name in given if name not in cls._names]
    if unknown:
        return f"{cls.__name__} has no {', '.join(unknown)}"
    return f"{cls.__name__} needs {', '.join(name for name in cls._fields if name not in given)}"
