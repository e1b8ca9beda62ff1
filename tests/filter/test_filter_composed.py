"""Filters made of others: `base | more`, `replace`, and files that extend files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import strategies as make
from hypothesis import given, settings

import minidump_cffi as md
from minidump_cffi.filters import Memory, Modules, Threads

pytestmark = pytest.mark.filterwarnings("ignore::minidump_cffi.FilterWarning")
EVERYTHING = md.Filter()


def write(folder: Path, **files: str) -> Path:
    """Files of these texts; the path of the last one."""
    for name, text in files.items():
        path = folder / f"{name}.toml"
        path.write_text(text, "utf-8")
        path.chmod(0o600)
    return path


@settings(max_examples=15)
@given(make.full_filters(), make.full_filters(), make.full_filters())
def test_a_filter_on_top_of_others(one: md.Filter, two: md.Filter, three: md.Filter) -> None:
    assert (one | two).rules == (*one.rules, *two.rules)
    assert (one | two) | three == one | (two | three)
    assert one | EVERYTHING == one
    assert (EVERYTHING | one).rules == one.rules
    assert md.Filter.from_toml((one | two).to_toml()) == one | two


def test_what_of_a_filter_is_one_value() -> None:
    base = md.Filter(default="exclude", read_failure="abort", threads=Threads(default="exclude"), redact={"fill": 0})
    more = md.Filter(md.include(kind="heap"), modules=Modules(default=["module"]), redact={"stacks": True})
    both = base | more
    assert (both.default, both.read_failure, both.redact.fill, both.redact.stacks) == ("exclude", "abort", 0, True)
    assert (both.threads.default, both.modules.default) == (base.threads.default, more.modules.default)
    assert (more | base).default == "exclude"
    assert (both | md.Filter(redact={"fill": 7})).redact.fill == 7


def test_lists_are_joined() -> None:
    one = md.Filter(
        memory=Memory(add=[(0, 1)]),
        streams={"exclude": "environ"},
        redact={"patterns": ["abcd", "efgh"], "environ": {"drop": ["A"]}},
    )
    two = md.Filter(
        memory=Memory(add=[(2, 3)], remove=[(4, 5)]),
        streams={"exclude": "cmdline"},
        redact={"patterns": ["efgh", "ijkl"], "environ": {"drop": ["B"], "keep": ["C"]}},
        threads=[md.filters.thread(7, "thread")],
    )
    both = one | two
    assert both.memory == Memory(add=[(0, 1), (2, 3)], remove=[(4, 5)])
    assert both.streams.exclude == md.filters.Stream.ENVIRON | md.filters.Stream.CMDLINE
    assert both.redact.patterns == (b"abcd", b"efgh", b"ijkl")
    assert (both.redact.environ.drop, both.redact.environ.keep) == ((b"A", b"B"), (b"C",))
    assert both.threads.rules == two.threads.rules


@settings(max_examples=15)
@given(make.full_filters(), make.full_filters())
def test_replace(one: md.Filter, two: md.Filter) -> None:
    assert one.replace() == one
    state = ("rules", "default", "read_failure", "ignore_case", "secondary_flags")
    sections = ("threads", "modules", "memory", "streams", "redact")
    assert one.replace(**{name: getattr(two, name) for name in (*state, *sections)}) == two


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"defualt": "include"}, TypeError, "did you mean 'default'"),
        ({"default": "some"}, md.FilterError, "default"),
        ({"rules": "exclude"}, md.FilterError, "rules"),
        ({"rules": [1]}, md.FilterError, "rule 0"),
    ],
)
def test_replace_refuses(changes: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        EVERYTHING.replace(**changes)


def test_only_filters_are_combined() -> None:
    with pytest.raises(TypeError):
        EVERYTHING | {"default": "exclude"}  # type: ignore[operator]


def test_a_file_extends_files(tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    write(
        tmp_path / "common",
        deep="default = 'exclude'\nread_failure = 'abort'\n[threads]\ndefault = 'exclude'",
        base="extends = 'deep.toml'\n[[rule]]\naction = 'exclude'\nkind = 'file'",
        other="[streams]\nexclude = ['environ']",
    )
    mine = write(
        tmp_path,
        mine="extends = ['common/base.toml', 'common/other.toml']\ndefault = 'include'\n"
        "[[rule]]\naction = 'include'\nkind = 'heap'\n[threads]\ndefault = 'include'",
    )
    assert md.Filter.from_file(mine) == md.Filter(
        md.exclude(kind="file"), md.include(kind="heap"), read_failure="abort", streams={"exclude": "environ"}
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("extends = 3", "expected a file or a list of files"),
        ("extends = ['']", "expected a file or a list of files"),
        ("extends = 'none.toml'", "none.toml: No such file"),
        ("extends = 'mine.toml'", "extended by itself"),
        ("extends = 'circle.toml'", "extended by itself"),
        ("extends = 'broken.toml'", r"broken.toml:5: rule 0: min_size"),
        ("extends = 'base.toml'\n\n[[rule]]\naction = 'exclude'\nnmae = 'x'", r"mine.toml:5: rule 0: .*'name'"),
    ],
)
def test_what_a_file_cannot_extend(text: str, complaint: str, tmp_path: Path) -> None:
    write(tmp_path, base="[[rule]]\naction = 'exclude'", broken="\n\n[[rule]]\naction = 'exclude'\nmin_size = 'x'")
    write(tmp_path, circle="extends = './mine.toml'")
    with pytest.raises(md.FilterError, match=complaint):
        md.Filter.from_file(write(tmp_path, mine=text))


def test_files_extend_each_other_only_so_deep(tmp_path: Path) -> None:
    files = {f"f{at}": f"extends = 'f{at + 1}.toml'" for at in range(40)}
    with pytest.raises(md.FilterError, match="too deeply"):
        md.Filter.from_file(write(tmp_path, **files, f40="", start="extends = 'f0.toml'"))


def test_a_text_without_a_file_extends_nothing() -> None:
    with pytest.raises(md.FilterError, match="from_file"):
        md.Filter.from_toml("extends = 'x.toml'")


@pytest.mark.linux  # owners of files
@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="makes files of other users: needs root")
def test_a_file_of_another_user_is_not_extended(tmp_path: Path) -> None:
    mine = write(tmp_path, theirs="default = 'include'", mine="extends = 'theirs.toml'")
    os.chown(tmp_path / "theirs.toml", 54321, 54321)
    with pytest.raises(md.FilterError, match="belongs to user 54321"):
        md.Filter.from_file(mine)
