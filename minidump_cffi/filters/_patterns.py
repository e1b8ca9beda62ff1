"""What is searched for in memory to be overwritten: bytes, what follows them, and the usual forms of keys."""

from __future__ import annotations

from .._record import Record
from ..errors import FilterError
from . import _values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    Tail: TypeAlias = tuple[tuple[int, int, int, int], int, bool]
    """The set of bytes in four words, how many units, whether they are UTF-16."""

SPAN = 16384
"""Bytes of a pattern with its tail: MDC_PATTERN_SPAN_MAX."""


class Pattern(Record):
    r"""Bytes that are overwritten in the dump wherever they are, and what follows them.

    Parameters
    ----------
    start : bytes or str
        4 to 4,096 bytes, or text, which is encoded as UTF-8.
    then : str, bytes or None
        The bytes that belong to it after `start`: a set in brackets as in globs, such as ``"[0-9A-Za-z_-]"`` or
        ``"[!\n]"`` (all others). There are no escapes; ``-`` stands for itself at either end.
    up_to : int
        How many of them at most. With its tail a pattern has at most 16,384 bytes.
    utf16 : bool
        Whether it is also searched for as UTF-16 (little endian), as Windows, Java and .NET keep texts.

    Attributes
    ----------
    start : bytes
        What is searched for. `repr` does not show it.
    then : bytes
        The set; empty if nothing follows.
    up_to : int
        Of the tail, characters.
    utf16 : bool
        Whether UTF-16 is searched for, too.

    Raises
    ------
    FilterError
        A value is wrong; the message does not show `start`.

    Examples
    --------
    >>> Pattern(b"sk_live_", then="[0-9A-Za-z]", up_to=64)
    Pattern(<8 bytes>, then=b'[0-9A-Za-z]', up_to=64, utf16=False)
    """

    start: bytes
    then: bytes
    up_to: int
    utf16: bool

    def __init__(
        self, start: bytes | str, *, then: str | bytes | None = None, up_to: int = 0, utf16: bool = False
    ) -> None:
        if not isinstance(utf16, bool):
            raise FilterError(f"utf16: expected true or false, not {utf16!r}")
        self._put("start", _values.pattern(start, "start"))
        self._put("then", _set_text(then) if then else b"")
        self._put("up_to", up_to)
        self._put("utf16", utf16)
        unit = 2 if utf16 else 1
        if utf16 and (len(self.start.decode("utf-8", "ignore").encode()) != len(self.start)):
            raise FilterError("start: with utf16 it has to be text")
        if isinstance(up_to, bool) or not isinstance(up_to, int) or up_to < 0:
            raise FilterError(f"up_to: expected how many bytes may follow, not {up_to!r}")
        if bool(self.then) != bool(up_to):
            raise FilterError("then and up_to belong together: which bytes follow, and how many of them at most")
        if unit * (len(self.start) + up_to) > SPAN:
            raise FilterError(f"up_to: with its tail a pattern has at most {SPAN:,} bytes (in UTF-16 half as many)")

    def __repr__(self) -> str:
        more = "".join(f", {name}={getattr(self, name)!r}" for name in ("then", "up_to", "utf16"))
        return f"Pattern(<{len(self.start)} bytes>{more})"

    def forms(self) -> list[tuple[bytes, Tail | None]]:
        """What is searched for: bytes, and the tail."""
        words = byte_set(self.then) if self.then else None
        found: list[tuple[bytes, Tail | None]] = [(self.start, words and (words, self.up_to, False))]
        if self.utf16:
            found.append((self.start.decode().encode("utf-16-le"), words and (words, self.up_to, True)))
        return found


def _set_text(value: object) -> bytes:
    if isinstance(value, str):
        try:
            value = value.encode("ascii")
        except UnicodeEncodeError:
            raise FilterError("then: a text has ASCII letters only; give bytes for others") from None
    if not isinstance(value, bytes):
        raise FilterError(f"then: expected a set such as '[0-9A-Za-z]', not {value!r}")
    if not (value.startswith(b"[") and value.endswith(b"]") and len(value) > 2):
        raise FilterError(f"then: {value.decode('ascii', 'backslashreplace')!r} is not a set such as '[0-9A-Za-z]'")
    byte_set(value)
    return value


