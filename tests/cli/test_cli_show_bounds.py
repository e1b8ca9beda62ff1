"""What ``show`` costs is bounded by the file, whatever the numbers in it say; see also tests/stress/show.py."""

from __future__ import annotations

import contextlib
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path

import bombs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minidump_cffi import FormatError, InputError
from minidump_cffi.cli import dumpfile, main

SAMPLES = sorted((Path(__file__).resolve().parents[1] / "data").glob("*.dmp"))


def shown(path: Path, *options: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        main(["show", *options, str(path)])
    return out.getvalue()


@pytest.mark.linux
@pytest.mark.parametrize(
    ("bomb", "option"),
    [
        (bombs.many_modules, "--json"),
        (bombs.one_long_name, None),
        (bombs.one_mapping_for_all_regions, None),
        (bombs.one_mapping_for_all_regions, "--all"),
        (bombs.many_gaps, "--json"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_text_and_memory_are_bounded(bomb: Callable[[], bytes], option: str | None, tmp_path: Path) -> None:
    path = tmp_path / "bomb.dmp"
    path.write_bytes(bomb())
    status, written, resident, _ = bombs.measure(path, *([option] if option else []))
    assert status in (0, 1)
    assert 0 < written <= bombs.text_limit(path.stat().st_size)
    assert resident <= bombs.MEMORY


def test_a_list_that_is_cut_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole number is told, and what is shown are the first; that is no damage."""
    count = dumpfile.MAX_ITEMS + 5
    path = tmp_path / "long.dmp"
    path.write_bytes(bombs.dump((3, bombs.thread_list(count, 0))))
    assert main(["show", "--json", str(path)]) == 0
    out, err = capsys.readouterr()
    content = json.loads(out)
    assert content["cut"] == {"threads": count} and content["problems"] == []
    assert [thread["id"] for thread in content["threads"]] == list(range(dumpfile.MAX_ITEMS))
    assert f"{count:,} threads are more than this reader takes" in err
    assert main(["show", str(path)]) == 0
    assert f"{count:,} threads, the first {dumpfile.MAX_ITEMS:,} of them" in capsys.readouterr().out


def test_names_that_are_shared_too_often_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "names.dmp"
    path.write_bytes(bombs.module_list(200, ["n" * 30_000]))
    dump = dumpfile.read_dump(path)
    names = [module.path for module in dump.modules]
    assert len(names) == 200 and names[0] == "n" * 30_000 and names[-1] == ""
    assert len(dump.problems) == 1 and "the rest is left out" in dump.problems[0]


def test_a_long_cell_widens_no_other_row(tmp_path: Path) -> None:
    path = tmp_path / "wide.dmp"
    path.write_bytes(bombs.module_list(2000, ["n" * 20_000, *["/lib/x.so"] * 1999]))
    assert len(shown(path)) < 20_000 + 2000 * 300


def test_a_stretch_of_names_is_written_as_json(tmp_path: Path) -> None:
    """Lists are written piece by piece: more than one piece, and none at all."""
    path = tmp_path / "pieces.dmp"
    for count in (0, 1, 1000, 2001):
        path.write_bytes(bombs.dump((16, bombs.region_list(count))))
        content = json.loads(shown(path, "--json"))
        assert len(content["regions"]) == count and content["threads"] == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_samples_stay_in_bounds(tmp_path: Path, data: st.DataObject) -> None:
    """Counts, sizes and offsets anywhere in the streams: what is printed is printable, JSON, and not too long."""
    whole = data.draw(st.sampled_from(SAMPLES)).read_bytes()
    mutated = bytearray(whole)
    count, at = struct.unpack_from("<II", whole, 8)
    entries = [struct.unpack_from("<III", whole, at + 12 * number) for number in range(count)]
    numbers = st.sampled_from([0, 1, 2, 7, 0x10000, 0xFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(whole) - 8])
    for _ in range(data.draw(st.integers(1, 8))):
        _, size, place = data.draw(st.sampled_from(entries))
        base, room = data.draw(st.sampled_from([(place, max(4, min(size, 400))), (at, 12 * count)]))
        where = base + 4 * data.draw(st.integers(0, room // 4 - 1))
        if where + 4 <= len(mutated):
            struct.pack_into("<I", mutated, where, data.draw(numbers | st.integers(0, 0xFFFFFFFF)))
    path = tmp_path / "mutated.dmp"
    path.write_bytes(mutated)
    try:
        dumpfile.read_dump(path)
    except (FormatError, InputError):
        return
    text, content = shown(path), shown(path, "--json")
    json.loads(content)
    assert all(letter.isprintable() for letter in text.replace("\n", ""))
    assert len(text) <= bombs.text_limit(len(whole)) and len(content) <= bombs.text_limit(len(whole))
