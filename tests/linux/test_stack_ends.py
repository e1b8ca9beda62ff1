"""Where the stack of a thread ends: the memory that the kernel has joined to it is not part of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import file_rules
import live
import pytest

import minidump_cffi as md

pytestmark = pytest.mark.linux

THREADS = 40
DEEP = 20000


@pytest.mark.parametrize("compiler", ["cc", "musl-gcc"])
@pytest.mark.parametrize("dump_type", [md.DumpType.NORMAL, md.DumpType.WITH_FULL_MEMORY])
def test_stacks_end_where_the_thread_does(
    dump_type: md.DumpType, compiler: str, take: live.Taker, tmp_path: Path
) -> None:
    if compiler != "cc" and shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    program = tmp_path / "tight"
    source = live.HERE / "targets" / "tight_stacks.c"
    command = live.compiler().split() if compiler == "cc" else [compiler]
    subprocess.run([*command, "-O0", "-pthread", str(source), "-o", str(program)], check=True)
    with live.Target([str(program), str(THREADS)]) as target:
        base, stack, heap = (target.info[name] for name in ("base", "stack", "heap"))
        report, path = take(target, dump_type, only=["minidump", "lldb"])
    with file_rules.DumpFile(path) as dump:
        pointers = dump.thread_pointers()
        workers = [
            thread for thread in dump.threads() if base <= thread.register("rsp") < base + THREADS * (stack + heap)
        ]
        assert len(workers) == THREADS
        for thread in workers:
            top = base + ((thread.register("rsp") - base) // (stack + heap)) * (stack + heap) + stack
            first, end = thread.stack.address, thread.stack.address + thread.stack.size
            assert first <= thread.register("rsp") - 128, "the red zone"
            assert DEEP < end - first <= DEEP + 6 * live.PAGE
            assert thread.register("rsp") < pointers[thread.tid] < end, "the thread's block is there"
            assert top <= end <= top + live.PAGE, "all of the stack, and no more of what follows it than the page"
    if dump_type == md.DumpType.NORMAL:
        assert report.memory_bytes < THREADS * (DEEP + 6 * live.PAGE) + (1 << 18)
