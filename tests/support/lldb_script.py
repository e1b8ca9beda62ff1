"""Runs inside lldb's own Python: answers one request about an opened core file as JSON.

lldb imports this file by path (``command script import``), so it needs nothing of the test suite and no packages. The
request and the place for the answer come in the environment: ``MDC_LLDB_REQUEST`` is JSON, ``MDC_LLDB_ANSWER`` a path.
"""

import json
import os


def _registers(frame):
    values = {}
    for group in frame.registers:
        for register in group:
            data = register.GetData()
            size = data.GetByteSize()
            if size == 0:
                continue
            raw = bytes(data.uint8[index] for index in range(size))
            values[register.GetName()] = raw.hex()
    return values


def _thread(thread, request):
    frame = thread.GetFrameAtIndex(0)
    answer = {"tid": thread.GetThreadID(), "ip": frame.GetPC(), "sp": frame.GetSP(), "name": thread.GetName()}
    if request.get("registers"):
        answer["registers"] = _registers(frame)
    if request.get("frames"):
        count = min(thread.GetNumFrames(), 64)
        answer["frames"] = [thread.GetFrameAtIndex(index).GetFunctionName() for index in range(count)]
    return answer


def _regions(process):
    import lldb

    regions = process.GetMemoryRegions()
    info = lldb.SBMemoryRegionInfo()
    return [
        [info.GetRegionBase(), info.GetRegionEnd()]
        for index in range(regions.GetSize())
        if regions.GetMemoryRegionAtIndex(index, info) and info.IsMapped()
    ]


def _memory(process, wanted):
    import lldb

    answer = []
    for address, size in wanted:
        error = lldb.SBError()
        data = process.ReadMemory(address, size, error)
        answer.append(data.hex() if error.Success() and data is not None else None)
    return answer


def __lldb_init_module(debugger, _dictionary):
    request = json.loads(os.environ["MDC_LLDB_REQUEST"])
    target = debugger.GetSelectedTarget()
    process = target.GetProcess()
    only = request.get("only_tids")
    threads = [thread for thread in process if only is None or thread.GetThreadID() in only]
    modules = [
        {
            "path": module.GetPlatformFileSpec().fullpath or module.GetFileSpec().fullpath,
            "base": module.GetObjectFileHeaderAddress().GetLoadAddress(target),
            "uuid": (module.GetUUIDString() or "").replace("-", "").lower(),
        }
        for module in target.module_iter()
    ]
    answer = {
        "threads": [_thread(thread, request) for thread in threads],
        "modules": modules,
        "regions": _regions(process),
        "memory": _memory(process, request.get("memory", [])),
    }
    with open(os.environ["MDC_LLDB_ANSWER"], "w", encoding="utf-8") as file:
        json.dump(answer, file)
