"""Shows examples of docstrings as code, and fields of records as parameters (extensions of griffe, see mkdocs.yml)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^( *)>>> .*(?:\n\1.*\S.*)*", re.MULTILINE)
_ROOT = "minidump_cffi._record.Record"


class Examples(griffe.Extension):
    """Fences examples."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Fences those of one object; a comment for doctest is not for readers."""
        if obj.docstring is not None:
            text = re.sub(r" *# doctest: .*", "", obj.docstring.value)
            obj.docstring.value = _EXAMPLE.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)


class Records(griffe.Extension):
    """Gives classes of values the parameters that they take: their fields."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """All of the package, when bases can be found."""
        for found in list(_classes(pkg)):
            kinds = [found, *found.mro()]
            if found.path != _ROOT and any(kind.path == _ROOT for kind in kinds):
                _give_parameters(found, [kind for kind in kinds if kind.path != _ROOT])


def _classes(module: griffe.Module) -> Iterator[griffe.Class]:
    for member in module.members.values():
        if isinstance(member, griffe.Class):
            yield member
        elif isinstance(member, griffe.Module):
            yield from _classes(member)


def _give_parameters(found: griffe.Class, kinds: list[griffe.Class]) -> None:
    if any("__init__" in kind.members for kind in kinds):
        return  # it takes other values than its fields
    how = griffe.ParameterKind.keyword_only
    if "kw_only=False" in found.source.partition("\n")[0]:
        how = griffe.ParameterKind.positional_or_keyword
    parameters = [griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)]
    for kind in reversed(kinds):
        for name, field in kind.members.items():
            if name == "_":  # KW_ONLY
                how = griffe.ParameterKind.keyword_only
            elif isinstance(field, griffe.Attribute) and field.annotation is not None and not name.startswith("_"):
                made = griffe.Parameter(name, annotation=field.annotation, kind=how, default=field.value)
                parameters.append(made)
    init = griffe.Function("__init__", parameters=griffe.Parameters(*parameters), lineno=found.lineno)
    found.set_member("__init__", init)