def byte_set(then: bytes) -> tuple[int, int, int, int]:
    """The bytes of a set such as ``[0-9A-F]`` as bits of four words."""
    body = then[1:-1]
    inverted = body[:1] in (b"!", b"^") and len(body) > 1
    body = body[1:] if inverted else body
    bits, at = 0, 0
    while at < len(body):
        first = last = body[at]
        if body[at + 1 : at + 2] == b"-" and at + 2 < len(body):
            last = body[at + 2]
            at += 2
        if first > last:
            raise FilterError(f"then: the range {chr(first)}-{chr(last)} runs backwards")
        bits |= ((1 << (last - first + 1)) - 1) << first
        at += 1
    bits = bits ^ ((1 << 256) - 1) if inverted else bits
    word = (1 << 64) - 1
    return bits & word, bits >> 64 & word, bits >> 128 & word, bits >> 192 & word


def pattern(value: object, number: int) -> bytes | Pattern:
    """One of `Redact.patterns`: bytes where nothing else is said."""
    if isinstance(value, Pattern):
        return value if value.then or value.utf16 else value.start
    return _values.pattern(value, f"redact.patterns: pattern {number}")


_BASE64URL = "[A-Za-z0-9._=-]"
_TOKEN = "[A-Za-z0-9_-]"
_ASSIGNED = "[A-Za-z0-9+/= :\"'\t,]"


def _key(starts: Iterable[str], then: str, up_to: int) -> tuple[Pattern, ...]:
    return tuple(Pattern(start, then=then, up_to=up_to, utf16=True) for start in starts)


def _jwt() -> tuple[Pattern, ...]:
    """The base64 of ``{"`` and a lower-case letter: the header of a token is JSON, its first key one of RFC 7515."""
    return _key([f"eyJ{letter}" for letter in "hijklmnopqrstuvwxyz0123456"], _BASE64URL, 8000)


def _pem() -> tuple[Pattern, ...]:
    kinds = ("", "RSA ", "EC ", "DSA ", "ENCRYPTED ", "OPENSSH ", "ANY ")
    starts = [f"-----BEGIN {kind}PRIVATE KEY-----" for kind in kinds]
    # Base64 with line ends, also as \n of JSON; headers of RFC 1421 and of OpenPGP; the line that ends it.
    return _key([*starts, "-----BEGIN PGP PRIVATE KEY BLOCK-----"], "[A-Za-z0-9+/=\r\n\\ :,.()-]", 8000)


_CLASSES: dict[str, Callable[[], tuple[Pattern, ...]]] = {
    "aws": lambda: (
        *_key(("AKIA", "ASIA"), "[A-Z0-9]", 124),
        *_key(
            (
                *("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "SecretAccessKey", "secretAccessKey"),
                *("aws_session_token", "AWS_SESSION_TOKEN", "SessionToken", "sessionToken"),
            ),
            _ASSIGNED,
            4000,
        ),
    ),
    "bearer": lambda: (
        *_key(("Bearer ", "bearer ", "BEARER "), "[A-Za-z0-9._~+/=-]", 8000),
        *_key(("Authorization: ", "authorization: ", "AUTHORIZATION: "), "[ -~]", 8000),
    ),
    "github": lambda: _key(("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"), _TOKEN, 255),
    "google": lambda: _key(("AIza", "ya29."), _TOKEN, 2048),
    "jwt": _jwt,
    "pem": _pem,
    "slack": lambda: _key(("xoxa-", "xoxb-", "xoxe-", "xoxp-", "xoxr-", "xoxs-", "xapp-"), _TOKEN, 255),
    "stripe": lambda: _key(("sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"), "[A-Za-z0-9_+/=]", 255),
}
KEYS = tuple(_CLASSES)
"""Names of the forms of keys that are known."""

_made: dict[str, tuple[Pattern, ...]] = {}


def of_keys(name: str) -> tuple[Pattern, ...]:
    """The patterns of a form of keys."""
    if name not in _made:
        _made[name] = _CLASSES[name]()
    return _made[name]


def key_names(value: object) -> tuple[str, ...]:
    """`keys=` of Redact: all of them, or those with these names."""
    if value is True:
        return KEYS
    if value is False or value is None:
        return ()
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple, set, frozenset)):
        raise FilterError(f"redact.keys: expected true, or names of {', '.join(KEYS)}, not {value!r}")
    for name in names:
        if name not in KEYS:
            raise FilterError(f"redact.keys: {name!r} is not known{_values.did_you_mean(str(name), KEYS)}")
    return tuple(name for name in KEYS if name in names)
