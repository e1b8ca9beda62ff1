"""What the package is built from and what its tests are: neither holds the other. And who owns a source."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import extension
import fake
import pytest

import minidump_cffi as md
from minidump_cffi._native import _ext
from minidump_cffi.targets import SourceTarget

CSRC = extension.ROOT / "csrc"
NAME = re.compile(r"\bmdc_\w+", re.IGNORECASE)


def names(*paths: Path) -> set[str]:
    """What C calls functions and types in these files."""
    return {name for path in paths for name in NAME.findall(path.read_text(encoding="utf-8"))}


TESTS_OWN = names(*extension.HERE.glob("*.h")) - names(*CSRC.rglob("*.[ch]"))
"""Names of test code. What it uses of the package is in csrc."""


def declared(module: Any) -> set[str]:
    """Functions, constants and types that Python can see in an extension."""
    typedefs, structs, unions = module.ffi.list_types()
    return {*dir(module.lib), *typedefs, *structs, *unions}


def test_the_package_declares_no_test_code() -> None:
    assert {"mdc_fake_new", "mdc_bench_loop", "mdc_double_drive"} <= TESTS_OWN
    assert declared(extension.load()) & TESTS_OWN, "the check itself: there it is found"
    assert declared(_ext) & TESTS_OWN == set()


@pytest.mark.linux
def test_the_package_contains_no_test_code() -> None:
    """By the names of all functions, hidden ones too, and of the files that they come from."""

    def functions(path: str) -> set[str]:
        done = subprocess.run(["nm", "--format=posix", path], check=True, capture_output=True, text=True)
        return {line.split()[0].partition(".")[0] for line in done.stdout.splitlines()}

    built = functions(extension.load().__file__)
    assert {"mdc_fake_new", "fake_read", "mdc_bench_loop"} <= built
    package = functions(_ext.__file__)
    assert "mdc_session_start" in package
    sources = "".join(path.read_text(encoding="utf-8") for path in CSRC.rglob("*.c"))
    assert {name for name in built & package if name.startswith("mdc_") and name not in sources} == set()
    assert package & TESTS_OWN == set()
    assert "fake_read" not in package


def test_a_source_is_for_one_dump() -> None:
    source = fake.small().source()
    assert md.plan_dump(source).complete
    with pytest.raises(ValueError, match="has been dumped already"):
        md.plan_dump(source)


def test_a_source_stays_with_its_owner_until_a_job_has_it() -> None:
    source = fake.small().source()
    with md.Callback() as callback, callback.in_use(), pytest.raises(md.CallbackError, match="in use"):
        md.plan_dump(source, callback=callback)
    assert fake.ffi.cast("mdc_source **", source.slot)[0] != fake.ffi.NULL
    assert md.plan_dump(source).complete


@pytest.mark.parametrize("word", [0, 1], ids=["version", "layout"])
def test_a_source_of_another_version_is_refused(word: int) -> None:
    """Built against headers of a package that lays the structs out in another way: nothing of it is called."""
    other = fake.ffi.new("uint32_t[64]")
    fitting = fake.small().source()
    known = fake.ffi.cast("uint32_t **", fitting.slot)[0]
    other[0], other[1] = known[0], known[1]
    other[word] += 1
    slot = fake.ffi.new("uint32_t **", other)
    source = SourceTarget(slot=int(fake.ffi.cast("uintptr_t", slot)), owner=(slot, other))
    with pytest.raises(ValueError, match="built for another version"):
        md.plan_dump(source)
    assert slot[0] == other
    assert md.plan_dump(fitting).complete
