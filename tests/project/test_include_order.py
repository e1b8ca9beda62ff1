"""The rooms of the C tree: who may include whom, unique file names, no state outside the dumps."""

import re
import shutil
import subprocess
import tomllib
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.linux

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"

# Each room may include itself and these. session/ is the only one that sees both engine and callback.
MAY_INCLUDE = {
    "api": set(),
    "base": {"api"},
    "format": {"api", "base"},
    "filter": {"api", "base"},
    "callback": {"api", "base", "format", "filter"},
    "trace": {"api", "base", "format", "callback"},
    "source": {"api", "base", "format"},
    "linux": {"api", "base", "format", "source"},
    "sink": {"api", "base"},
    "crash": {"api", "base"},
    "input": {"api", "base"},
    "elfcore": {"api", "base", "format", "source", "input"},
    "dumpfile": {"api", "base", "format", "source", "input"},
    "engine": {"api", "base", "format", "source", "sink"},
    "windows": {"api", "base", "format", "source"},
    "dbghelp": {"api", "base", "format", "filter", "callback", "source", "windows"},
    "session": {
        "api",
        "base",
        "format",
        "filter",
        "callback",
        "trace",
        "source",
        "linux",
        "windows",
        "dbghelp",
        "sink",
        "input",
        "elfcore",
        "dumpfile",
        "engine",
    },
}

# Of dbghelp/ only what looks at the finished file again sees the callback, and of trace/ only the recorder does.
SEES_CALLBACK = {"dbghelp": {"scrub.c", "scrub_items.c"}, "trace": {"recorder.c"}}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>|(\S+))', re.MULTILINE)

FOLDERS = {"engine/streams", "engine/carried"}  # inside a room: it belongs to that room

FILES = sorted(path for path in CSRC.rglob("*") if path.suffix in {".c", ".h"})
SOURCES = [path for path in FILES if path.suffix == ".c"]


def wrong_includes(path: Path, text: str) -> list[str]:
    """What the table does not allow among the include lines of a file, with the reason."""
    room = path.relative_to(CSRC).parts[0]
    wrong = []
    for quoted, angled, other in INCLUDE.findall(text):
        if other:
            wrong.append(f"{other}: a computed include hides where it goes")
        elif angled:
            if (CSRC / angled).exists():
                wrong.append(f"<{angled}>: our own headers are included by their relative path")
        else:
            target = (path.parent / quoted).resolve()
            if not target.is_relative_to(CSRC):
                wrong.append(f'"{quoted}": leaves csrc')
            elif not target.is_file():
                wrong.append(f'"{quoted}": no such file')
            elif (other_room := target.relative_to(CSRC).parts[0]) != room and other_room not in MAY_INCLUDE[room]:
                wrong.append(f'"{quoted}": {room}/ may not include {other_room}/')
            elif other_room == "callback" and path.name not in SEES_CALLBACK.get(room, {path.name}):
                wrong.append(f'"{quoted}": of {room}/ only {sorted(SEES_CALLBACK[room])} may include callback/')
    return wrong


def test_every_file_is_in_a_room() -> None:
    """There is something to check, and nothing is outside."""
    assert len(SOURCES) > 5
    assert {path.relative_to(CSRC).parts[0] for path in FILES} <= MAY_INCLUDE.keys()
    folders = {path.parent.relative_to(CSRC).as_posix() for path in FILES}
    assert folders - MAY_INCLUDE.keys() == FOLDERS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CSRC).as_posix())
def test_rooms_include_only_what_they_may(path: Path) -> None:
    """Engine and callback meet only in the protocol header."""
    assert wrong_includes(path, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("engine/x.c", '#include "../callback/drive.h"'),
        ("callback/x.c", '#include "../engine/engine.h"'),
        ("filter/x.c", '  # include "../source/source.h"'),
        ("sink/x.c", '#include "../engine/engine.h"'),
        ("engine/streams/x.c", '#include "../../callback/drive.h"'),
        ("engine/streams/x.c", '#include "../base/vec.h"'),
        ("base/x.c", "#include <session/session.h>"),
        ("base/x.c", '#include "../../tests/native/x.h"'),
        ("base/x.c", '#include "nowhere.h"'),
        ("base/x.c", "#include WHATEVER"),
        ("dbghelp/proxy.c", '#include "../callback/redaction.h"'),
    ],
)
def test_a_wrong_include_is_found(file: str, line: str) -> None:
    """The check itself: each of these lines would be reported."""
    assert wrong_includes(CSRC / file, f"/* x */\n{line}\n") != []


def test_file_names_are_unique() -> None:
    """A name says which file is meant, in a message as in a debugger. A room may call its entry as api/ calls it."""
    for public in (True, False):
        names = Counter(path.name for path in FILES if (path.relative_to(CSRC).parts[0] == "api") is public)
        assert [name for name, count in names.items() if count > 1] == []


def is_for_windows(source: Path) -> bool:
    """What needs that system's headers."""
    return source.relative_to(CSRC).parts[0] in {"windows", "dbghelp"} or source.stem.endswith("_windows")


def writable_symbols(source: Path, target: Path, compiler: str, *options: str) -> list[str]:
    """Symbols of a C file that lie in writable memory."""
    # Not position independent: a constant table of pointers is then constant in the object file too.
    command = [compiler, "-std=c11", "-D_GNU_SOURCE", "-O0", "-w", "-fno-pic", "-c", *options, "-o", target, source]
    subprocess.run(command, check=True)
    listing = subprocess.run(["nm", "--format=posix", target], check=True, capture_output=True, text=True).stdout
    symbols = (line.split()[:2] for line in listing.splitlines())
    return [name for name, kind in symbols if kind in set("BbDdCSsGg")]


def find_compiler() -> str:
    """The C compiler, or a skip."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or shutil.which("nm") is None:
        pytest.skip("no C compiler or no nm")
    return compiler


def test_no_mutable_globals(tmp_path: Path) -> None:
    """All state hangs on a dump, so that any number may run at once; but signal handlers are given nothing."""
    compiler = find_compiler()
    found = {
        path.relative_to(CSRC).as_posix(): symbols
        for path in SOURCES
        if not is_for_windows(path) and (symbols := writable_symbols(path, tmp_path / "object.o", compiler))
    }
    assert found == {"crash/crash_handlers_posix.c": ["state"]}


def test_a_mutable_global_is_found(tmp_path: Path) -> None:
    """The check itself: fail points have a table in test builds, the one exception; and a hidden static counts."""
    compiler = find_compiler()
    failpoint = CSRC / "base" / "failpoint.c"
    assert writable_symbols(failpoint, tmp_path / "object.o", compiler, "-DMDC_FAILPOINTS") != []
    source = tmp_path / "counter.c"
    source.write_text("int next(void) { static int count; return ++count; }\n")
    assert writable_symbols(source, tmp_path / "object.o", compiler) != []


def test_versions_agree() -> None:
    """The version is in two places: for the package index and for Python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    python = re.search(r'^__version__ = "(.+)"$', (ROOT / "minidump_cffi" / "__init__.py").read_text("utf-8"), re.M)
    assert python is not None
    assert python.group(1) == project
