"""Fetches Microsoft's dbghelp, dbgcore and debugger engine for the tests: python .ci/microsoft.py FOLDER

They are in packages of the index that others have published. Nothing of them is committed or shipped, and no user
needs them: on Windows the system's own dbghelp is used. A package comes by its hash; of every DLL the digest that
Microsoft has signed (Authenticode) is compared with the file. FOLDER then has one folder for each version.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Source:
    """A package, and what is taken out of it."""

    folder: str  # the version of the DLLs
    requirement: str
    options: tuple[str, ...]  # for pip download: the package is for another system, or for an old Python
    members: dict[str, str]  # name in the folder: name in the package
    optional: bool = False


def _python(version: str, abi: str) -> tuple[str, ...]:
    return ("--platform", "win_amd64", "--implementation", "cp", "--python-version", version, "--abi", abi)


def _names(package: str, *names: str) -> dict[str, str]:
    return {name.lower(): f"{package}/{name}" for name in names}


SOURCES: Final = (
    Source(
        folder="6.3.9600",  # Windows 8.1: MiniDumpWriteDump is in dbghelp.dll
        requirement="pykd==0.3.2.0 --hash=sha256:6006b3cae6c11faece8807c9d7b011db9dd5b7b7614373f9256746342596b905",
        options=(*_python("2.7", "cp27m"), "--abi", "none"),
        members=_names("pykd", "dbgeng.dll", "dbghelp.dll", "msdia120.dll", "srcsrv.dll", "symsrv.dll"),
    ),
    Source(
        folder="10.0.15063",  # the debugger engine of a newer generation
        requirement="pykd==0.3.4.15 --hash=sha256:7ba793faff3bc0082075f4f97c229b5c8bcecfb6c3e2895d30a8dbb2b7062040",
        options=(*_python("3.9", "cp39"), "--abi", "none"),
        members=_names("pykd", "dbgeng.dll", "dbghelp.dll", "DbgModel.dll", "msdia140.dll", "srcsrv.dll", "symsrv.dll"),
    ),
    Source(
        folder="10.0.22621",  # Windows 11: MiniDumpWriteDump is in dbgcore.dll
        requirement="wgc-third-party==1.0.1 "
        "--hash=sha256:e0ecdf96b305afbcb8ebade26b7ab44b694fd3d8a8bd91e48bcaa734a35ffc4c",
        options=(),
        members=_names("wgc_third_party", "dbghelp.dll", "dbgcore.dll"),
        optional=True,
    ),
)
CERTIFICATE_TABLE: Final = 4  # index of the data directory
DIGESTS: Final = {"sha1": b"\x04\x14", "sha256": b"\x04\x20"}  # DER: OCTET STRING of so many bytes


def signed_digest(image: bytes) -> str:
    """The name of the hash whose value over the PE image is in its signature; ValueError if there is none.

    Left out of the hash are the checksum, the directory entry of the signature and the signature (Windows Authenticode
    Portable Executable Signature Format).
    """
    (header,) = struct.unpack_from("<I", image, 0x3C)
    if image[header : header + 4] != b"PE\0\0":
        raise ValueError("no PE image")
    optional = header + 24
    (magic,) = struct.unpack_from("<H", image, optional)
    checksum = optional + 64
    entry = optional + (112 if magic == 0x20B else 96) + 8 * CERTIFICATE_TABLE
    at, size = struct.unpack_from("<II", image, entry)
    if size == 0 or at + size > len(image):
        raise ValueError("not signed")
    signature = image[at : at + size]
    covered = image[:checksum] + image[checksum + 4 : entry] + image[entry + 8 : at] + image[at + size :]
    for name, prefix in DIGESTS.items():
        if prefix + hashlib.new(name, covered).digest() in signature:
            if b"Microsoft Corporation" not in signature:
                raise ValueError("signed, but not by Microsoft")
            return name
    raise ValueError("the signature is of other bytes")


def fetch(source: Source, folder: Path) -> None:
    """Download one package and unpack its DLLs, each checked, into the folder."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch, "requirement.txt")
        wanted.write_text(source.requirement + "\n", "utf-8")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "download", "--no-deps"]
        pip += ["--only-binary", ":all:", "--require-hashes", *source.options, "-d", scratch, "-r", str(wanted)]
        subprocess.run(pip, check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        half = folder.with_name(folder.name + ".new")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        with zipfile.ZipFile(wheel) as packed:
            for name, member in source.members.items():
                image = packed.read(member)
                try:
                    how = signed_digest(image)
                except ValueError as error:
                    raise SystemExit(f"{wheel.name}: {member}: {error}") from error
                print(f"{source.folder}/{name}: {len(image)} bytes, {how} as signed by Microsoft")
                (half / name).write_bytes(image)
        half.rename(folder)


def main() -> int:
    """Fetch what is not there yet."""
    root = Path(sys.argv[1])
    for source in SOURCES:
        folder = root / source.folder
        if folder.is_dir():
            continue
        try:
            fetch(source, folder)
        except subprocess.CalledProcessError as error:
            if not source.optional:
                raise
            print(f"{source.folder}: cannot be had ({error}); its part is left out", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
