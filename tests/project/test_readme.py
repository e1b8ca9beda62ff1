"""Every command and every Python example of the README and of docs/ runs.

Words after the language of a block: `windows`, run by a Windows CPython only; `file=NAME`, a file that later blocks or
tests/project/test_recipes.py use; `norun`, what needs other machines or programs.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import wine

pytestmark = pytest.mark.linux  # where Windows' examples are run by Wine

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^```\w+ file=(\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)")


def blocks(page: Path, language: str, *, windows: bool = False) -> list[str]:
    """The fenced blocks of a page in this language; those marked ``windows`` only where that is asked for.

    Those marked ``norun`` need other machines; those that are files are not among them.
    """
    found = [match for match in FENCE.finditer(page.read_text("utf-8")) if not re.search("norun|file=", match[2])]
    return [match[3] for match in found if match[1] == language and (windows or "windows" not in match[2])]


def commands(page: Path) -> list[str]:
    """The shell lines of a page."""
    return [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def setup_commands() -> list[str]:
    """The README's lines that begin with nothing but Python and a compiler."""
    return [line for line in commands(PAGES[0]) if "venv" in line]


@pytest.fixture
def pid() -> Iterator[int]:
    """A process that only waits."""
    program = "import sys; print('ready', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid
        assert child.poll() is None, "the process did not run on"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python examples of a page, from the top, in one namespace that has nothing else: they make what they use."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILE.findall(page.read_text("utf-8")):
        (tmp_path / name).write_text(text)
    namespace: dict[str, object] = {"__name__": "example"}
    try:
        for text in blocks(page, "python"):
            exec(compile(text, str(page), "exec"), namespace)  # the pages are ours
    finally:
        started = [value for value in namespace.values() if isinstance(value, subprocess.Popen)]
        running = [process for process in started if process.returncode is None]
        ended = [process.args for process in running if process.poll() is not None]
        for process in running:
            process.kill()
            process.communicate()
    assert not ended, "a process did not run on"


