"""Values of variables that are hidden everywhere, keys of known forms, patterns with tails, and presets."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import secrets
import shutil
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import minidumps
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import minidump_cffi as md
from minidump_cffi.filters import KEYS, PRESETS, Environ
from minidump_cffi.report import DumpWarning

FULL = md.DumpType.WITH_FULL_MEMORY
ENVIRON, CMDLINE = 0x47670007, 0x47670006
TOKEN = "Zq7-k9LmN0pQrS.TuV_wX/" * 2
LONG = "".join(f"{number:06}|" for number in range(500))  # more than one piece, none of which is like another
ARGUMENTS = ["c0rrect-horse-1", "c0rrect-horse-2", "c0rrect-horse-3"]
OPTIONS = [
    f"--api-token={ARGUMENTS[0]}",
    "--MY_TOKEN",
    ARGUMENTS[1],
    f"LONG={ARGUMENTS[2]}",
    "--token",
    "--tokens=visible",
]
COPIES = """
import os, sys
token = os.environ["API_TOKEN"]
kept = [token + "!", token.encode() + b"?", "x" * 5000 + token, token.encode("utf-16-le"), [token[:9], token[9:]]]
kept.append(os.environ["LONG"] + "end")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def copies() -> Iterator[int]:
    """A Python with copies of its variables on heap and stack."""
    environ = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    environ |= {"PATH": "/usr/bin:/bin", "API_TOKEN": TOKEN, "SHORT_TOKEN": "q7~", "EMPTY_TOKEN": "", "LONG": LONG}
    command = [sys.executable, "-c", COPIES, *OPTIONS]
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.stdin.close()


def everywhere(*drop: str, **more: bool) -> md.Filter:
    return md.Filter(redact=md.Redact(environ={"drop": drop, "everywhere": True}, **more))


def forms(value: str) -> list[bytes]:
    return [value.encode(), value.encode("utf-16-le")]


HIDDEN = everywhere("*TOKEN", "LONG")


def test_no_copy_of_a_value_is_in_the_dump(copies: int, tmp_path: Path) -> None:
    """Of a Linux process, whose environment is bytes, and of one of Windows, where it is UTF-16."""
    path = tmp_path / "plain.dmp"
    md.write_dump(copies, path, FULL, engine="native")
    plain = path.read_bytes()
    assert plain.count(TOKEN.encode()) >= 3 and plain.count(TOKEN.encode("utf-16-le")) >= 1
    assert sum(plain.count(form) for form in forms(LONG)) >= 3
    unit = "utf-16-le" if sys.platform == "win32" else "ascii"
    short = "\0SHORT_TOKEN=q7~\0".encode(unit)
    assert short in plain

    report = md.write_dump(copies, path, FULL, filter=HIDDEN, engine="native")
    data = path.read_bytes()
    for value in (TOKEN, LONG, LONG[:1024], LONG[1024:2048]):
        assert not any(form in data for form in forms(value))
    # In the environment alone: the C library of Windows has a copy of that on the heap.
    assert data.count(short) < plain.count(short) and "\0SHORT_TOKEN=".encode(unit) in data
    assert report.redaction is not None
    assert report.redaction.short_values == 1
    assert report.redaction.searched_values >= (2 if sys.platform == "win32" else 2 + len(ARGUMENTS))
    assert report.redaction.variables == 4
    assert not report.warnings & DumpWarning.VALUES_UNKNOWN
    assert TOKEN.encode() not in report.to_json().encode()
    # The values are forgotten: nothing stays in the filter.
    assert md.write_dump(copies, path, FULL, engine="native").redaction is None
    assert TOKEN.encode() in path.read_bytes()


@pytest.mark.linux
def test_a_callback_forgets_the_values_of_the_last_dump(copies: int, tmp_path: Path) -> None:
    path = tmp_path / "app.dmp"
    with md.Callback(everywhere("API_*")) as callback:
        md.write_dump(copies, path, FULL, callback=callback)
        assert TOKEN.encode() not in path.read_bytes()
        with subprocess.Popen(["sleep", "60"], env={"OTHER": TOKEN, "API_KEY": "another value"}) as other:
            md.write_dump(other, path, FULL, callback=callback)
            other.kill()
        assert TOKEN.encode() in path.read_bytes() and b"another value" not in path.read_bytes()


