"""What `help` says of public names: it is there, its examples run, and members and parameters are described."""

from __future__ import annotations

import ast
import doctest
import enum
import inspect
import re
import sys
import tokenize
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import minidump_cffi as md

PACKAGES: tuple[Any, ...] = (md, md.aio, md.crash, md.filters, md.protocol, md.replay, md.report)
ROOT = Path(str(md.__file__)).parent


def public() -> dict[str, Any]:
    """Every public class and function, once, under the first of its names."""
    found: dict[int, tuple[str, Any]] = {}
    for package in PACKAGES:
        for name in package.__all__:
            value = getattr(package, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                found.setdefault(id(value), (f"{package.__name__}.{name}", value))
    return {name: value for name, value in found.values() if str(value.__module__).startswith("minidump_cffi")}


PUBLIC = public()
ENUMS = {name: value for name, value in PUBLIC.items() if inspect.isclass(value) and issubclass(value, enum.Enum)}

SECTION = re.compile(r"^ *(Parameters|Attributes)\n *-+\n((?:.*\n)*?)(?=^ *\w+\n *-+\n|\Z)", re.MULTILINE)


def home(value: Any) -> ModuleType:
    return sys.modules[value.__module__]


def test_there_are_many() -> None:
    assert len(PUBLIC) > 80 and len(ENUMS) > 18


@pytest.mark.parametrize("name", [*PUBLIC, *(package.__name__ for package in PACKAGES)])
def test_it_is_described(name: str) -> None:
    value = PUBLIC.get(name) or sys.modules[name]
    text = inspect.getdoc(value)
    assert text is not None and text.partition("\n")[0].rstrip().endswith((".", ":")), "a first line that is a sentence"


@pytest.mark.linux
@pytest.mark.parametrize("name", [*PUBLIC, "minidump_cffi", "minidump_cffi.aio", "minidump_cffi.crash"])
def test_its_examples_run(name: str, tmp_path: Path) -> None:
    """With the names of its module, as one who has just imported it."""
    value = PUBLIC.get(name) or sys.modules[name]
    text = inspect.getdoc(value) or ""
    names = {**vars(home(value) if name in PUBLIC else value), "md": md, "folder": str(tmp_path)}
    test = doctest.DocTestParser().get_doctest(text, names, name, None, None)
    assert test.examples, "an example says more than a sentence"
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.FAIL_FAST)
    assert runner.run(test, out=said.append).failed == 0, "".join(said)


@pytest.mark.parametrize("name", PUBLIC)
def test_parameters_and_attributes_have_types(name: str) -> None:
    """``name : type``, as numpydoc has it."""
    for title, body in SECTION.findall(inspect.getdoc(PUBLIC[name]) or ""):
        entries = [line for line in body.split("\n") if line and not line.startswith(" ")]
        assert entries, title
        assert [line for line in entries if not re.fullmatch(r"[*\w, ]+ : .+", line)] == [], title


@pytest.mark.parametrize("name", ENUMS)
def test_members_have_a_line(name: str) -> None:
    """``#: what it is``, after the member or above it."""
    value = ENUMS[name]
    path = Path(inspect.getfile(value))
    tree = ast.parse(path.read_text("utf-8"))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == value.__name__).body
    with path.open("rb") as file:
        told = {token.start[0] for token in tokenize.tokenize(file.readline) if token.string.startswith("#: ")}
    members = [node for node in body if isinstance(node, ast.Assign)]
    assert len(members) == len(value.__members__)
    lines = {target.id: node.lineno for node in members for target in node.targets if isinstance(target, ast.Name)}
    assert [member for member, line in lines.items() if not told & {line, line - 1}] == []
