"""docs/architecture.md: the files that it names are there and hold what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
PLACES = re.findall(r"^\| (.+?) \| `(.+?)` \| `(.+?)` \|$", PAGE, re.MULTILINE)


def test_there_is_a_table() -> None:
    assert len(PLACES) > 12
    assert {"where a stream is added", "where a thread is stopped"} <= {what for what, _, _ in PLACES}


@pytest.mark.parametrize(
    ("path", "text"), [(path, text) for _, path, text in PLACES], ids=[what for what, _, _ in PLACES]
)
def test_a_place_is_where_it_should_be(path: str, text: str) -> None:
    assert text in (ROOT / path).read_text("utf-8")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?:csrc|minidump_cffi|tests)/[\w/]+\.(?:py|[ch])", PAGE))))
def test_a_file_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).is_file()
