"""Our callback on engines that are not ours: ctypes, another cffi module, C; and how long it lives."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import extension
import fake
import live
import pytest
from compilers import clang

import minidump_cffi as md
from minidump_cffi._native import _ext
from minidump_cffi._native._ext import ffi

C = md.protocol.CallbackType
MAPPED, PRIVATE = int(md.filters.MemoryType.MAPPED), int(md.filters.MemoryType.PRIVATE)
MIB = 1 << 20
KEEP = md.Filter(
    md.exclude(type="mapped", min_size="1 MiB"),
    md.exclude(module="*/libsecret*"),
    modules=[md.module("*/libsecret*", write=md.filters.ModuleWrite.MODULE)],
)
REGIONS = [
    (0x10_0000, 16 * live.PAGE, PRIVATE),
    (0x40_0000, 16 * live.PAGE, PRIVATE),  # in the secret module
    (0x50_0000, 16 * live.PAGE, MAPPED),
    (0x800_0000, 2 * MIB, MAPPED),
]
KEPT = [REGIONS[0][:2], REGIONS[2][:2]]


support = extension.load()


def callee(routine: int, param: int) -> Any:
    """What an engine is given."""
    found = support.ffi.new("MINIDUMP_CALLBACK_INFORMATION *")
    found.CallbackRoutine = support.ffi.cast("MINIDUMP_CALLBACK_ROUTINE", routine)
    found.CallbackParam = support.ffi.cast("void *", param)
    return found


def drive(engine_of: Any, regions: list[tuple[int, int, int]] = REGIONS) -> tuple[list[tuple[int, int]], int]:
    """One dump by the engine in C: what stays of the regions, and the flags of the secret module."""
    asked, flags = support.ffi.new("MINIDUMP_MEMORY_INFO[]", len(regions)), support.ffi.new("uint32_t *")
    for region, (base, size, kind) in zip(asked, regions, strict=True):
        region.BaseAddress, region.RegionSize, region.Type = base, size, kind
        region.State, region.Protect = int(md.filters.MemoryState.COMMIT), int(md.filters.MemoryProtect.READWRITE)
    count = support.lib.mdc_double_drive(engine_of, asked, len(regions), flags)
    kept = [(region.BaseAddress, region.RegionSize) for region in asked if region.RegionSize]
    assert len(kept) == count
    return kept, flags[0]


def ask(routine: int, param: int, kind: int) -> int:
    """One callback of the engine in C, without the GIL: a hook of the callback may run."""
    return int(support.lib.mdc_double_ask(callee(routine, param), kind))


# ------------------------------------------------------------------------------------------------------------- engines


def test_an_engine_in_c() -> None:
    sizes = support.ffi.new("size_t[3]")
    support.lib.mdc_double_sizes(sizes)
    names = ("MINIDUMP_CALLBACK_INPUT", "MINIDUMP_CALLBACK_OUTPUT", "mdc_engine_options")
    assert list(sizes) == [ffi.sizeof(name) for name in names]
    assert sizes[1] == 52
    with md.Callback(KEEP) as callback, callback.in_use():
        for _ in range(2):
            assert drive(callee(callback.routine, callback.param)) == (KEPT, md.filters.ModuleWrite.MODULE)
        assert callback.counters.calls[C.INCLUDE_VM_REGION] == len(REGIONS)
        assert callback.counters.excluded == 2
        callback.raise_error()


def test_a_cffi_module_shares_the_types() -> None:
    """One that includes the declarations takes the objects of this package, and the constants come with the types."""
    assert support.ffi is not ffi
    assert support.ffi.typeof("MINIDUMP_CALLBACK_INFORMATION *") is ffi.typeof("MINIDUMP_CALLBACK_INFORMATION *")
    with md.Callback(KEEP) as callback, callback.in_use():
        assert drive(callback.information) == (KEPT, md.filters.ModuleWrite.MODULE)
    assert support.lib.MDC_CB_VM_QUERY == 18


def test_an_engine_in_ctypes() -> None:
    class MemoryInfo(ctypes.Structure):
        _pack_ = 4
        _fields_ = (
            ("BaseAddress", ctypes.c_uint64), ("AllocationBase", ctypes.c_uint64),
            ("AllocationProtect", ctypes.c_uint32), ("Alignment1", ctypes.c_uint32),
            ("RegionSize", ctypes.c_uint64), ("State", ctypes.c_uint32), ("Protect", ctypes.c_uint32),
            ("Type", ctypes.c_uint32), ("Alignment2", ctypes.c_uint32), ("Continue", ctypes.c_int32),
        )  # fmt: skip

    assert ctypes.sizeof(MemoryInfo) == 52
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    question = (ctypes.c_uint32 * 400)()
    question[3] = C.INCLUDE_VM_REGION
    kept = []
    with md.Callback(KEEP) as callback, callback.in_use():
        routine = prototype(callback.routine)
        for base, size, kind in (REGIONS[0], REGIONS[2], REGIONS[3]):
            output = MemoryInfo(BaseAddress=base, RegionSize=size, Type=kind, State=0x1000)
            assert routine(callback.param, ctypes.addressof(question), ctypes.addressof(output)) == 1
            assert output.Continue == 1
            if output.RegionSize:
                kept.append((output.BaseAddress, output.RegionSize))
    assert kept == KEPT


def test_an_engine_that_knows_the_extensions() -> None:
    """in_use tells the routine for one dump that region facts are there, and forgets it."""
    question = ffi.new("MINIDUMP_CALLBACK_INPUT *")
    output = ffi.new("MINIDUMP_CALLBACK_OUTPUT *")
    name = ffi.new("uint8_t[]", b"/data/table")
    with md.Callback(md.Filter(md.exclude(name="/data/*"))) as callback:
        information = callback.information

        def kept() -> int:
            question.CallbackType = C.INCLUDE_VM_REGION
            facts = question.u.RegionFacts
            facts.Size, facts.Version, facts.Name, facts.NameSize, facts.NameId = ffi.sizeof(facts), 1, name, 11, 1
            facts.MappingBase, facts.MappingSize = 0x1000, 0x1000
            region = output.Region.VmRegion
            region.BaseAddress, region.RegionSize, region.State, region.Type = 0x1000, 0x1000, 0x1000, MAPPED
            assert information.CallbackRoutine(information.CallbackParam, question, output) == 1
            return int(region.RegionSize)

        with callback.in_use(extensions=md.protocol.Extensions.REGION_FACTS):
            assert kept() == 0
        with callback.in_use():
            assert kept() == 0x1000


# ------------------------------------------------------------------------------------------------------------ lifetime


def test_one_in_use_is_neither_closed_nor_shared() -> None:
    callback = md.Callback(KEEP)
    with callback.in_use():
        with pytest.raises(md.CallbackError, match="in use"):
            callback.close()
        with pytest.raises(md.CallbackError, match="in use"), callback.in_use():
            pass
        with pytest.raises(md.CallbackError, match="in use"):
            fake.write(fake.small(), "/dev/null", callback=callback)
        assert not callback.closed
    callback.close()
    with pytest.raises(md.CallbackError, match="closed"), callback.in_use():
        pass


def test_in_use_ends_with_an_exception_too() -> None:
    with md.Callback(KEEP) as callback:
        with pytest.raises(KeyError), callback.in_use():
            raise KeyError
        with callback.in_use():
            pass


def test_a_call_that_is_inside_keeps_it_open() -> None:
    """Without in_use: while an engine of another thread is inside a hook, close is refused."""
    inside, go_on = threading.Event(), threading.Event()

    def hook(question: Any, output: Any) -> bool:
        inside.set()
        return go_on.wait(live.PATIENCE)

    callback = md.Callback(hooks={C.SECONDARY_FLAGS: hook})
    routine, param = callback.routine, callback.param
    answers: list[int] = []
    engine = threading.Thread(target=lambda: answers.append(ask(routine, param, int(C.SECONDARY_FLAGS))))
    engine.start()
    try:
        assert inside.wait(live.PATIENCE)
        with pytest.raises(md.CallbackError, match="in use"):
            callback.close()
        assert ask(routine, param, int(C.SECONDARY_FLAGS)) == 0, "a second engine is answered FALSE"
    finally:
        go_on.set()
        engine.join()
    assert answers == [1]
    callback.close()


@pytest.mark.parametrize("record", [False, True], ids=["plain", "recorded"])
@pytest.mark.parametrize("end", ["closed", "forgotten"])
def test_a_late_call_is_answered_false(end: str, record: bool) -> None:
    """The engine was shown the addresses, and calls them when the callback is gone."""
    for _ in range(50):
        callback = md.Callback(KEEP, on_cancel=lambda: False, record=record)
        routine, param = callback.routine, callback.param
        assert ask(routine, param, int(C.CANCEL)) == 1
        if end == "closed":
            callback.close()
        del callback
        gc.collect()
        for kind in range(24):
            assert ask(routine, param, kind) == 0
        assert drive(callee(routine, param)) == ([], 0)


def test_closing_races_with_an_engine() -> None:
    """Another thread calls all the time: each close is refused or final, and no call ever crashes."""
    for _ in range(20):
        callback = md.Callback(KEEP)
        routine, param = callback.routine, callback.param
        stop = threading.Event()

        def engine(routine: int = routine, param: int = param, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                ask(routine, param, int(C.CANCEL))

        thread = threading.Thread(target=engine)
        thread.start()
        try:
            for _ in range(1000):
                try:
                    callback.close()
                except md.CallbackError:
                    continue
                break
        finally:
            stop.set()
            thread.join()
        callback.close()
        assert ask(routine, param, int(C.CANCEL)) == 0


def test_closing_races_with_the_start_of_a_dump() -> None:
    """A dump that begins while another thread closes its callback is refused, or filtered: never a full one."""
    target = fake.small()
    filtered = md.Filter(default="exclude")
    outcomes = set()
    for round in range(200):
        callback = md.Callback(filtered)
        closer = threading.Thread(target=lambda callback=callback: close(callback))
        if round % 2:
            closer.start()
        try:
            outcomes.add(fake.write(target, "/dev/null", md.DumpType.WITH_FULL_MEMORY, callback=callback).memory_bytes)
        except md.CallbackError:
            outcomes.add("refused")
        if not round % 2:
            closer.start()
        closer.join()
        callback.close()
    assert outcomes <= {0, "refused"}


def close(callback: md.Callback) -> None:
    with contextlib.suppress(md.CallbackError):
        callback.close()


@pytest.mark.linux
def test_retired_ones_keep_no_tables() -> None:
    """What stays of a closed callback is its lock: thousands of them are nothing."""
    import resource

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    rules = [md.exclude(range=(at << 20, (at << 20) + 4096)) for at in range(500)]
    keep = md.Filter(*rules, md.exclude(name="/x/*"), md.exclude(module="*/y"))
    for _ in range(20):
        with md.Callback(keep) as callback:
            assert callback.param
    before = peak()
    for _ in range(500):
        with md.Callback(keep) as callback:
            assert callback.param
    assert peak() - before < 8 << 10  # KiB; the tables of one are about 1 MiB


# ------------------------------------------------------------------------------------------------------------- headers


def test_the_headers_are_those_of_the_sources() -> None:
    api = live.HERE.parent / "csrc" / "api"
    installed = Path(md.protocol.get_include()) / "minidump_cffi"
    assert {path.name for path in installed.iterdir()} == {path.name for path in api.glob("*.h")}
    for path in api.glob("*.h"):
        assert (installed / path.name).read_bytes() == path.read_bytes(), "built from other sources: build again"


@pytest.mark.parametrize("language", ["c", "c++"])
@pytest.mark.parametrize("compiler", ["cc", "clang"])
def test_each_header_compiles_alone(compiler: str, language: str, tmp_path: Path) -> None:
    found = clang() if compiler == "clang" else live.compiler()
    standard = {"c": "-std=c11", "c++": "-std=c++11"}[language]
    for header in sorted(Path(md.protocol.get_include(), "minidump_cffi").iterdir()):
        source = tmp_path / f"{header.stem}.{'c' if language == 'c' else 'cpp'}"
        source.write_text(f"#include <minidump_cffi/{header.name}>\n#include <minidump_cffi/{header.name}>\n")
        command = [
            *found.split(),
            "-x",
            language,
            standard,
            "-Wall",
            "-Wextra",
            "-pedantic",
            "-Werror",
            "-fsyntax-only",
        ]
        done = subprocess.run(
            [*command, "-I", md.protocol.get_include(), str(source)], capture_output=True, text=True, check=False
        )
        if "not found" in done.stderr and "stdint" not in header.read_text():
            pytest.skip(f"no {language} library for {compiler}")
        assert done.returncode == 0, done.stderr


def test_a_source_tree_that_was_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from minidump_cffi import building

    monkeypatch.setattr(building, "__file__", str(tmp_path / "building.py"))
    with pytest.raises(FileNotFoundError, match="build the package"):
        md.protocol.get_include()


def test_the_routine_has_one_address_and_no_name() -> None:
    """It is hidden in the extension: nothing links with it, and all callbacks share it."""
    with md.Callback() as one, md.Callback() as two:
        assert one.routine == two.routine and one.param != two.param
    assert not hasattr(ctypes.CDLL(_ext.__file__), "mdc_callback_routine")


def test_types_for_users() -> None:
    users: Callable[..., Any] = md.protocol.ffibuilder
    assert users() is not users()
