"""What it costs to import the package, and to start Python for one dump: CPU time of whole processes.

The baseline is a Python that does nothing. Goals: 1.5 times for the import, 5 times for the command line.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from contest import CLOCK, Contest, hold, replay
from setting import Sizes


def _cpu_time(command: list[str]) -> tuple[float, dict[str, float]]:
    """Seconds of user and system time; other processes on the machine do not count."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    nothing = subprocess.DEVNULL
    subprocess.run(command, check=True, stdin=nothing, stdout=nothing, stderr=nothing, env=ENVIRONMENT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, {}


#: What pip installs as minidump-cffi.
SCRIPT = "import re, sys\nfrom minidump_cffi.cli import main\nsys.exit(main())"
#: As after an installation: modules are compiled once, and the first round does what that has not.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
WAYS = ["python", "import", "dump"]


@pytest.fixture(scope="module")
def contest(output: Path, sizes: Sizes) -> Contest:
    """Each way by turns."""
    with subprocess.Popen(["sleep", "600"]) as target:
        dump = [sys.executable, "-c", SCRIPT, "dump", str(target.pid), "-o", str(output / "sleep.dmp")]
        commands = {
            "python": [sys.executable, "-c", "pass"],
            "import": [sys.executable, "-c", "import minidump_cffi"],
            "dump": dump,
        }
        runs = {name: partial(_cpu_time, command) for name, command in commands.items()}
        try:
            return hold(runs, baseline="python", rounds=5 * sizes.rounds)
        finally:
            target.kill()


@pytest.mark.benchmark(timer=CLOCK, group="startup")
@pytest.mark.parametrize("who", WAYS)
def test_startup(benchmark: Any, contest: Contest, who: str) -> None:
    """Whole processes, from start to end."""
    replay(benchmark, contest, who)
