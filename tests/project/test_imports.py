"""Who imports whom in the package: no circles, one importer of the extension, no module that is too long."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

import minidump_cffi as md

ROOT = Path(str(md.__file__)).parent
FILES = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted(ROOT.rglob("*.py"))}
MODULES = set(FILES.values())


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(path: Path) -> set[str]:
    """The modules of the package that it imports when it runs, in functions too, without what is for type checkers."""
    module = FILES[path]
    package = module.split(".")[:-1]
    found: set[str] = set()
    todo: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while todo:
        node = todo.pop()
        if is_for_types(node):
            continue
        todo.extend(ast.iter_child_nodes(node))
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = package[: len(package) - node.level + 1]
        home = ".".join([*base, *(node.module or "").split(".")]).rstrip(".")
        for name in node.names:
            full = f"{home}.{name.name}".lstrip(".")
            found.add(full if full in MODULES else home if home in MODULES else f"{home}.__init__".lstrip("."))
    return found - {module, "__init__"}


GRAPH = {module: imports(path) for path, module in FILES.items()}


def circle(start: str) -> list[str] | None:
    """A way from a module back to itself."""
    ways = [[start]]
    seen = {start}
    while ways:
        way = ways.pop()
        for other in GRAPH.get(way[-1], ()):
            if other == start:
                return [*way, other]
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return None


def test_the_graph_is_one() -> None:
    assert "_running" in GRAPH["dumping"] and "_native.filter" in GRAPH["filters._filter"]
    assert len(MODULES) > 60


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_import_goes_round(module: str) -> None:
    assert circle(module) is None


def names_the_extension(path: Path) -> bool:
    """Whether it imports it, in any way but for types; the table of a package's names only says where one is."""
    lines = path.read_text("utf-8").splitlines()
    return any(
        re.match(r" *(from|import) .*\b_ext\b", line) for line in lines if not line.startswith("    from .._native")
    )


def test_one_package_imports_the_extension() -> None:
    users = {module for path, module in FILES.items() if names_the_extension(path)}
    assert users and {module.partition(".")[0] for module in users} == {"_native"}


def test_each_package_is_installed() -> None:
    """The list of pyproject.toml is made by hand: built in place, what it leaves out is there all the same."""
    settings = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text("utf-8"))
    packages = {".".join(["minidump_cffi", *path.relative_to(ROOT).parts[:-1]]) for path in ROOT.rglob("__init__.py")}
    assert settings["tool"]["setuptools"]["packages"] == sorted(packages)


@pytest.mark.parametrize("path", FILES, ids=FILES.values())
def test_a_module_is_not_too_long(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 500
