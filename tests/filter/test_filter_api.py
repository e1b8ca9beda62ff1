"""`Filter` and the functions that make rules, as Python objects."""

from __future__ import annotations

import copy
import os
import pickle
import sys
import threading
import warnings
from array import array
from pathlib import Path
from typing import Any

import pytest
import strategies as make
from hypothesis import given, settings
from hypothesis import strategies as st

import minidump_cffi as md
from minidump_cffi.filters import _values

TOP = 1 << 64


@given(make.full_filters())
def test_pickling_and_copying(keep: md.Filter) -> None:
    for again in (pickle.loads(pickle.dumps(keep)), copy.copy(keep), copy.deepcopy(keep)):
        assert again == keep and hash(again) == hash(keep)
        assert again.rules == keep.rules and repr(again) == repr(keep)


@settings(max_examples=30)
@given(make.full_filters(), make.full_filters())
def test_equality_is_that_of_the_text(one: md.Filter, other: md.Filter) -> None:
    assert (one == other) == (one.to_toml() == other.to_toml())


def test_it_is_immutable() -> None:
    keep = md.Filter(md.exclude(kind="heap"))
    for change in (lambda: setattr(keep, "default", "exclude"), lambda: delattr(keep, "rules")):
        with pytest.raises(AttributeError, match="immutable"):
            change()
    with pytest.raises(AttributeError):
        keep.rules[0].label = "x"  # type: ignore[misc, union-attr]
    assert keep != "x" and keep


def test_a_compiled_filter_pickles_without_its_table() -> None:
    keep = md.Filter(md.exclude(kind="heap")).compile()
    assert len(pickle.dumps(keep)) < 2000
    assert pickle.loads(pickle.dumps(keep)) == keep


def test_it_is_compiled_once() -> None:
    """Each compilation warns of the rule that cannot decide anything."""
    keep = md.Filter(md.exclude(range=(0x1000, 0x2000)), md.include(range=(0x1000, 0x2000)))
    start = threading.Barrier(6)

    def use() -> None:
        start.wait()
        keep.compile()

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=use) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        md.Callback(keep).close()
    assert [warning.category for warning in told] == [md.FilterWarning]


def test_a_hidden_rule_is_warned_about_where_the_caller_stands() -> None:
    keep = md.Filter(md.exclude(kind="heap", label="lost"), md.exclude_ranges([(1, 2), (3, 4)]), md.include())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        keep.compile()
    assert [str(warning.message) for warning in caught] == [
        "rule 0 (lost) can never decide anything: later rules hide it",
        "2 of the 2 ranges from rule 1 on can never decide anything: later rules hide them",
    ]
    assert {Path(warning.filename).name for warning in caught} == {Path(__file__).name}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keep.compile()


def test_errors_of_the_compiler_name_the_rule() -> None:
    with pytest.raises(md.FilterError, match=r"rule 1: .*\(label 'odd'\)") as caught:
        md.Filter(md.exclude(), md.include(name="[", label="odd")).compile()
    assert (caught.value.index, caught.value.label) == (1, "odd")
    assert caught.value.phase is md.report.Phase.COMPILE
    assert isinstance(caught.value, ValueError)
    ranges = md.exclude_ranges(array("Q", [1, 2, 5, 5]), label="block")
    with pytest.raises(md.FilterError, match=r"empty.*label 'block'"):
        md.Filter(ranges).compile()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"range": (5, 5)}, "empty"),
        ({"range": (6, 5)}, "before it begins"),
        ({"range": (-1, 5)}, "is not between"),
        ({"range": (0, TOP + 1)}, "is not between"),
        ({"range": (1, 2, 3)}, "3 values"),
        ({"range": range(0, 10, 2)}, "step"),
        ({"range": 5}, "pair"),
        ({"range": (1.5, 2)}, "number"),
        ({"range": (True, 2)}, "number"),
        ({"state": "comit"}, "did you mean 'commit'"),
        ({"state": 0}, "could never match"),
        ({"state": 0x4000}, "bits 0x4000"),
        ({"state": md.filters.MemoryType.PRIVATE}, "expected MemoryState"),
        ({"type": []}, "could never match"),
        ({"protect": "rwq"}, "not known"),
        ({"protect": ""}, "not known"),
        ({"protect": []}, "could never match"),
        ({"protect": 0x1000}, "bits"),
        ({"protect": 1.5}, "expected letters"),
        ({"min_size": "5 bananas"}, "is not a size"),
        ({"min_size": -1}, "not between"),
        ({"min_size": True}, "expected bytes"),
        ({"min_size": 1.5}, "expected bytes"),
        ({"min_size": 2, "max_size": 1}, "above max_size"),
        ({"max_size": 0}, "could never match"),
        ({"module": 5}, "glob"),
        ({"name": "a\0b"}, "zero byte"),
        # Windows has names that are no UTF-16, and takes every surrogate.
        *([] if sys.platform == "win32" else [({"name": "\ud800"}, "cannot be encoded")]),
        ({"kind": "stacks"}, "did you mean 'stack'"),
        ({"label": b"x"}, "expected text"),
        ({"label": "\ud800"}, "surrogate"),
    ],
)
def test_wrong_values(values: dict[str, Any], words: str) -> None:
    with pytest.raises(md.FilterError, match=words):
        md.exclude(**values)