#: Runs the examples of a page in order and in one namespace.
WINDOWS_RUN = """
import subprocess, sys
from pathlib import Path
namespace = {"__name__": "example"}
for path in sys.argv[1:]:
    exec(compile(Path(path).read_text("utf-8"), path, "exec"), namespace)
for process in [value for value in namespace.values() if isinstance(value, subprocess.Popen)]:
    if process.returncode is None:
        assert process.poll() is None, "a process did not run on"
        process.kill()
        process.wait()
print("all ran")
"""


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```python windows" in page.read_text("utf-8")], ids=lambda page: page.name
)
def test_python_on_windows(page: Path, tmp_path: Path) -> None:
    """The pages that have examples for Windows, with all their examples, by a Windows CPython under Wine."""
    (tmp_path / "run.py").write_text(WINDOWS_RUN)
    texts = [text for text in blocks(page, "python", windows=True) if "2**22" not in text]  # which may be a pid there
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.py").write_text(text)
    files = [wine.windows_path(tmp_path / f"{number}.py") for number in range(len(texts))]
    done = wine.run_python(tmp_path / "run.py", *files, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all ran" in done.stdout


def test_toml_is_a_filter(tmp_path: Path) -> None:
    """Every TOML example is a filter file; those that extend others extend the first one."""
    from minidump_cffi import Filter

    texts = [text for page in PAGES for text in blocks(page, "toml")]
    assert texts
    files = [tmp_path / f"{number}.toml" for number in range(len(texts))]
    for file, text in zip([tmp_path / "base.toml", *files], [texts[0], *texts], strict=True):
        file.write_text(text, "utf-8")
        file.chmod(0o600)
    for file in files:
        made = Filter.from_file(file)
        assert made.rules
        assert Filter.from_toml(made.to_toml()) == made


def test_shell_commands(pid: int, tmp_path: Path) -> None:
    """The commands of the README that need no set-up, in order, on a running process."""
    (tmp_path / "rules.toml").write_text(blocks(PAGES[0], "toml")[0])
    found = [line for line in commands(PAGES[0]) if line not in setup_commands()]
    assert {shlex.split(line)[1] for line in found} >= {"dump", "plan", "show"}
    for line in found:
        words = [str(pid) if word == "PID" else word for word in shlex.split(line)]
        assert words[0] == "minidump-cffi"
        command = [sys.executable, "-m", "minidump_cffi", *words[1:]]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert (tmp_path / "app.dmp").read_bytes()[:4] == b"MDMP"


def shim(folder: Path) -> Path:
    """A directory for PATH with the program in it."""
    program = folder / "bin" / "minidump-cffi"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m minidump_cffi "$@"\n')
    program.chmod(0o755)
    return program.parent


def test_shell_commands_of_files(pid: int, tmp_path: Path) -> None:
    """The commands of docs/files.md, in order, on files of the names they have there."""
    (tmp_path / "rules.toml").write_text(blocks(PAGES[0], "toml")[0])
    subprocess.run(["gcore", "-o", str(tmp_path / "core"), str(pid)], check=True, capture_output=True)
    (tmp_path / f"core.{pid}").rename(tmp_path / "core.1234")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{shim(tmp_path)}:{os.environ['PATH']}"}
    (tmp_path / "dumps").mkdir()
    for name in ("app.dmp", "dumps/1.dmp", "dumps/2.dmp"):
        dump = ["minidump-cffi", "dump", str(pid), "-o", name, "--type", "full"]
        subprocess.run(dump, cwd=tmp_path, env=environment, check=True, capture_output=True)
    lines = commands(ROOT / "docs" / "files.md")
    assert len(lines) > 5
    for line in lines:
        shell = ["bash", "-o", "pipefail", "-ec", line]
        done = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.dmp", "2.dmp", "core.1234.dmp"]


#: Pages whose commands have a test of their own, or install something.
OTHERS = [ROOT / "README.md", *(ROOT / "docs" / name for name in ("cli.md", "files.md", "installation.md"))]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page not in OTHERS and commands(page)], ids=lambda page: page.name
)
def test_shell_commands_of_a_page(page: Path, pid: int, tmp_path: Path) -> None:
    """The commands of any other page, in order."""
    rules = blocks(page, "toml") or blocks(PAGES[0], "toml")
    (tmp_path / "rules.toml").write_text(rules[0])
    for line in commands(page):
        words = [str(pid) if word == "PID" else word for word in shlex.split(line)]
        assert words[0] == "minidump-cffi", line
        command = [sys.executable, "-m", "minidump_cffi", *words[1:]]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_extras_that_pages_name_exist() -> None:
    """In `pip install minidump_cffi[...]`, also where the package says what is missing."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    sources = [*PAGES, *(ROOT / "minidump_cffi").rglob("*.py")]
    named = {name for path in sources for name in re.findall(r"minidump_cffi\[([\w,]+)\]", path.read_text("utf-8"))}
    names = {part for name in named for part in name.split(",")}
    assert {"zstd", "lz4", "remote", "dask", "all"} <= names
    assert names <= extras.keys()


def test_shell_commands_of_the_command_line(pid: int, tmp_path: Path) -> None:
    """The commands of docs/cli.md, in order."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{shim(tmp_path)}:{os.environ['PATH']}"}
    lines = commands(ROOT / "docs" / "cli.md")
    assert len(lines) > 8
    for line in lines:
        shell = ["bash", "-o", "pipefail", "-ec", re.sub(r"\bPID\b", str(pid), line)]
        done = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert {"map.html", "app.html", "app.txt"} <= {path.name for path in tmp_path.iterdir()}


def test_two_commands_do_all_the_set_up() -> None:
    """One runs the demo, one runs the tests; each makes its own environment."""
    lines = setup_commands()
    assert len(lines) == 2
    assert all(line.startswith("python3 -m venv .venv && .venv/bin/pip install") for line in lines)
    assert lines[0].endswith(".venv/bin/minidump-cffi demo")
    assert lines[1].endswith(".venv/bin/python -m pytest")


@pytest.mark.skipif(
    not os.environ.get("MDC_README_SETUP"), reason="builds the package: set MDC_README_SETUP=1 (needs a package index)"
)
def test_demo_command_from_nothing(tmp_path: Path) -> None:
    """The first command of the README, in a fresh copy of the sources."""
    copy = tmp_path / "copy"
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listing.decode().split("\0")):
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        ["sh", "-c", setup_commands()[0]], cwd=copy, capture_output=True, text=True, env=environment, timeout=280
    )
    assert done.returncode == 0, done.stderr
    assert "the secret is not there" in done.stdout
    # The sources are in the way of a package that is installed elsewhere; they are the package that was installed.
    module = [str(copy / ".venv" / "bin" / "python"), "-m", "minidump_cffi", "--version"]
    assert subprocess.run(module, cwd=copy, capture_output=True, text=True, env=environment).returncode == 0


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    """Links to files of the project; what is on the net is not looked at."""
    for link in LINK.findall(page.read_text("utf-8")):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def test_exit_statuses_are_those_of_the_code() -> None:
    """The table of the README names every status."""
    from minidump_cffi.cli.console import Exit

    text = PAGES[0].read_text("utf-8")
    table = text[text.index("| exit status |") :].split("\n\n")[0]
    assert {int(row.split("|")[1]) for row in table.splitlines()[2:]} == {status.value for status in Exit}


def test_figures_are_those_of_a_whole_run() -> None:
    """The page is generated; a quick run would be marked, and nothing of the machine but its kind may be in it."""
    text = (ROOT / "docs" / "figures.md").read_text("utf-8")
    assert "mean nothing" not in text
    for group in ("callback", "filter", "Whole dump: 1 GiB", "500 threads", "Memory of the target"):
        assert group in text
    assert re.search(r"(?<![\w.])/(home|root|tmp|usr|dev|work)\b", text) is None
