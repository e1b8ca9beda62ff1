"""Filter files: round trips, and what malformed ones are told."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest
import strategies as make
from hypothesis import given
from hypothesis import strategies as st

import minidump_cffi as md

pytestmark = pytest.mark.filterwarnings("ignore::minidump_cffi.FilterWarning")

EXAMPLE = """
default = "include"
read_failure = "skip"
[[rule]]
action = "exclude"
label = "big file maps"
type = "mapped"
min_size = "64 MiB"
[[rule]]
action = "exclude"
range = ["0x7f0000000000", "0x7f0000100000"]
[[rule]]
action = "include"
module = "*/libapp*.so*"
name = "[[]stack]"
kind = "stack"
protect = "rw"
state = "commit"
[threads]
exclude = [4242]
[modules]
exclude = ["*/libsecret*"]
[memory]
add = [["0x7ffd00000000", "0x7ffd00010000"]]
remove = []
[streams]
exclude = ["environ", "cmdline"]
"""


@given(make.full_filters())
def test_round_trip(keep: md.Filter) -> None:
    text = keep.to_toml()
    again = md.Filter.from_toml(text)
    assert again == keep
    assert hash(again) == hash(keep)
    assert again.to_toml() == text
    assert md.Filter.from_toml(text.encode()) == keep


def test_the_example_of_the_documentation() -> None:
    assert md.Filter.from_toml(EXAMPLE) == md.Filter(
        md.exclude(label="big file maps", type=md.filters.MemoryType.MAPPED, min_size=64 << 20),
        md.exclude(range=(0x7F0000000000, 0x7F0000100000)),
        md.include(
            module=b"*/libapp*.so*",
            name="[[]stack]",
            kind=md.filters.Kind.STACK,
            protect=md.filters.Access.READ | md.filters.Access.WRITE,
            state="commit",
        ),
        ignore_case=md.Filter().ignore_case,
        threads={"exclude": [4242]},
        modules={"exclude": ["*/libsecret*"]},
        memory={"add": [(0x7FFD00000000, 0x7FFD00010000)]},
        streams={"exclude": md.filters.Stream.ENVIRON | md.filters.Stream.CMDLINE},
    )


def test_write_flags_and_defaults() -> None:
    keep = md.Filter.from_toml("""
        [threads]
        default = "exclude"
        include = [7]
        [[thread]]
        id = 8
        write = ["thread", "context"]
        [modules]
        default = ["module", "cv_record"]
        [[module]]
        path = "*/libbig*"
        write = "module"
        [[module]]
        path = { hex = "2aff" }
        write = []
    """)
    assert keep.threads.rules == (
        md.thread(7, md.filters.ThreadWrite(0x7F)),
        md.thread(8, md.filters.ThreadWrite.THREAD | md.filters.ThreadWrite.CONTEXT),
    )
    assert keep.threads.default == md.filters.ThreadWrite(0)
    assert keep.modules.default == md.filters.ModuleWrite.MODULE | md.filters.ModuleWrite.CV_RECORD
    assert keep.modules.rules == (
        md.module("*/libbig*", md.filters.ModuleWrite.MODULE),
        md.module(b"*\xff", md.filters.ModuleWrite(0)),
    )


def test_an_empty_file_keeps_everything() -> None:
    assert md.Filter.from_toml("") == md.Filter()


def test_odd_bytes_in_a_glob_survive() -> None:
    keep = md.Filter(md.exclude(name=b"/tmp/\xff*"), md.exclude(module=b"/opt/\xfe?"))
    if sys.platform == "linux":
        assert keep.rules[0] == md.exclude(name="/tmp/\udcff*")
    assert keep.rules[0].name == b"/tmp/\xff*"
    assert md.Filter.from_toml(keep.to_toml()) == keep


def test_from_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(EXAMPLE)
    assert md.Filter.from_file(path) == md.Filter.from_toml(EXAMPLE)
    assert md.Filter.from_file(str(path)).rules[0].label == "big file maps"
    with pytest.raises(FileNotFoundError):
        md.Filter.from_file(tmp_path / "missing.toml")


RULE = '[[rule]]\naction = "exclude"\n'
BAD = [
    ("x = ", 1, "not TOML"),
    ('default = "include"\n[[rule]\n', 2, "not TOML"),
    ("defualt = 'include'", 1, "did you mean 'default'"),
    ("default = 'maybe'", 1, "'maybe' is not known; known are exclude, include"),
    ("default = 1", 1, "default: 1 is not known"),
    ("read_failure = 'ignore'", 1, "read_failure"),
    ("ignore_case = 'yes'", 1, "true or false"),
    ("secondary_flags = 1", 1, "name or a list"),
    (RULE + "min_sise = 5", 3, "rule 0: unknown key 'min_sise'; did you mean 'min_size'"),
    ("\n" + RULE + "\n" + RULE + "label = 'no size'\nmin_size = '5 XB'", 8, "rule 1 (no size): min_size: '5 XB'"),
    ("[[rule]]\nlabel = 'x'", 1, "rule 0 (x): action: missing"),
    ("[[rule]]\naction = 'drop'", 2, "'drop' is not known"),
    (RULE + "bytes = 5", 3, "needed by 'head'"),
    ("[[rule]]\naction = 'head'", 1, "needed by 'head'"),
    ("[[rule]]\naction = 'head'\nbytes = 0", 3, "head of 0 bytes"),
    (RULE + "kind = 'stak'", 3, "did you mean 'stack'"),
    (RULE + "kind = []", 3, "could never match"),
    (RULE + "kind = 16", 3, "name or a list"),
    (RULE + "protect = 'rwz'", 3, "'rwz' is not known"),
    (RULE + "range = ['0x10', '0x10']", 3, "is empty"),
    (RULE + "range = ['0x20', '0x10']", 3, "ends before it begins"),
    (RULE + "range = [0, '0x10000000000000001']", 3, "is not between"),
    (RULE + "range = [1]", 3, "pair"),
    (RULE + "range = 'all'", 3, "pair"),
    (RULE + "range = [1, 'many']", 3, "'many' is not a number"),
    (RULE + "min_size = 9\nmax_size = 8", 1, "above max_size"),
    (RULE + "max_size = 0", 3, "could never match"),
    (RULE + "min_size = -1", 3, "not between 0"),
    (RULE + "min_size = 1.5", 3, "expected bytes"),
    (RULE + "min_size = '1.3 B'", 3, "whole number"),
    (RULE + "name = '['", 1, "rule 0"),
    (RULE + "label = 'l'\nname = 'x[a'", 1, "label 'l'"),
    (RULE + "name = { hex = 'zz' }", 3, "is not a glob"),
    (RULE + "name = { hax = '00' }", 3, "did you mean 'hex'"),
    (RULE + "name = 5", 3, "glob as text"),
    (RULE + "name = { hex = '00' }", 3, "zero byte"),
    (RULE + "label = 5", 3, "expected text"),
    (RULE + "ranges = [['1', '2'], ['4', '4']]", 1, "range 1"),
    (RULE + "ranges = [['1', '2']]\nkind = 'heap'", 4, "kind: cannot be combined with ranges"),
    ("[[rule]]\naction = 'head'\nranges = []", 2, "not possible with ranges"),
    (RULE + "ranges = [['1', '2'], ['3', '4']]\n" + RULE + "name = '['", 4, "rule 2"),
    (RULE + "protect = ['readonly', 'w']", 1, "meets both"),
    ("rule = 'x'", 1, "two brackets"),
    ("[rule]\naction = 'x'", 1, "two brackets"),
    ("[threads]\nexclude = [0]", 2, "threads.exclude: thread id: expected"),
    ("[threads]\nexclude = 5", 2, "threads.exclude: expected a list"),
    ("[threads]\nexclud = []", 2, "[threads]: unknown key 'exclud'; did you mean 'exclude'"),
    ("threads = 5", 1, "section [threads]"),
    ("[threads]\ndefault = 'some'", 2, "threads.default"),
    ("[[thread]]\nid = 5", None, "thread 0: write is missing"),
    ("[[thread]]\nid = 5\nwrite = ['stck']", 3, "did you mean 'stack'"),
    ("[[module]]\npath = '['\nwrite = []", None, "module rule 0"),
    ("[[module]]\nwrite = []", None, "module 0: path is missing"),
    ("[memory]\nadd = [[5, 5]]", 2, "memory.add"),
    ("[memory]\nremove = [5]", 2, "memory.remove"),
    ("[streams]\nexclude = ['enviorn']", 2, "did you mean 'environ'"),
]


@pytest.mark.parametrize(("text", "line", "words"), BAD)
def test_bad_files(text: str, line: int | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(md.FilterError) as caught:
        md.Filter.from_file(path)
    error = caught.value
    assert words in str(error)
    assert str(error).startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert (error.filename, error.lineno) == (str(path), line)
    assert "\n" not in str(error)


def test_not_utf8() -> None:
    with pytest.raises(md.FilterError, match=r"^f:2: not UTF-8") as caught:
        md.Filter.from_toml(b"\n# \xff", source="f")
    assert caught.value.lineno == 2


def test_no_line_is_better_than_a_wrong_one() -> None:
    text = 'label = """\n[[rule]]\n"""\n'
    with pytest.raises(md.FilterError) as caught:
        md.Filter.from_toml("rule = [ { action = 'exclude', kind = 'x' } ]\n# [[rule]]")
    assert caught.value.lineno is None
    with pytest.raises(md.FilterError) as caught:
        md.Filter.from_toml(RULE + text + "kind = 'x'")
    assert caught.value.lineno is None
    with pytest.raises(md.FilterError) as caught:
        md.Filter.from_toml(RULE + "label = '''\nkind = 'x'\n'''\nkind = 'x'")
    assert caught.value.lineno == 1, "that of the rule"


def test_a_bomb_of_brackets() -> None:
    with pytest.raises(md.FilterError):
        md.Filter.from_toml("x = " + "[" * 100_000)


@given(st.text(max_size=80))
def test_any_text_is_a_filter_or_our_error(text: str) -> None:
    with contextlib.suppress(md.FilterError):
        md.Filter.from_toml(text)


WORDS = st.sampled_from(
    ["[[rule]]\n", 'action = "exclude"\n', 'action = "head"\n', "bytes = 5\n", 'name = "*"\n', "range = [1, 2]\n",
     "[threads]\n", "exclude = [1]\n", "[modules]\n", 'exclude = ["a"]\n', "kind = 'heap'\n", "x", "= 1\n", '"', "\n"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=12).map("".join))
def test_shuffled_words_are_a_filter_or_our_error(text: str) -> None:
    try:
        md.Filter.from_toml(text)
    except md.FilterError as error:
        assert "\n" not in str(error)