def test_many_ways_to_say_the_same() -> None:
    assert md.include(range=range(4096, 8192)) == md.include(range=("0x1000", "8192"))
    assert md.include(type="Mapped") == md.include(type=md.filters.MemoryType.MAPPED) == md.include(type=["mapped"])
    assert md.include(protect="rw") == md.include(protect=["readable", "writable"])
    assert md.include(protect="xw") == md.include(protect=md.filters.Access.WRITE | md.filters.Access.EXECUTE)
    assert md.include(protect="guard") == md.include(protect=md.filters.MemoryProtect.GUARD)
    assert md.include(protect=4) == md.include(protect=["readwrite"])
    assert md.include(protect="executable") != md.include(protect="execute")
    assert md.include(protect="r--") == md.include(protect="readonly")
    assert md.include(protect="RW-") == md.include(protect=["readwrite", "writecopy"])
    assert md.include(protect="rwx") == md.include(protect=["readable", "writable", "executable"])
    assert md.include(name=Path("/tmp/x")) == md.include(name=os.fsencode(Path("/tmp/x")))
    assert md.include(min_size="1 KiB") == md.include(min_size=1024) == md.include(min_size="0x400")
    assert md.head("4 KiB").bytes == 4096


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("7", 7),
        (" 64 MiB ", 64 << 20),
        ("64mib", 64 << 20),
        ("1.5GiB", 3 << 29),
        ("1 kB", 1000),
        ("2 M", 2 << 20),
        ("15.99 GB", 15_990_000_000),
        ("0x10", 16),
        ("18446744073709551615", TOP - 1),
    ],
)
def test_sizes(text: str, value: int) -> None:
    assert _values.size(text, "x") == value


@given(st.integers(0, TOP - 1))
def test_sizes_are_written_as_they_are_read(value: int) -> None:
    assert _values.size(_values.size_text(value), "x") == value


