"""Cores and dumps in place of processes: filters, callbacks, plug-ins, recordings, reports, and their options."""

from __future__ import annotations

import asyncio
import contextlib
import io
import struct
import subprocess
from pathlib import Path
from typing import Any

import elf_cores
import live
import pytest
from test_files_batch import SAMPLES
from test_files_opening import PACKERS

import minidump_cffi as md
from minidump_cffi.protocol import CallbackType, PythonCallback
from minidump_cffi.replay import Replay
from minidump_cffi.report import GapReason, Phase

pytestmark = pytest.mark.linux

TIME = slice(20, 24)  # TimeDateStamp of the header


def timeless(data: bytes) -> bytes:
    """A dump without the time at which it was written."""
    return data[: TIME.start] + bytes(4) + data[TIME.stop :]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, pattern_program: Path) -> dict[str, Any]:
    """A process, gcore's core of it and a full dump, taken at the same time: it only waits."""
    folder = tmp_path_factory.mktemp("made")
    with live.Target([str(pattern_program), "--folder", str(folder), "--threads", "2", "--heap", "1"]) as target:
        core = folder / f"core.{target.pid}"
        subprocess.run(["gcore", "-o", str(folder / "core"), str(target.pid)], check=True, capture_output=True)
        report = md.write_dump(target.pid, folder / "live.dmp", "full")
    assert report.complete
    return {"core": md.CoreFile(core), "dump": md.DumpFile(folder / "live.dmp"), "live": report}


KINDS = pytest.mark.parametrize("kind", ["core", "dump"])


@KINDS
def test_plan_and_dump_agree(kind: str, made: dict[str, Any], tmp_path: Path) -> None:
    rules = md.Filter(md.exclude(type="mapped"), md.head("8 KiB", kind="stack"))
    plan = md.plan_dump(made[kind], filter=rules)
    report = md.write_dump(made[kind], tmp_path / "out.dmp", filter=rules)
    assert report.complete and plan.planned
    assert plan.memory_bytes == report.memory_bytes == sum(region.kept for region in report.regions)
    assert [rule.kept for rule in plan.rules] == [rule.kept for rule in report.rules]
    assert report.rules[0].excluded > 0
    assert report.pid == made["live"].pid
    assert {thread.tid for thread in report.threads} == {thread.tid for thread in made["live"].threads}
    assert {module.path for module in made["live"].modules} - {module.path for module in report.modules} <= {
        b"linux-gate.so"
    }
    reduced = md.write_dump(made[kind], tmp_path / "small.dmp", "normal")
    assert 0 < reduced.memory_bytes < report.memory_bytes


@KINDS
def test_callbacks_are_asked_as_of_a_process(kind: str, made: dict[str, Any], tmp_path: Path, plugin: Any) -> None:
    """Python functions, a recording, and a shared library."""
    asked: list[CallbackType] = []

    def answer(given: Any, wanted: Any) -> bool:
        asked.append(given.type)
        return True

    types = [CallbackType.MODULE, CallbackType.THREAD, CallbackType.THREAD_EX, CallbackType.INCLUDE_MODULE]
    with PythonCallback(dict.fromkeys(types, answer)) as callback:
        report = md.write_dump(made[kind], tmp_path / "out.dmp", callback=callback)
    assert report.complete
    assert asked.count(CallbackType.MODULE) == len(report.modules)
    memory = {CallbackType.MEMORY, CallbackType.REMOVE_MEMORY}  # asked where the memory is not simply all there is
    assert set(report.callbacks) - memory == set(made["live"].callbacks) - memory

    rules = md.Filter(md.exclude(kind="heap"))
    report = md.write_dump(made[kind], tmp_path / "out.dmp", filter=rules, record=True)
    assert report.recording is not None
    with md.Callback(rules) as again:
        assert Replay(report.recording).run(again).calls > 10
    report = md.write_dump(made[kind], tmp_path / "out.dmp", callback=md.Plugin(plugin("agrees")))
    assert report.complete and report.messages == ()


@KINDS
def test_asyncio(kind: str, made: dict[str, Any], tmp_path: Path) -> None:
    async def both() -> tuple[md.DumpPlan, md.DumpReport]:
        return await asyncio.gather(
            md.aio.plan_dump(made[kind]), md.aio.write_dump(made[kind], tmp_path / "out.dmp", deadline=60.0)
        )

    plan, report = asyncio.run(both())
    assert plan.memory_bytes == report.memory_bytes


