"""``completion SHELL``, in the shells themselves; what is completed is what the parsers take."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from minidump_cffi.cli import COMMANDS, main, subcommand
from minidump_cffi.cli.completion import SHELLS

pytestmark = pytest.mark.linux
ASK = """
source {script}
COMP_WORDS=({words})
COMP_CWORD={last}
_minidump_cffi
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def complete(path: Path, *words: str) -> list[str]:
    """What bash completes the last word to."""
    line = " ".join(shlex.quote(word) for word in ("minidump-cffi", *words))
    program = ASK.format(script=path, words=line, last=len(words))
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False, cwd=path.parent)
    assert done.stderr == "" and done.returncode == 0, done.stderr
    return done.stdout.split()


def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Commands, options, their words, files, and processes; a process that is named like a command runs nothing."""
    path = tmp_path / "completion"
    path.write_text(script("bash", capsys))
    (tmp_path / "rules file.toml").touch()
    assert complete(path, "du") == ["dump"]
    assert set(complete(path, "")) >= set(COMMANDS)
    assert complete(path, "dump", "--max-s") == ["--max-stop"]
    assert complete(path, "dump", "1", "--stop", "m") == complete(path, "dump", "--stop", "=", "m") == ["memory"]
    assert complete(path, "plan", "--type", "with_thread") == ["with_thread_info"]
    assert complete(path, "plan", "--type", "tri") == ["triage"]
    assert complete(path, "plan", "--preset", "no-s") == ["no-secrets"]
    assert complete(path, "filter", "--filter", "rul") == ["rules", "file.toml"]
    assert complete(path, "completion", "") == list(SHELLS)
    assert complete(path, "dump", "--deadline", "") == []
    for command in COMMANDS:
        options = {name for action in subcommand(command)._actions for name in action.option_strings}
        assert set(complete(path, command, "-")) == options
    evil = tmp_path / "$(touch x)"
    shutil.copy(str(shutil.which("sleep")), evil)
    plain = shutil.copy(evil, tmp_path / "plain-sleeper")
    with subprocess.Popen([evil, "100"]) as first, subprocess.Popen([plain, "100"]) as second:
        try:
            assert str(first.pid) in complete(path, "dump", str(first.pid)[:-1])
            assert complete(path, "dump", "plain-sl") == ["plain-sleeper"]
            assert not [word for word in complete(path, "dump", "") if "$" in word]
        finally:
            first.kill()
            second.kill()
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_what_the_shells_take(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Checked by the shell where it is there; every option is in all of them."""
    made = script(shell, capsys)
    for command in COMMANDS:
        for action in subcommand(command)._actions:
            for name in action.option_strings:
                assert (
                    name if shell != "fish" else f" {'-l' if name[:2] == '--' else '-s'} {name.lstrip('-')} "
                ) in made
    if shutil.which(shell):
        path = tmp_path / "completion"
        path.write_text(made)
        done = subprocess.run([shell, "-n", path], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    if shell == "fish" and shutil.which("fish"):
        asked = f'source {path}; complete -C "minidump-cffi dump --stop me"; complete -C "minidump-cffi pl"'
        done = subprocess.run(["fish", "-c", asked], capture_output=True, text=True, check=False)
        assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["memory", "plan"], done.stderr


def test_a_shell_that_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zhs"]) == 2
    assert "did you mean 'zsh'" in capsys.readouterr().err


def test_a_process_that_starts_does_not_load_it() -> None:
    """Other subcommands do not pay for it."""
    code = "import sys; from minidump_cffi.cli import main; main(['dump']); print('.'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "cli.dump" in done.stdout and "cli.completion" not in done.stdout
