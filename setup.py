"""Build of the extension. All metadata stands in pyproject.toml; the C side is described in csrc/ffi_build.py."""

import sysconfig

from setuptools import setup

# On a free-threaded build cffi switches the limited API off by itself, and the tag must not promise it.
free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

setup(
    cffi_modules=["csrc/ffi_build.py:ffibuilder"],
    options={} if free_threaded else {"bdist_wheel": {"py_limited_api": "cp311"}},
)
