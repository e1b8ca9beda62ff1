"""The wheel for Windows that was cross-built last: what it holds, and what it wants of Windows."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path

import live
import pytest
import wine

pytestmark = pytest.mark.linux

ROOT = live.HERE.parent
# Every Windows has these. Not of them: python311.dll (of one CPython only), libgcc_s_seh-1.dll and libwinpthread-1.dll.
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
SYSTEM_LIBRARIES = {"kernel32.dll", "msvcrt.dll", "advapi32.dll", "ntdll.dll", "user32.dll", "psapi.dll"}


@pytest.fixture(scope="module")
def wheel() -> zipfile.ZipFile:
    """The wheel beside the runner, made of the sources that are here."""
    found = sorted((Path(wine.python()).parent / "dist").glob("*.whl"))
    assert [path.name for path in found] == [f"minidump_cffi-{VERSION}-cp311-abi3-win_amd64.whl"]
    return zipfile.ZipFile(found[0])


@pytest.fixture(scope="module")
def headers(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What objdump says of the extension."""
    objdump = shutil.which("x86_64-w64-mingw32-objdump")
    assert objdump
    library = wheel.extract("minidump_cffi/_native/_ext.pyd", tmp_path_factory.mktemp("wheel"))
    return subprocess.run([objdump, "-p", library], capture_output=True, text=True, check=True).stdout


def test_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "minidump_cffi").rglob("*.py*")}
    sources = {name for name in sources if name.endswith((".py", ".pyi"))} | {"minidump_cffi/py.typed"}
    public = {f"minidump_cffi/include/minidump_cffi/{path.name}" for path in (ROOT / "csrc" / "api").glob("*.h")}
    assert names == sources | public | {"minidump_cffi/_native/_ext.pyd"}
    for name in sources:
        assert wheel.read(name) == (ROOT / name).read_bytes(), f"{name} is not the one that is here: build it again"


def test_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    folder = f"minidump_cffi-{VERSION}.dist-info/"
    about = wheel.read(folder + "WHEEL").decode()
    assert "Tag: cp311-abi3-win_amd64\n" in about
    assert "Root-Is-Purelib: false\n" in about
    metadata = wheel.read(folder + "METADATA").decode()
    assert f"Name: minidump_cffi\nVersion: {VERSION}\n" in metadata
    assert "Requires-Dist: cffi>=2.0.0\n" in metadata
    assert "minidump-cffi = minidump_cffi.cli:main" in wheel.read(folder + "entry_points.txt").decode()


def test_record_is_right(wheel: zipfile.ZipFile) -> None:
    record = wheel.read(f"minidump_cffi-{VERSION}.dist-info/RECORD").decode()
    rows = dict(line.split(",", 1) for line in record.splitlines())
    assert set(rows) == set(wheel.namelist())
    for name, entry in rows.items():
        if name.endswith("/RECORD"):
            assert entry == ","
            continue
        content = wheel.read(name)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        assert entry == f"sha256={digest},{len(content)}", name


def test_extension_imports_only_what_windows_has(headers: str) -> None:
    libraries = {name.lower() for name in re.findall(r"DLL Name: (\S+)", headers)}
    assert "python3.dll" in libraries
    assert libraries - {"python3.dll"} <= SYSTEM_LIBRARIES


def test_extension_exports_only_its_entry(headers: str) -> None:
    table = headers[headers.index("[Ordinal/Name Pointer] Table") :]
    assert re.findall(
        r"^\t\[.*?\]\s+(?:\+base\[.*?\]\s+)?(?:[0-9a-f]+\s+)?(\S+)$", table.split("\n\n")[0], re.MULTILINE
    ) == ["PyInit__ext"]


def test_extension_bears_no_time(headers: str) -> None:
    """The same sources give the same bytes."""
    assert re.findall(r"Time/Date stamp\s+([0-9a-f]+)", headers) in ([], ["0"], ["00000000"])
    assert "1970" in re.findall(r"Time/Date\s+(.*)", headers)[0]


def test_extension_can_be_moved_and_has_no_executable_data(headers: str) -> None:
    """Loaded at any address (ASLR, of 64 bits), no execution of data (NX)."""
    for flag in ("HIGH_ENTROPY_VA", "DYNAMIC_BASE", "NX_COMPAT"):
        assert flag in headers