@pytest.mark.parametrize("text", ["", "5 5", "-1", "1e3", "٣", "1.", ".5", "5 KiBB", "16 EiB", "0x", "1.0001 KiB"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(md.FilterError):
        _values.size(text, "x")


def test_rule_and_filter_arguments() -> None:
    for wrong in (
        lambda: md.Filter("x"),  # type: ignore[arg-type]
        lambda: md.Filter(default="maybe"),  # type: ignore[arg-type]
        lambda: md.Filter(read_failure="maybe"),  # type: ignore[arg-type]
        lambda: md.Filter(threads=[5]),  # type: ignore[list-item]
        lambda: md.Filter(threads={"exclude": [0]}),
        lambda: md.Filter(threads={"exclude": [True]}),
        lambda: md.Filter(threads={"exclude": "12"}),  # type: ignore[arg-type]
        lambda: md.Filter(modules={"exclude": "*.so"}),
        lambda: md.Filter(modules=[md.thread(1, [])]),  # type: ignore[list-item]
        lambda: md.Filter(memory={"add": [(1, 1)]}),
        lambda: md.Filter(streams={"exclude": ["x"]}),
        lambda: md.Filter(secondary_flags=2),  # type: ignore[arg-type]
        lambda: md.filters.Rule(action="head"),
        lambda: md.filters.Rule(action="include", bytes=5),
        lambda: md.filters.Rule(action="drop"),  # type: ignore[arg-type]
        lambda: md.filters.RangeRules("head", b""),  # type: ignore[arg-type]
        lambda: md.filters.RangeRules("include", b"123"),
        lambda: md.module("*", "modul"),
    ):
        with pytest.raises(md.FilterError):
            wrong()


PAIRS = [(0x1000, 0x2000), (0x5000, 0x5001), (0x8000, TOP)]


def test_ranges_from_many_things() -> None:
    flat = array("Q", [0x1000, 0x2000, 0x5000, 0x5001, 0x8000, 0])
    view = memoryview(flat)
    expected = md.exclude_ranges(PAIRS, label="l")
    assert list(expected) == PAIRS and len(expected) == 3 and "3 ranges" in repr(expected)
    assert md.exclude_ranges(flat, label="l") == expected
    assert md.exclude_ranges(view, label="l") == expected
    assert md.exclude_ranges(view.cast("B").cast("Q", (3, 2)), label="l") == expected
    assert md.exclude_ranges(iter(PAIRS), label="l") == expected
    assert md.exclude_ranges([("0x1000", "0x2000"), (0x5000, 0x5001), (0x8000, str(TOP))], label="l") == expected
    assert len(md.include_ranges([])) == 0
    assert hash(expected) == hash(md.exclude_ranges(flat, label="l"))
    assert pickle.loads(pickle.dumps(expected)) == expected


@pytest.mark.parametrize(
    "ranges",
    [
        [1, 2],
        [(1, 2, 3), (4,)],
        [(1,)],
        [(2, 1), (1, TOP + 1)],
        "ab",
        b"0123456789abcdef",
        5,
        array("I", [1, 2]),
        array("Q", [1, 2, 3]),
        array("d", [1.0, 2.0]),
        memoryview(array("Q", range(12))).cast("B").cast("Q", (4, 3)),
        [(-1, 5)],
    ],
)
def test_what_are_no_ranges(ranges: Any) -> None:
    with pytest.raises(md.FilterError):
        md.exclude_ranges(ranges)


def test_from_ranges() -> None:
    assert md.Filter.from_ranges(PAIRS) == md.Filter(md.exclude_ranges(PAIRS))
    assert md.Filter.from_ranges(PAIRS, action="include").default == "exclude"
    assert md.Filter.from_ranges(PAIRS, action="include", default="include", label="l").rules[0].label == "l"


def test_numbers_of_rules_count_every_range() -> None:
    keep = md.Filter(md.include(label="a"), md.exclude_ranges(PAIRS, label="b"), md.include())
    assert len(keep) == 5
    assert [keep.rule_name(number) for number in range(5)] == [
        "rule 0 (a)",
        "rule 1 (b)",
        "rule 2 (b)",
        "rule 3 (b)",
        "rule 4",
    ]
    with pytest.raises(IndexError):
        keep.rule_name(5)


def test_repr_says_what_is_not_the_default() -> None:
    assert repr(md.Filter()) == "Filter()"
    assert repr(md.Filter(md.include(), default="exclude")) == "Filter(<include: everything>, default='exclude')"


def test_a_million_rules_with_conditions_of_every_size_compile() -> None:
    keep = md.Filter(md.exclude_ranges((at * 8192, at * 8192 + 4096) for at in range(1, 200_000)))
    assert len(keep) == 199_999 and keep.table_intervals == 2 * 199_999 + 1


def test_conditions_are_the_same_everywhere() -> None:
    """What is taken, how it is read, and what a rule holds of it."""
    from minidump_cffi.filters import _rules

    assert {*_rules.CONDITIONS, "label", "priority"} == set(md.filters.Conditions.__annotations__)
    assert {*_rules.CONDITIONS, "label", "priority", "action", "access", "bytes"} == set(md.filters.Rule._fields)
    for rule in (md.include, md.exclude):
        with pytest.raises(TypeError, match=r"'min_siz'.*did you mean 'min_size'"):
            rule(min_siz=5)


SECTIONS: list[tuple[str, dict[str, Any], Any]] = [
    ("threads", {"exclude": [7], "default": ["thread"]}, md.filters.Threads(exclude=[7], default=["thread"])),
    ("modules", {"include": ["a*"], "default": "exclude"}, md.filters.Modules(include=["a*"], default="exclude")),
    ("memory", {"add": [(1, 2)], "remove": [(3, 4)]}, md.filters.Memory(add=[(1, 2)], remove=[(3, 4)])),
    ("streams", {"exclude": ["environ"]}, md.filters.Streams(exclude=md.filters.Stream.ENVIRON)),
    ("redact", {"stacks": True, "environ": {"drop": ["A"]}}, md.Redact(stacks=True, environ={"drop": ["A"]})),
]


@pytest.mark.parametrize(("name", "given", "section"), SECTIONS, ids=[name for name, _, _ in SECTIONS])
def test_a_section_is_a_dict_or_an_object(name: str, given: dict[str, Any], section: Any) -> None:
    keep = md.Filter(**{name: given})
    assert keep == md.Filter(**{name: section}) and getattr(keep, name) == section
    assert keep != md.Filter() and repr(section) in repr(keep)
    assert md.Filter.from_toml(keep.to_toml()) == keep
    with pytest.raises(md.FilterError, match=f"{name}: unknown key 'excluded'"):
        md.Filter(**{name: {"excluded": "hunter2"}})
    with pytest.raises(md.FilterError, match=name) as caught:
        md.Filter(**{name: "hunter2"})
    assert name != "redact" or "hunter2" not in str(caught.value)


def test_rules_of_threads_and_modules_come_after_what_a_section_leaves_out() -> None:
    keep = md.filters.Threads([md.thread(7, "thread")], exclude=[7, 8], include=[9])
    assert [(rule.id, int(rule.write)) for rule in keep.rules] == [(7, 0), (8, 0), (9, 0x7F), (7, 1)]
    assert md.Filter(threads=[md.thread(7, "thread")]).threads == md.filters.Threads([md.thread(7, "thread")])
