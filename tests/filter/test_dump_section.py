"""[dump] of a filter: the type of dumps for which none is given; and words for types."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidump_cffi as md
from minidump_cffi._dump_types import PRESETS, dump_type, words_of

TYPES = st.integers(0, 0x07FFFFFF).map(md.DumpType)
DUMPS = st.none() | TYPES.map(lambda type: {"type": type})


@given(TYPES)
def test_words_make_the_flags_they_were_made_of(type: md.DumpType) -> None:
    assert dump_type(words_of(type)) == type


@given(st.lists(st.sampled_from([*PRESETS, *(str(flag.name) for flag in md.DumpType)]), min_size=1))
def test_words_add_up(words: list[str]) -> None:
    flags = md.DumpType(0)
    for word in words:
        flags |= PRESETS.get(word, md.DumpType(0)) | (md.DumpType[word] if word in md.DumpType.__members__ else 0)
    assert dump_type("+".join(words)) == flags == dump_type(" + ".join(words).upper())


@given(DUMPS, DUMPS)
def test_a_file_keeps_the_type_and_the_later_one_counts(
    base: dict[str, md.DumpType], more: dict[str, md.DumpType]
) -> None:
    one, other = md.Filter(dump=base), md.Filter(dump=more)
    assert md.Filter.from_toml(one.to_toml()) == one
    assert (one | other).dump == (other if other.dump.type is not None else one).dump
    assert one.replace(dump=more) == other
    assert (one == other) == (one.dump.type == other.dump.type)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[dump]\ntype = "haep"\n', r"filter:2: dump\.type: 'haep' is not known; did you mean 'heap'\?"),
        ("[dump]\ntype = 2\n", r"filter:2: dump\.type: expected words"),
        ('[dump]\ntyp = "heap"\n', r"filter:2: \[dump\]: unknown key 'typ'"),
        ('dump = "heap"\n', r"filter:1: dump: expected a section \[dump\]"),
    ],
)
def test_mistakes_name_the_line(text: str, message: str) -> None:
    with pytest.raises(md.FilterError, match=message):
        md.Filter.from_toml(text)


def test_a_file_extends_the_type(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    (folder / "base.toml").write_text('[dump]\ntype = "heap"\n')
    (folder / "same.toml").write_text('extends = "base.toml"\n')
    (folder / "other.toml").write_text('extends = "base.toml"\n[dump]\ntype = "normal"\n')
    for path in folder.iterdir():
        path.chmod(0o600)
    assert md.Filter.from_file(folder / "same.toml").dump == md.filters.Dump(type="heap")
    assert md.Filter.from_file(folder / "other.toml").dump == md.filters.Dump(type="normal")


def test_a_preset_is_known_by_its_name() -> None:
    assert repr(md.filters.Dump(type="triage+heap")) == "Dump(type='heap+triage')"
    with pytest.raises(md.FilterError, match=r"dump\.type: 'x' is not known"):
        md.Filter(dump={"type": "x"})
    with pytest.raises(md.FilterError, match=r"dump\.type must be"):
        md.Filter(dump={"type": 1.5})