@pytest.mark.linux
def test_options_of_the_command_line_are_hidden_by_the_names_of_variables(copies: int, tmp_path: Path) -> None:
    path, again = tmp_path / "app.dmp", tmp_path / "again.dmp"
    md.write_dump(copies, path, FULL)
    assert all(path.read_bytes().count(value.encode()) >= 3 for value in ARGUMENTS)
    md.write_dump(md.DumpFile(path), again, filter=HIDDEN)
    md.write_dump(copies, path, FULL, filter=HIDDEN)
    for data in (path.read_bytes(), again.read_bytes()):
        assert not any(form in data for value in ARGUMENTS for form in forms(value))
        assert b"--api-token=XXXX" in data and b"--MY_TOKEN\0XXXX" in data and b"--tokens=visible" in data
    md.write_dump(copies, path, FULL, filter=HIDDEN | md.Filter(streams={"exclude": ["cmdline"]}))
    assert not any(form in path.read_bytes() for value in ARGUMENTS for form in forms(value))
    md.write_dump(copies, path)
    md.write_dump(md.DumpFile(path), again, filter=HIDDEN)  # the stream alone
    assert b"--api-token=XXXX" in again.read_bytes()


@pytest.mark.linux
def test_of_a_dump_and_of_its_environment_alone(copies: int, tmp_path: Path) -> None:
    """From memory, and where only the stream has it (a Normal dump holds little of the stack)."""
    plain, again = tmp_path / "plain.dmp", tmp_path / "again.dmp"
    for kind in (FULL, md.DumpType.NORMAL):
        md.write_dump(copies, plain, kind)
        report = md.write_dump(md.DumpFile(plain), again, filter=HIDDEN)
        data = again.read_bytes()
        assert TOKEN.encode() in plain.read_bytes() and b"API_TOKEN=XXXX" in data
        assert not any(form in data for form in (*forms(TOKEN), *forms(LONG[:1024])))
        assert not report.warnings & DumpWarning.VALUES_UNKNOWN
        # The stream is left out, and its values are searched for all the same.
        left_out = HIDDEN | md.Filter(streams={"exclude": ["environ"]})
        md.write_dump(md.DumpFile(plain), again, filter=left_out)
        assert not any(form in again.read_bytes() for form in (*forms(TOKEN), *forms(LONG[:1024])))
    md.write_dump(copies, plain, FULL, filter=md.Filter(streams={"exclude": ["environ"]}))
    report = md.write_dump(md.DumpFile(plain), again, filter=HIDDEN)
    assert report.redaction is not None and report.redaction.variables == 0


@pytest.mark.linux
def test_of_a_core(copies: int, tmp_path: Path) -> None:
    import cores  # it imports what Windows does not have

    if shutil.which("gcore") is None:
        cores.missing("no gcore")
    subprocess.run(["gcore", "-o", tmp_path / "core", str(copies)], check=True, capture_output=True)
    core = tmp_path / f"core.{copies}"
    assert TOKEN.encode() in core.read_bytes()
    report = md.write_dump(md.CoreFile(core), tmp_path / "app.dmp", FULL, filter=HIDDEN)
    data = (tmp_path / "app.dmp").read_bytes()
    assert not any(form in data for form in (*forms(TOKEN), *forms(LONG[:1024])))
    assert report.redaction is not None and report.redaction.searched_values >= 2 + len(ARGUMENTS)


def test_without_an_environment_there_is_a_warning() -> None:
    writer = minidumps.Writer()
    writer.system(9)
    writer.memory64([(0x1000, bytes(4096))])
    report = md.write_dump(md.DumpFile(io.BytesIO(writer.finish(flags=2))), io.BytesIO(), filter=everywhere("*"))
    assert report.warnings & DumpWarning.VALUES_UNKNOWN
    assert any("environment" in message for message in report.messages)


def pieces(value: bytes) -> list[bytes]:
    """What is searched for, the plain way: 1,024 bytes each, the last one at least 4; ASCII as UTF-16 too."""
    if len(value) < 4:
        return []
    found = []
    for form in [value, value.decode("latin-1").encode("utf-16-le")] if value.isascii() else [value]:
        unit = len(form) // len(value)
        cut = [form[at : at + 1024] for at in range(0, len(form), 1024)]
        cut[-1] = form[-max(len(cut[-1]), 4 * unit) :]
        found += cut
    return found


def hidden(data: bytes, patterns: list[bytes]) -> bytes:
    out = bytearray(data)
    for pattern in patterns:
        at = -1
        while (at := data.find(pattern, at + 1)) >= 0:
            out[at : at + len(pattern)] = b"X" * len(pattern)
    return bytes(out)


