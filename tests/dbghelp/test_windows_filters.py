"""One filter file means the same on both systems: the fake target, dumped here and by a Windows CPython under Wine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import extension
import fake
import live
import pytest
import wine

import minidump_cffi as md

pytestmark = pytest.mark.linux

SCRIPT = live.HERE / "targets" / "fake_report.py"
RULES = {
    "nothing": "",
    "types": '[[rule]]\naction = "exclude"\ntype = "mapped"\nmin_size = "128 KiB"\n',
    "default": 'default = "exclude"\n[[rule]]\naction = "include"\nkind = "stack"\n'
    '[[rule]]\naction = "include"\nmodule = "*/libSECRET*"\n[[rule]]\naction = "include"\nmodule = "/bin/*"\n',
    "names": '[[rule]]\naction = "exclude"\nname = "/dev/shm/*"\n[[rule]]\naction = "head"\nkind = "file"\n'
    'bytes = "8 KiB"\n',
    "holes": '[[rule]]\naction = "exclude"\nrange = ["0x502000", "0x504000"]\n'
    '[[rule]]\naction = "exclude"\nrange = ["0xa00800", "0xa01800"]\nlabel = "no whole page"\n',
    "rights": '[[rule]]\naction = "exclude"\nprotect = "xw"\n[threads]\nexclude = [101]\n'
    '[modules]\nexclude = ["*/libsecret*"]\n',
    "memory": '[memory]\nadd = [["0x500000", "0x501000"]]\nremove = [["0x906000", "0x906800"]]\n'
    '[streams]\nexclude = ["environ", "cmdline"]\n',
}


def told(command: list[str], rules: Path, dump: Path, dump_type: int) -> dict[str, Any]:
    """What the script says, run by one of the Pythons."""
    windows = command[0] != sys.executable
    paths = [wine.windows_path(path) if windows else str(path) for path in (SCRIPT, rules, dump)]
    done = wine.run([*command, *paths, str(dump_type)], stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("dump_type", [md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY], ids=["normal", "full"])
@pytest.mark.parametrize("rules", list(RULES))
def test_same_regions_on_both_systems(rules: str, dump_type: md.DumpType, tmp_path: Path) -> None:
    filter_file = tmp_path / "rules.toml"
    # Upper and lower case are equal on Windows by default.
    filter_file.write_text("ignore_case = true\n" + RULES[rules])
    runner = wine.python()
    extension.cross_built(runner)
    here = told([sys.executable], filter_file, tmp_path / "linux.dmp", int(dump_type))
    there = told([runner, "-P"], filter_file, tmp_path / "windows.dmp", int(dump_type))
    for part, expected in here.items():
        assert there[part] == expected, part
    assert here["memory"], "an empty dump says nothing"


def test_rules_of_the_comparison_differ() -> None:
    """Each filter gives other regions than no filter: what is compared is not always the same."""
    sets = set()
    for text in RULES.values():
        report = fake.write(fake.small(), "/dev/null", md.DumpType.WITH_FULL_MEMORY, filter=md.Filter.from_toml(text))
        sets.add((tuple((region.base, region.kept) for region in report.regions), len(report.threads)))
    assert len(sets) >= 4
