"""Build of the extension. All metadata stands in pyproject.toml; the C side is described in csrc/ffi_build.py."""

import sysconfig
from pathlib import Path

from setuptools import setup

# The public headers are part of the package (minidump_cffi.get_include), but have one home: csrc/api.
root = Path(__file__).resolve().parent
installed = root / "minidump_cffi" / "include" / "minidump_cffi"
installed.mkdir(parents=True, exist_ok=True)
headers = {path.name: path.read_bytes() for path in (root / "csrc" / "api").glob("*.h")}
for stale in installed.iterdir():
    if stale.name not in headers:
        stale.unlink()
for name, text in headers.items():
    if not (installed / name).is_file() or (installed / name).read_bytes() != text:
        (installed / name).write_bytes(text)

# On a free-threaded build cffi switches the limited API off by itself, and the tag must not promise it.
free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

setup(
    cffi_modules=["csrc/ffi_build.py:ffibuilder"],
    options={} if free_threaded else {"bdist_wheel": {"py_limited_api": "cp311"}},
)
