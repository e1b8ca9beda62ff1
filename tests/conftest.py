"""Fixtures for all tests, and what of the suite is run where.

What needs Linux is marked ``linux`` (a test or, with ``pytestmark``, a module) or uses a fixture that starts a Linux
target; elsewhere it is not collected. Modules that cannot even be imported elsewhere are
`LINUX_MODULES`.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import corpus
import hypothesis
import live
import pytest

# No test here depends on how fast the machine is. Elsewhere than on Linux the same code gets fewer examples.
hypothesis.settings.register_profile(
    "minidump_cffi",
    deadline=None,
    max_examples=100 if sys.platform == "linux" else 25,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("minidump_cffi")

LINUX = sys.platform == "linux"
POSIX_IMPORT = re.compile(r"^import (crashing|fcntl|pty|resource)$", re.MULTILINE)  # which Windows does not have
LINUX_MODULES = [
    "test_api_sinks.py",
    "test_recipes.py",
    *(path.name for path in live.HERE.glob("*/test_*.py") if POSIX_IMPORT.search(path.read_text("utf-8"))),
]
LINUX_FIXTURES = {"start_pattern", "pattern_program"}
WINDOWS_MODULES = (
    "test_windows_api.py",
    "test_windows_conformance.py",
    "test_windows_members.py",
    "test_windows_microsoft.py",
)
# .ci/windows runs them.
ignored = list(WINDOWS_MODULES) if LINUX else LINUX_MODULES
if not LINUX and not os.environ.get("MDC_DBGHELP"):
    ignored.append("test_windows_microsoft.py")  # with Microsoft's dbghelp only
collect_ignore_glob = [f"*/{name}" for name in ignored]

LAST_MODULE = "test_debugger_corpus.py"

# Under MDC_STRICT_SKIPS (the Windows run of CI) a skip for any other reason is a failure.
KNOWN_SKIPS = (
    r"(no C compiler|clang is not installed)",  # a Windows CPython brings none
    r"(is no program of Windows|obj2yaml is not installed)$",  # readers
    r"MDC_README_SETUP",
    r"(initdb|postgres|java|go|rustc|node) is not installed( whole| for this user)?: ",  # real programs, where they are
    r"not asserted of dbghelp",  # tables say what an engine does not do
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out what needs another system; what reads the dumps of all others comes last."""
    items.sort(key=lambda item: item.path.name == LAST_MODULE)
    if LINUX:
        return
    here, elsewhere = [], []
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        (elsewhere if item.get_closest_marker("linux") or fixtures & LINUX_FIXTURES else here).append(item)
    items[:] = here
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """An unexpected skip is a failure on request."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if exitstatus != 0 or reporter is None or os.environ.get("MDC_STRICT_SKIPS", "") in ("", "0"):
        return
    reasons = {str(report.longrepr[2]) for report in reporter.stats.get("skipped", ())}
    strange = sorted(reason for reason in reasons if not any(re.search(known, reason) for known in KNOWN_SKIPS))
    if strange:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line("skipped for unexpected reasons: " + "; ".join(strange), red=True)


def pytest_configure() -> None:
    """Let the programs that tests start find the package that is tested here, wherever they run, and no other."""
    # A shell starts what runs in the background with SIGINT ignored, and children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    found = importlib.util.find_spec("minidump_cffi")
    if found is not None and found.origin is not None:
        os.environ["PYTHONPATH"] = str(Path(found.origin).resolve().parent.parent)
        os.environ["PYTHONSAFEPATH"] = "1"


@pytest.fixture(scope="session", autouse=True)
def dumps_for_the_debugger() -> Iterator[None]:
    """Keeps dumps (corpus.py) where Microsoft's debugger engine can read them at the end of the run."""
    engine = Path(os.environ.get("MDC_WINE_PYTHON", "-")).parent / "microsoft"
    with tempfile.TemporaryDirectory(prefix="mdc-dumps-") as folder, pytest.MonkeyPatch.context() as patch:
        if LINUX and corpus.FOLDER not in os.environ and engine.is_dir():
            patch.setenv(corpus.FOLDER, folder)
        yield


@pytest.fixture(scope="session")
def pattern_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C target, compiled."""
    folder = tmp_path_factory.mktemp("targets")
    source = live.HERE / "targets" / "pattern.c"
    return live.compile_c(source, folder / "pattern", "-O0", "-g", "-fno-omit-frame-pointer", "-pthread")


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compiles a plug-in of targets/plugins, once, against the installed headers."""
    import minidump_cffi as md

    folder = tmp_path_factory.mktemp("plugins")
    flags = ("-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-I", md.protocol.get_include())

    def compiled(name: str) -> Path:
        library = folder / f"{name}.so"
        if not library.exists():
            live.compile_c(live.HERE / "targets" / "plugins" / f"{name}.c", library, *flags)
        return library

    return compiled


@pytest.fixture
def start_pattern(pattern_program: Path, tmp_path: Path) -> Iterator[Callable[..., live.Target]]:
    """Starts C targets, and ends them with the test."""
    with ExitStack() as stack:

        def start(*words: object, **options: Any) -> live.Target:
            folder = tmp_path / "target"
            folder.mkdir(exist_ok=True)
            command = [str(pattern_program), "--folder", str(folder), *map(str, words)]
            return stack.enter_context(live.Target(command, **options))

        yield start


@pytest.fixture
def target(start_pattern: Callable[..., live.Target]) -> Iterator[live.Target]:
    """A small process: three threads, 4 MiB of heap. It runs on after every test."""
    made = start_pattern("--threads", 2, "--heap", 4)
    yield made
    made.assert_runs_on()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the dump goes, and nothing else is."""
    made = tmp_path / "out"
    made.mkdir()
    return made


@pytest.fixture
def take(tmp_path: Path) -> live.Taker:
    """Takes a dump that all readers have to accept."""
    return live.Taker(tmp_path)