@given(
    values=st.lists(st.one_of(st.text("ab1/", max_size=9).map(str.encode), st.binary(max_size=12)), max_size=5),
    long=st.integers(0, 2100),
    seed=st.integers(0, 1 << 30),
    buffer=st.sampled_from([4096, 1 << 20]),
)
@example(values=[b"true", b"1", b"/", b"tru"], long=1025, seed=1, buffer=4096)
@settings(max_examples=40, deadline=None)
def test_values_against_plain_python(values: list[bytes], long: int, seed: int, buffer: int) -> None:
    """Memory made of values, parts of them and copies over borders; overlapping values, common words."""
    draw = random.Random(seed)
    values = [value.replace(b"\0", b"0") for value in values] + [bytes(draw.choice(b"abc|") for _ in range(long))]
    environ = b"".join(b"V%d=%s\0" % pair for pair in enumerate(values)) + b"KEEP=ab1/ab1/\0"
    wide = [value.decode("latin-1").encode("utf-16-le") for value in values]
    parts = [*values, *wide, b"\0", b"a", b"ab1/", bytes(4000)]
    memory = bytes(draw.randrange(9000)) + b"".join(draw.choice(parts) for _ in range(40))
    memory = memory[: len(memory) // 3 * 3]
    third = len(memory) // 3
    writer = minidumps.Writer()
    writer.system(9)
    writer.stream(ENVIRON, environ)
    writer.memory64([(0x10000 + at * third, memory[at * third : (at + 1) * third]) for at in range(3 if third else 0)])
    out = io.BytesIO()
    made = md.Filter(redact=md.Redact(environ={"drop": ["V*"], "everywhere": True}))
    source = md.DumpFile(io.BytesIO(writer.finish(flags=2)))
    report = md.write_dump(source, out, filter=made, options=md.EngineOptions(buffer_bytes=buffer))
    patterns = [piece for value in values for piece in pieces(value)]
    with md.open_dump(io.BytesIO(out.getvalue())) as dump:
        if third:
            assert dump.read(0x10000, 3 * third) == hidden(memory, patterns)
    assert report.redaction is not None
    assert report.redaction.short_values == sum(0 < len(value) < 4 for value in set(values))
    assert report.redaction.searched_values == sum(len(value) >= 4 for value in set(values))


@pytest.mark.linux
def test_short_values_of_options_and_those_that_begin_with_a_dash(tmp_path: Path) -> None:
    """In the command line: its stream, and its memory on the stack. Of a process and of its dump."""
    options = ["--pin", "739", "--DB-password", "zz9", "--api-token", "-abcdefghijk", "--api-key=ab=", "--pin", "--all"]
    line = "\0".join(options).encode()
    fills = [b"X" * size for size in (3, 3, 12, 3)]  # as long as what they hide
    shown = b"--pin\0%b\0--DB-password\0%b\0--api-token\0%b\0--api-key=%b\0--pin\0--all\0" % tuple(fills)
    filter = everywhere("PIN", "*_TOKEN", "*PASSWORD*", "*_KEY")
    plain, again = tmp_path / "plain.dmp", tmp_path / "again.dmp"
    command = ["sh", "-c", "echo ready; read line", *options]
    with subprocess.Popen(command, env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None and process.stdout.readline() == "ready\n"
        for kind in (md.DumpType.NORMAL, FULL):
            md.write_dump(process.pid, plain, kind)
            assert plain.read_bytes().count(line) >= 2
            for source in (process.pid, md.DumpFile(plain)):
                report = md.write_dump(source, again, kind, filter=filter)
                data = again.read_bytes()
                assert line not in data and data.count(shown) >= 2 and b"-abcdefghijk" not in data
                assert report.redaction is not None and report.redaction.variables == 0
                assert (report.redaction.searched_values, report.redaction.short_values) == (1, 3)
        process.stdin.close()


@pytest.mark.linux
def test_equal_values_count_once(tmp_path: Path) -> None:
    """Many variables with one value, and as many arguments as can be searched for, in memory and in a text."""
    environ = {f"S{number}_TOKEN": "one value for all" for number in range(4500)}
    arguments = [f"A{number}_TOKEN=value{number:05}" for number in range(2000)]
    command = ["sh", "-c", "echo ready; read line", *arguments]
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None and process.stdout.readline() == "ready\n"
        report = md.write_dump(process.pid, tmp_path / "app.dmp", filter=everywhere("*_TOKEN"))
        process.stdin.close()
    data = (tmp_path / "app.dmp").read_bytes()
    assert b"one value" not in data and b"=value0" not in data
    assert report.redaction is not None and report.redaction.searched_values == 2001


def test_too_many_values_are_an_error_and_leave_no_file(tmp_path: Path) -> None:
    writer = minidumps.Writer()
    writer.system(9)
    writer.stream(ENVIRON, b"".join(b"A%d=value-%d\0" % (number, number) for number in range(3000)))
    with pytest.raises(md.FilterError, match="more values than can be searched for"):
        md.write_dump(md.DumpFile(io.BytesIO(writer.finish())), tmp_path / "app.dmp", filter=everywhere("*"))
    assert not list(tmp_path.iterdir())


def test_the_preset_takes_the_variables_of_many_services(tmp_path: Path) -> None:
    """Kubernetes sets some for each service; they are addresses. A secret among such names is hidden all the same."""
    ends = (
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_HTTP",
        "PORT",
        "PORT_80_TCP",
        "PORT_80_TCP_PROTO",
        "PORT_80_TCP_ADDR",
    )
    entries = [f"APP{at}_{end}=tcp://10.0.{at % 256}.1:{at}" for at in range(2000) for end in ends]
    writer = minidumps.Writer()
    writer.system(9)
    writer.stream(ENVIRON, b"".join(entry.encode() + b"\0" for entry in [*entries, "A_SERVICE_PORT_TOKEN=swordfish"]))
    report = md.write_dump(
        md.DumpFile(io.BytesIO(writer.finish())), tmp_path / "app.dmp", filter=md.Filter.preset("no-secrets")
    )
    assert report.redaction is not None and report.redaction.searched_values == 1


# ---------------------------------------------------------------------------------------------------------------- keys


def _letters(count: int, letters: str = string.ascii_letters + string.digits) -> str:
    return "".join(secrets.choice(letters) for _ in range(count))


def _base64(size: int) -> str:
    return base64.b64encode(secrets.token_bytes(size)).decode()


def _jwt(size: int) -> str:
    parts = [json.dumps({"alg": "RS256", "typ": "JWT"}).encode(), json.dumps({"sub": _letters(size)}).encode()]
    parts.append(secrets.token_bytes(256))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def _pem(kind: str, size: int, end: str = "\n") -> str:
    body = _base64(size)
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return end.join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""])


