"""`open_dump` and ``show`` of ELF cores, against gdb."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import live
import pytest

import minidump_cffi as md

if sys.platform == "linux":
    import cores

pytestmark = pytest.mark.linux

REGISTERS = ("rax", "rbx", "rsp", "rbp", "r12", "r15", "rip", "eflags", "cs", "ss")


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> cores.Core:
    folder = tmp_path_factory.mktemp("core")
    return cores.by_kernel(folder / "made", cores.program(folder), "null", "3")


def test_gdb_agrees(core: cores.Core) -> None:
    with md.open_dump(core.path) as dump:
        wanted = [(thread.stack_pointer or 0, 256) for thread in dump.threads]
        seen = core.gdb(wanted)
        assert dump.pid == core.pid and dump.faults == () and dump.streams == ()
        theirs = {thread["tid"]: thread for thread in seen["threads"]}
        assert {thread.id for thread in dump.threads} == theirs.keys() and len(theirs) == 4
        for thread in dump.threads:
            registers = theirs[thread.id]["registers"]
            assert {name: thread.registers[name] for name in REGISTERS} == {name: registers[name] for name in REGISTERS}
            assert thread.stack is not None and thread.stack.address <= (thread.stack_pointer or 0) < thread.stack.end
        assert [dump.read(*part).hex() for part in wanted] == list(seen["memory"])
        blame = dump.exception
        assert blame is not None and (blame.thread, blame.code) == (seen["current"], seen["siginfo"]["signo"])
        assert blame.flags == seen["siginfo"]["code"] and blame.instruction_pointer == core.at
        assert dump.modules[0].path == str(core.program) and len(dump.modules[0].build_id) == 20
        assert "[stack]" in {region.name for region in dump.regions}
        assert sum(part.size for part in dump.memory) > cores.MIB
        with pytest.raises(md.ReadError):
            dump.read(cores.HIDDEN, 1)


def test_text_comes_from_the_modules_if_that_is_asked_for(core: cores.Core) -> None:
    with md.open_dump(core.path) as dump:
        place = (core.at, 16)
        with pytest.raises(md.ReadError):
            dump.read(*place)
        assert not any(part.address <= core.at < part.end for part in dump.memory)
    with md.open_dump(md.CoreFile(core.path, text="files")) as dump:
        assert [dump.read(*place).hex()] == core.gdb([place])["memory"]
        assert any(part.address <= core.at < part.end for part in dump.memory)


def test_show_of_a_core(core: cores.Core) -> None:
    done = live.run_cli("show", "--json", str(core.path))
    assert (done.returncode, done.stderr) == (0, "")
    content = json.loads(done.stdout)
    assert content["process_id"] == core.pid and content["command_line"] == [str(core.program), "null", "3"]
    assert content["exceptions"][0]["name"] == "SIGSEGV / SEGV_MAPERR" and len(content["threads"]) == 4
    assert content["streams"] == [] and content["auxv"] and content["environ"]
    text = live.run_cli("show", "--all", str(core.path)).stdout
    assert "SIGSEGV / SEGV_MAPERR" in text and "[stack]" in text and "System: Linux, x86-64\n" in text


def test_a_core_that_was_cut(core: cores.Core, tmp_path: Path) -> None:
    """What is there is shown; the stack, which comes last, is not."""
    path = tmp_path / "cut"
    path.write_bytes(core.path.read_bytes()[: -64 << 10])
    done = live.run_cli("show", str(path))
    assert done.returncode == 1 and "the core was cut: 65,536 bytes" in done.stderr
    with md.open_dump(path) as dump:
        assert len(dump.threads) == 4 and len(dump.faults) == 1
