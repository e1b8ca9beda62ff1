"""Filters that are ready made, by name."""

from __future__ import annotations

from ..errors import FilterError
from . import _values
from ._sections import Environ, Redact, Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ._filter import Filter

_HARMLESS = (
    *(
        "PATH",
        "*PATH",
        "HOME",
        "*_HOME",
        "PWD",
        "OLDPWD",
        "*DIR",
        "*DIRS",
        "SHELL",
        "SHLVL",
        "_",
        "MAIL",
        "TMP",
        "TEMP",
    ),
    *("TERM", "TERM_*", "COLORTERM", "COLUMNS", "LINES", "DISPLAY", "LS_COLORS", "EDITOR", "VISUAL", "PAGER", "LESS*"),
    *("LANG", "LANGUAGE", "LC_*", "TZ", "USER", "USERNAME", "LOGNAME", "HOSTNAME", "HOSTTYPE", "OSTYPE", "MACHTYPE"),
    *("XDG_*", "PYTHON*", "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "CONDA_*", "LD_*", "GLIBC_*", "MALLOC_*", "OMP_*"),
    *("*_ENV", "*LEVEL", "*DEBUG*", "*VERBOSE*", "*_PORT", "*_HOST", "*_VERSION", "DEBIAN_FRONTEND", "CI"),
    *("*_SERVICE_PORT_*", "*_PORT_*_TCP*", "*_PORT_*_UDP*"),  # of Kubernetes, several for each service
)
"""Whose values are paths, locales and settings: searching for them would take the names out of a dump."""
_SECRET = (
    *("*TOKEN*", "*SECRET*", "*PASSW*", "*PASSPHRASE*", "*CREDENTIAL*", "*COOKIE*", "*_KEY", "*_KEY_*", "*APIKEY*"),
    *("*token*", "*secret*", "*passw*", "*passphrase*", "*credential*", "*cookie*", "*_key", "*_key_*", "*apikey*"),
)


def _no_environment(make: type[Filter]) -> Filter:
    return make(streams=Streams(exclude=["environ"]))


def _no_secrets(make: type[Filter]) -> Filter:
    return make(
        streams=Streams(exclude=["environ", "cmdline"]),
        redact=Redact(keys=True, environ=Environ(keep=_HARMLESS, drop=_SECRET, everywhere=True)),
    )


_PRESETS: dict[str, Callable[[type[Filter]], Filter]] = {"no-environment": _no_environment, "no-secrets": _no_secrets}
PRESETS = tuple(_PRESETS)
"""Names for `Filter.preset`, ``--preset`` and ``preset`` of a filter file."""


def preset(name: str, make: type[Filter]) -> Filter:
    """The filter with this name."""
    if not isinstance(name, str) or name not in _PRESETS:
        raise FilterError(f"preset: {name!r} is not known{_values.did_you_mean(str(name), PRESETS)}")
    return _PRESETS[name](make)