GENERATED = {
    "aws": lambda: [
        f"AKIA{_letters(16, string.ascii_uppercase + string.digits)}",
        f"aws_secret_access_key = {_base64(30)}",
        f'SecretAccessKey": "{_base64(30)}"',
        f"AWS_SESSION_TOKEN={_base64(600)}",
    ],
    "bearer": lambda: [f"Bearer {_letters(40)}", f"Authorization: Basic {_base64(30)}", f"bearer {_base64(48)}"],
    "github": lambda: [f"ghp_{_letters(36)}", f"github_pat_{_letters(22)}_{_letters(59)}"],
    "google": lambda: [f"AIza{_letters(35)}", f"ya29.{_letters(120)}"],
    "jwt": lambda: [_jwt(10), _jwt(1500)],
    "pem": lambda: [
        _pem("PRIVATE KEY", 138),
        _pem("RSA PRIVATE KEY", 2349, "\r\n"),
        _pem("EC PRIVATE KEY", 121, "\\n"),
        _pem("OPENSSH PRIVATE KEY", 400),
    ],
    "slack": lambda: [f"xoxb-{_letters(12)}-{_letters(24)}"],
    "stripe": lambda: [f"sk_live_{_letters(99)}", f"whsec_{_letters(32)}"],
}


@pytest.mark.parametrize("wide", [False, True])
def test_keys_are_hidden_whole_and_nothing_else(wide: bool) -> None:
    assert set(GENERATED) == set(KEYS)
    for name in KEYS:
        keys = GENERATED[name]()
        around = ["plain text before\0", "\0and after. Bear in mind, eyes, AKI, --BEGIN CERTIFICATE--"]
        text = "".join(f"{around[0]}{key}{around[1]}" for key in keys)
        shown = "".join(f"{around[0]}{'X' * len(key)}{around[1]}" for key in keys)
        data, wanted = text.encode(), shown.encode()
        if wide:
            data = text.encode("utf-16-le")
            wanted = b"".join(b"X" * len(k.encode("utf-16-le")) if i % 2 else k.encode("utf-16-le")
                              for i, k in enumerate(_split(text, keys)))  # fmt: skip
        writer = minidumps.Writer()
        writer.system(9)
        writer.memory64([(0x10000 + 4096 - 100, data)])
        out = io.BytesIO()
        made = md.Filter(redact=md.Redact(keys=[name]))
        md.write_dump(md.DumpFile(io.BytesIO(writer.finish(flags=2))), out, filter=made)
        with md.open_dump(io.BytesIO(out.getvalue())) as dump:
            assert dump.read(0x10000 + 4096 - 100, len(data)) == wanted, name


