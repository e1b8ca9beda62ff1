"""Annotations and the comment: what the caller says of a dump, as other readers find it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crashpad
import fake
import file_rules
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import FULL, NORMAL, with_threads

import minidump_cffi as md
from minidump_cffi.cli import main

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
WAITING = "import sys; print('ready', flush=True); sys.stdin.read()"


@pytest.fixture(scope="module")
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    annotations=st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=5),
    comment=st.none() | TEXTS,
    kind=st.sampled_from([NORMAL, FULL]),
)
def test_they_come_back(tmp_path: Path, annotations: dict[str, str], comment: str | None, kind: md.DumpType) -> None:
    path = tmp_path / "x.dmp"
    fake.write(with_threads(1), path, kind, annotations=annotations, comment=comment)
    assert crashpad.simple_annotations(path) == (annotations or None)
    ascii_only = comment if comment is not None and comment.isascii() else None
    assert crashpad.comments(path) == (ascii_only, comment)
    assert file_rules.broken_rules(path) == []


def test_of_a_dump_of_ourselves(tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    md.write_dump(os.getpid(), path, engine="native", annotations={"a": "1", "b": "2"}, comment="asked for")
    assert crashpad.simple_annotations(path) == {"a": "1", "b": "2"}
    assert crashpad.comments(path) == ("asked for", "asked for")


def test_redaction_leaves_them(tmp_path: Path) -> None:
    """They are the caller's own words, and no memory of the target."""
    path = tmp_path / "x.dmp"
    rules = md.Filter(redact=md.Redact(patterns=["secret"]), streams={"exclude": ["environ"]})
    fake.write(with_threads(1), path, filter=rules, annotations={"secret": "secret"}, comment="secret")
    assert crashpad.simple_annotations(path) == {"secret": "secret"} and crashpad.comments(path) == ("secret", "secret")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"annotations": {"": "x"}}, ValueError, "empty"),
        ({"annotations": {"a\0b": "x"}}, ValueError, "NUL"),
        ({"annotations": {"a": "x\0"}}, ValueError, "NUL"),
        ({"annotations": {"a": "\udc80"}}, ValueError, "cannot be encoded"),
        ({"annotations": {"a": 5}}, TypeError, "must be a text"),
        ({"annotations": {b"a": "x"}}, TypeError, "must be a text"),
        ({"annotations": {"a": "x" * 600_000, "b": "x" * 600_000}}, ValueError, "1 MiB"),
        ({"annotations": {"a": "x" * 600_000}, "comment": "ü" * 300_000}, ValueError, "1 MiB"),
        ({"annotations": {str(at): "" for at in range(1025)}}, ValueError, "1024"),
        ({"comment": "a\0"}, ValueError, "NUL"),
        ({"comment": "\ud800"}, ValueError, "cannot be encoded"),
        ({"comment": b"x"}, TypeError, "must be a text"),
        (
            {"annotations": {"a": "b"}, "user_streams": [md.UserStream(type=0x43500001, data=b"")]},
            ValueError,
            "user stream 0x43500001",
        ),
        ({"comment": "a", "user_streams": [md.UserStream(type=10, data=b"a")]}, ValueError, "user stream 0xa"),
    ],
)
def test_what_cannot_be_written_is_refused(
    child: subprocess.Popen[bytes], tmp_path: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        md.write_dump(child, tmp_path / "x.dmp", **options)
    assert fake.names(tmp_path) == []


def test_as_much_as_is_allowed(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    half = 1 << 19
    md.write_dump(child, tmp_path / "x.dmp", annotations={"k" * 100: "v" * (half - 100)}, comment="c" * half)
    assert crashpad.simple_annotations(tmp_path / "x.dmp") == {"k" * 100: "v" * (half - 100)}
    assert crashpad.comments(tmp_path / "x.dmp") == ("c" * half, "c" * half)
    many = {str(at): "x" for at in range(1024)}
    md.write_dump(child, tmp_path / "x.dmp", annotations=many)
    assert crashpad.simple_annotations(tmp_path / "x.dmp") == many


def test_the_command_line(child: subprocess.Popen[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.dmp"
    command = ["dump", str(child.pid), "-o", str(path), "--comment", "by hand"]
    assert main([*command, "--annotation", "version=1.2", "--annotation", "url=http://x/?a=b"]) == 0
    assert crashpad.simple_annotations(path) == {"version": "1.2", "url": "http://x/?a=b"}
    assert crashpad.comments(path) == ("by hand", "by hand")
    for wrong in (["x"], ["=x"], ["a=1", "--annotation", "a=2"], ["a=\udcff"]):
        capsys.readouterr()
        path.unlink(missing_ok=True)
        try:
            assert main([*command, "--annotation", *wrong]) == 2
        except SystemExit as error:
            assert error.code == 2
        assert "annotation" in capsys.readouterr().err and not path.exists()