@KINDS
def test_what_is_excluded_is_nowhere(kind: str, made: dict[str, Any], tmp_path: Path) -> None:
    """All of the heap's pages that are not zero, which are in the full dump."""
    path = tmp_path / "all.dmp"
    whole = md.write_dump(made[kind], path)
    data = path.read_bytes()
    inside = {extent: data[extent.file_offset + 4096 :][:64] for extent in whole.extents if extent.size >= 1 << 20}
    heap, marker = next((extent, found) for extent, found in inside.items() if found.count(0) < 32)
    assert data.count(marker) == 1
    rules = md.Filter(md.exclude(range=(heap.address, heap.address + heap.size)))
    md.write_dump(made[kind], tmp_path / "less.dmp", filter=rules)
    assert marker not in (tmp_path / "less.dmp").read_bytes()


@pytest.mark.parametrize("name", [*PACKERS, "core"])
def test_compressed_is_the_same(name: str, made: dict[str, Any], tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    process = made["core"] if name == "core" else md.DumpFile(SAMPLES[0])
    packer = PACKERS["zstd" if name == "core" else name]
    packed.write_bytes(packer(Path(process.file).read_bytes()))
    report = md.write_dump(md.AnyFile(packed), tmp_path / "a.dmp")
    md.write_dump(process, tmp_path / "b.dmp")
    assert report.complete and report.messages == ()
    assert timeless((tmp_path / "a.dmp").read_bytes()) == timeless((tmp_path / "b.dmp").read_bytes())


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A core of 64 KiB of memory and a stack, whose memory comes last."""
    core = elf_cores.Core(
        loads=[
            elf_cores.Load(address=0x7FFF0000, size=0x4000, data=b"s" * 0x4000),
            elf_cores.Load(address=0x10000, size=0x10000, data=b"m" * 0x10000),
        ],
        threads=[elf_cores.Thread(tid=7, sp=0x7FFF1000)],
        pid=7,
    )
    path = tmp_path / "core.7"
    core.write(path)
    return path


@pytest.mark.parametrize("packer", [None, *PACKERS])
def test_a_core_that_is_cut(packer: str | None, small: Path, tmp_path: Path) -> None:
    """Also by its compressed file: how much is missing is said, in the report and by the command line."""
    data = small.read_bytes()
    small.write_bytes(data[:-0x5000] if packer is None else PACKERS[packer](data + random_tail())[:-4096])
    done = live.run_cli("filter", small, "-o", tmp_path / "out.dmp")
    report = md.write_dump(md.CoreFile(small), tmp_path / "out.dmp")
    if packer is None:
        assert done.returncode == 3, done.stderr
        assert "20,480 bytes are missing" in done.stderr
        assert (report.cut_bytes, report.complete) == (0x5000, False)
        assert [(gap.address, gap.size, gap.reason) for gap in report.missing] == [(0x1B000, 0x5000, GapReason.CUT)]
        assert report.messages[-1] in done.stderr.replace("minidump-cffi: warning: ", "")
    else:  # what was cut away is nothing of the core
        assert done.returncode == 0, done.stderr
        assert "data of" in done.stderr and "is cut: it ends after" in done.stderr
        assert report.complete and "is cut" in report.messages[0]
        with pytest.raises(md.DumpError, match=r"strict: .* is cut"):
            md.write_dump(md.CoreFile(small), tmp_path / "strict.dmp", strict=True)
        assert not (tmp_path / "strict.dmp").exists()


def random_tail() -> bytes:
    """What no codec makes shorter; bzip2 has blocks of 900,000 bytes."""
    import os

    return os.urandom(2_000_000)


@pytest.mark.parametrize("packer", ["gzip", "zstd", "xz", "lz4"])
def test_a_compressed_core_that_is_cut_within_its_memory(packer: str, tmp_path: Path) -> None:
    noise = random_tail()
    load = elf_cores.Load(address=0x100000, size=len(noise) // 4096 * 4096, data=noise[: len(noise) // 4096 * 4096])
    path = tmp_path / "core"
    elf_cores.Core(loads=[load], pid=7).write(path)
    path.write_bytes(PACKERS[packer](path.read_bytes())[: len(noise) // 2])
    done = live.run_cli("filter", path, "-o", tmp_path / "out.dmp", "--json")
    assert done.returncode == 3, done.stderr
    assert f"the {packer} data of" in done.stderr and "bytes are missing" in done.stderr


@KINDS
def test_options_of_live_processes(kind: str, made: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out.dmp"
    options: dict[str, Any] = {
        "max_stop": 5.0, "stop_timeout": 1.0, "busy_timeout": 1.0, "dontdump": "ask", "coredump_filter": True,
        "file_pages": "resident",
    }  # fmt: skip
    for name, value in options.items():
        report = md.write_dump(made[kind], out, **{name: value})
        assert [message.partition(":")[0] for message in report.messages] == [f"{name} has no effect"]
        out.unlink()
        with pytest.raises(md.DumpError, match=f"strict: {name} has no effect"):
            md.write_dump(made[kind], out, strict=True, **{name: value})
    with pytest.raises(ValueError, match="exception is for live processes"):
        md.write_dump(made[kind], out, exception=md.SignalInfo(tid=made["live"].pid, signal=11))
    with pytest.raises(md.DumpError, match="dbghelp"):
        md.write_dump(made[kind], out, engine="dbghelp")
    with pytest.raises(TypeError, match="is a file, and this needs a live process"):
        md.SignalInfo.of_thread(made[kind], 1)
    assert not out.exists()


def test_the_engine_of_files_is_ours_on_every_system(monkeypatch: pytest.MonkeyPatch) -> None:
    from minidump_cffi import engines

    monkeypatch.setattr(engines.sys, "platform", "win32")
    assert engines.choose("auto", file=True).own and not engines.choose("auto").own
    with pytest.raises(md.DumpError, match="dbghelp dumps live processes: for a file give"):
        engines.choose("dbghelp", file=True)


@KINDS
def test_progress_and_cancel(kind: str, made: dict[str, Any], tmp_path: Path) -> None:
    """A copied input is told of first, then the dump."""
    data = Path(made[kind].file).read_bytes()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            import time

            time.sleep(0.05)
            return super().read(len(data) // 8)

    seen: list[md.Progress] = []
    report = md.write_dump(md.AnyFile(Slow(data)), tmp_path / "out.dmp", progress=seen.append)
    reading = [state for state in seen if state.phase == Phase.OPEN]
    assert reading and reading[-1].bytes_done > 0 and not any(state.stopped for state in reading)
    assert seen[-1].bytes_done == seen[-1].bytes_total > 0
    assert report.complete
    with pytest.raises(md.Cancelled):
        md.write_dump(md.AnyFile(Slow(data)), tmp_path / "no.dmp", on_cancel=lambda: True)
    assert not (tmp_path / "no.dmp").exists()


@KINDS
def test_no_descriptor_stays_open(kind: str, made: dict[str, Any], tmp_path: Path) -> None:
    """After success, after an error of the content, and after one of the output."""
    damaged = tmp_path / "damaged"
    damaged.write_bytes(Path(made[kind].file).read_bytes()[:50])

    def all_ways() -> None:
        md.write_dump(made[kind], tmp_path / "out.dmp", "normal")
        md.write_dump(md.AnyFile(io.BytesIO(Path(made[kind].file).read_bytes())), tmp_path / "out.dmp", "normal")
        with contextlib.suppress(md.DumpError):
            md.write_dump(md.AnyFile(damaged), tmp_path / "none.dmp")
        with pytest.raises(md.SinkError):
            md.write_dump(made[kind], "/nowhere/out.dmp")

    all_ways()
    before = sorted(Path("/proc/self/fd").iterdir())
    all_ways()
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_errors_name_file_offset_and_field(tmp_path: Path) -> None:
    path = tmp_path / "bad.dmp"
    path.write_bytes(struct.pack("<4s7I", b"MDMP", 0xA793, 5, 0x1000, 0, 0, 0, 0))
    with pytest.raises(md.FormatError) as caught:
        md.write_dump(md.DumpFile(path), tmp_path / "out.dmp")
    assert caught.value.filename == str(path)
    assert str(path) in str(caught.value) and "offset 0x" in str(caught.value)