def _split(text: str, keys: list[str]) -> list[str]:
    """The text as what is around keys and keys, by turns."""
    parts = []
    for key in keys:
        before, _, text = text.partition(key)
        parts += [before, key]
    return [*parts, text]


# ----------------------------------------------------------------------------------------------------- how it is said


def test_patterns_with_tails_in_toml_and_refused() -> None:
    made = md.Filter(
        redact=md.Redact(
            patterns=[
                "plain",
                md.Pattern(b"sk_live_", then="[0-9A-Za-z]", up_to=64),
                md.Pattern(b"\xff\xfe\xfd\xfc", then=b"[\x80-\xff]", up_to=9),
                md.Pattern("wide", utf16=True),
            ],
            keys="jwt",
            environ={"drop": ["*"], "everywhere": True},
        )
    )
    assert md.Filter.from_toml(made.to_toml()) == made.compile()
    assert md.Pattern("plain") not in made.redact.patterns and b"plain" in made.redact.patterns
    assert "sk_live" not in repr(made) and "wide" not in repr(made.redact.all_patterns())
    for text, why in (
        ('patterns = [{ text = "sk_live_", then = "0-9", up_to = 3 }]', "not a set"),
        ('patterns = [{ text = "sk_live_", then = "[9-0]", up_to = 3 }]', "backwards"),
        ('patterns = [{ text = "sk_live_", then = "[0-9]" }]', "belong together"),
        ('patterns = [{ text = "sk_live_", then = "[0-9]", up_to = 16377 }]', "at most 16,384"),
        ('patterns = [{ text = "sk_live_", hex = "00" }]', "written neither"),
        ('patterns = [{ text = "sk_live_", them = "[0-9]" }]', "did you mean 'then'"),
        ('patterns = [{ hex = "ffffffff", utf16 = true }]', "has to be text"),
        ('keys = ["jwd"]', "did you mean 'jwt'"),
        ("environ = { everywhere = true }", "of which variables"),
        ('environ = { drop = ["*"], everywhere = 1 }', "true or false"),
    ):
        with pytest.raises(md.FilterError, match=why) as caught:
            md.Filter.from_toml(f"[redact]\n{text}\n")
        assert "sk_live_" not in str(caught.value) or "such as" in str(caught.value) or "neither" in why


def test_presets_compose_and_are_in_files(tmp_path: Path) -> None:
    preset = md.Filter.preset("no-secrets")
    both = md.Filter(md.exclude(kind="file")) | preset
    assert both.redact == preset.redact and both.streams == preset.streams and len(both) == 1
    assert md.Filter.from_toml(preset.to_toml()) == preset
    assert md.Filter.from_toml('preset = "no-secrets"') == preset
    (tmp_path / "base.toml").write_text('[streams]\nexclude = ["auxv"]\n')
    (tmp_path / "top.toml").write_text('preset = ["no-environment", "no-secrets"]\nextends = "base.toml"\n')
    assert md.Filter.from_file(tmp_path / "top.toml").streams.exclude.name == "CMDLINE|ENVIRON|AUXV"
    with pytest.raises(md.FilterError, match=r"filter:2: preset: 'no-secret' is not known; did you mean 'no-secrets'"):
        md.Filter.from_toml('\npreset = "no-secret"')
    for name in PRESETS:
        md.Filter.preset(name).compile()


@pytest.mark.linux
def test_no_secrets_of_a_process(copies: int, tmp_path: Path) -> None:
    path = tmp_path / "app.dmp"
    command = [sys.executable, "-m", "minidump_cffi", "dump", str(copies), "-o", str(path), "--type", "full"]
    done = subprocess.run([*command, "--preset", "no-secrets"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    data = path.read_bytes()
    assert not any(form in data for form in forms(TOKEN))
    assert b"API_TOKEN=" + TOKEN.encode()[:1] not in data
    with md.open_dump(path) as dump:
        assert {stream.type for stream in dump.streams}.isdisjoint({ENVIRON, CMDLINE})
        assert any(module.path.endswith("libc.so.6") for module in dump.modules)  # names are not harmed
    wrong = subprocess.run([*command, "--preset", "no-secret"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2 and "did you mean 'no-secrets'?" in wrong.stderr


def test_everything_is_checked_by_name() -> None:
    assert Environ(drop=["*"], everywhere=True) != Environ(drop=["*"])
    with pytest.raises(md.FilterError, match="up_to"):
        md.Pattern(b"sk_live_", then="[0-9]", up_to=-1)
    with pytest.raises(md.FilterError, match="4 to 4,096"):
        md.Pattern(b"sk_", then="[0-9]", up_to=1)
