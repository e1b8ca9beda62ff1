"""What a Python function sees of a callback: `Input` and `Output`.

Both are valid during the call only. Names are Microsoft's in Python's case; each callback type has its own members, and
a member of another type is an AttributeError: everything lies at offset 0 of one union, so writing a member of another
type would change the meaning of the answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

from .._native import pointers
from ..enums import CallbackType, Kind, MemoryProtect, MemoryState, ModuleWrite, SecondaryFlags, ThreadWrite
from ._inputs import IoInput, ModuleInput, ReadFailureInput, RegionFacts, ThreadInput, VmReadInput

__all__ = ["Input", "MemoryInfo", "Output"]

T = TypeVar("T")
_GONE = "the callback has returned: what the engine asked is valid during the call only"


class _View:
    """A C struct that goes away when the call returns."""

    __slots__ = ("_live", "_parts", "_type")

    def __init__(self, raw: Any, type: int) -> None:
        self._live = raw
        self._type = type
        self._parts: list[_View | memoryview] = []  # handed out; they go away with it

    @property
    def _raw(self) -> Any:
        if self._live is None:
            raise RuntimeError(_GONE)
        return self._live

    def _end(self) -> None:
        self._live = None
        for part in self._parts:
            if isinstance(part, _View):
                part._end()
            else:
                with contextlib.suppress(BufferError):  # numpy holds on to it: its own risk
                    part.release()


class _Member(Generic[T]):
    """A member of a union: there for some callback types only."""

    def __init__(
        self,
        types: tuple[CallbackType, ...],
        path: str,
        read: Callable[[Any], T],
        write: Callable[[Any], Any] | None = None,
        doc: str = "",
    ) -> None:
        self._types = frozenset(int(each) for each in types)
        self._path = path.split(".")
        self._read, self._write = read, write
        self._name = ""
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def _holder(self, view: _View) -> Any:
        raw = view._raw
        if view._type not in self._types:
            kind = CallbackType(view._type).name
            raise AttributeError(f"a {kind} callback has no {self._name}", name=self._name, obj=view)
        for name in self._path[:-1]:
            raw = getattr(raw, name)
        return raw

    @overload
    def __get__(self, view: None, owner: type) -> _Member[T]: ...
    @overload
    def __get__(self, view: _View, owner: type) -> T: ...
    def __get__(self, view: _View | None, owner: type) -> T | _Member[T]:
        if view is None:
            return self
        value = self._read(getattr(self._holder(view), self._path[-1]))
        if isinstance(value, (IoInput, VmReadInput)):
            view._parts.append(value.data if isinstance(value, IoInput) else value.buffer)
        return value

    def __set__(self, view: _View, value: T) -> None:
        if self._write is None:
            raise AttributeError(f"{self._name} is the engine's", name=self._name, obj=view)
        setattr(self._holder(view), self._path[-1], self._write(value))


def _unsigned(value: int) -> int:
    return value & 0xFFFFFFFF


def _status(value: Any) -> int:
    """An HRESULT, given signed or unsigned, as C wants it."""
    number = int(value)
    if not -(1 << 31) <= number < 1 << 32:
        raise ValueError(f"{value!r} is not an HRESULT")
    number &= 0xFFFFFFFF
    return number - (1 << 32) if number >> 31 else number


def _module(raw: Any) -> ModuleInput:
    return ModuleInput(
        full_path=pointers.utf16(raw.FullPath),
        base_of_image=raw.BaseOfImage,
        size_of_image=raw.SizeOfImage,
        checksum=raw.CheckSum,
        time_date_stamp=raw.TimeDateStamp,
        cv_record=bytes(pointers.view(raw.CvRecord, raw.SizeOfCvRecord)),
    )


def _thread(raw: Any) -> ThreadInput:
    return ThreadInput(
        thread_id=raw.ThreadId,
        thread_handle=pointers.address(raw.ThreadHandle),
        context=bytes(raw.Context),
        stack_base=raw.StackBase,
        stack_end=raw.StackEnd,
    )


def _io(raw: Any) -> IoInput:
    data = pointers.view(raw.Buffer, raw.BufferBytes)
    return IoInput(handle=pointers.address(raw.Handle), offset=raw.Offset, data=data)


def _failure(raw: Any) -> ReadFailureInput:
    return ReadFailureInput(offset=raw.Offset, bytes=raw.Bytes, failure_status=_unsigned(raw.FailureStatus))


def _pre_read(raw: Any) -> VmReadInput:
    buffer = pointers.view(raw.Buffer, raw.Size, writable=True)
    return VmReadInput(offset=raw.Offset, buffer=buffer, size=raw.Size, completed=0, status=0)


def _post_read(raw: Any) -> VmReadInput:
    buffer = pointers.view(raw.Buffer, raw.Size, writable=True)
    return VmReadInput(
        offset=raw.Offset, buffer=buffer, size=raw.Size, completed=raw.Completed, status=_unsigned(raw.Status)
    )


def _facts(raw: Any) -> RegionFacts | None:
    if raw.Version < 1:
        return None
    return RegionFacts(
        name=bytes(pointers.view(raw.Name, raw.NameSize)) if raw.NameId else None,
        mapping_base=raw.MappingBase,
        mapping_size=raw.MappingSize,
        kinds=Kind(raw.Kinds),
        flags=raw.Flags,
        file_offset=raw.FileOffset,
        inode=raw.Inode,
        device=(raw.DevMajor, raw.DevMinor),
    )


_C = CallbackType


class Input(_View):
    """MINIDUMP_CALLBACK_INPUT: what the engine asks; read-only.

    Members that are structs are read once and stay as they were; buffers in them are memory of the engine.

    Examples
    --------
    >>> from minidump_cffi.protocol import PythonCallback
    >>> from minidump_cffi.replay import Call, Replay
    >>> def look(question, answer):
    ...     print(question.type.name, question.module.full_path)
    ...     return True
    >>> calls = [Call(CallbackType.MODULE, {"FullPath": "/bin/app"})]
    >>> with PythonCallback({CallbackType.MODULE: look}) as callback:
    ...     answers = Replay(calls).run(callback)
    MODULE /bin/app
    """

    __slots__ = ("_facts_known",)

    def __init__(self, raw: Any, *, facts: bool = False) -> None:
        super().__init__(raw, raw.CallbackType)
        self._facts_known = facts

    @property
    def type(self) -> CallbackType:
        """What is asked."""
        return CallbackType(self._type)

    @property
    def process_id(self) -> int:
        """The pid of the target; 0 for the types where Windows shows none (7, 11, 16 to 20)."""
        return int(self._raw.ProcessId)

    @property
    def process_handle(self) -> int:
        """On Linux the pidfd of the target, on Windows its handle; 0 in IO_* and the types of a kernel minidump."""
        return pointers.address(self._raw.ProcessHandle)

    @property
    def region_facts(self) -> RegionFacts | None:
        """INCLUDE_VM_REGION: what our engine knows of the mapping; None without `Extensions.REGION_FACTS`."""
        if self._type != _C.INCLUDE_VM_REGION:
            raise AttributeError(f"a {self.type.name} callback has no region_facts", name="region_facts", obj=self)
        return _facts(self._raw.u.RegionFacts) if self._facts_known else None

    module: _Member[ModuleInput] = _Member((_C.MODULE,), "u.Module", _module, doc="MODULE: its information.")
    thread: _Member[ThreadInput] = _Member(
        (_C.THREAD, _C.THREAD_EX), "u.Thread", _thread, doc="THREAD, THREAD_EX: with its context."
    )
    include_thread: _Member[int] = _Member(
        (_C.INCLUDE_THREAD,), "u.IncludeThread.ThreadId", int, doc="INCLUDE_THREAD: its id."
    )
    include_module: _Member[int] = _Member(
        (_C.INCLUDE_MODULE,), "u.IncludeModule.BaseOfImage", int, doc="INCLUDE_MODULE: its base."
    )
    status: _Member[int] = _Member(
        (_C.KERNEL_MINIDUMP_STATUS,), "u.Status", _unsigned, doc="KERNEL_MINIDUMP_STATUS: HRESULT, unsigned."
    )
    io: _Member[IoInput] = _Member(
        (_C.IO_START, _C.IO_WRITE_ALL, _C.IO_FINISH), "u.Io", _io, doc="IO_START, IO_WRITE_ALL, IO_FINISH."
    )
    read_memory_failure: _Member[ReadFailureInput] = _Member(
        (_C.READ_MEMORY_FAILURE,), "u.ReadMemoryFailure", _failure, doc="READ_MEMORY_FAILURE: what failed."
    )
    secondary_flags: _Member[SecondaryFlags] = _Member(
        (_C.SECONDARY_FLAGS,), "u.SecondaryFlags", SecondaryFlags, doc="SECONDARY_FLAGS: so far."
    )
    vm_query: _Member[int] = _Member((_C.VM_QUERY,), "u.VmQuery.Offset", int, doc="VM_QUERY: the address.")
    vm_pre_read: _Member[VmReadInput] = _Member(
        (_C.VM_PRE_READ,), "u.VmPreRead", _pre_read, doc="VM_PRE_READ: memory to supply."
    )
    vm_post_read: _Member[VmReadInput] = _Member(
        (_C.VM_POST_READ,), "u.VmPostRead", _post_read, doc="VM_POST_READ: memory that was read."
    )

    def __repr__(self) -> str:
        return f"<Input: {self.type.name}>"


_MEMORY_INFO = (_C.INCLUDE_VM_REGION, _C.VM_QUERY)


class MemoryInfo(_View):
    """MINIDUMP_MEMORY_INFO in an `Output`: read and written in place.

    Examples
    --------
    >>> from minidump_cffi.protocol import PythonCallback
    >>> from minidump_cffi.replay import Call, Replay
    >>> def first_page(question, answer):
    ...     answer.vm_region.region_size = 4096
    ...     answer.continue_ = True
    ...     return True
    >>> calls = [Call(CallbackType.INCLUDE_VM_REGION, before={"BaseAddress": 0x1000, "RegionSize": 0x9000})]
    >>> with PythonCallback({CallbackType.INCLUDE_VM_REGION: first_page}) as callback:
    ...     answers = Replay(calls).run(callback)
    >>> answers[0].after["RegionSize"]
    4096
    """

    __slots__ = ()

    base_address: _Member[int] = _Member(_MEMORY_INFO, "BaseAddress", int, int, doc="Address.")
    allocation_base: _Member[int] = _Member(_MEMORY_INFO, "AllocationBase", int, int, doc="Address.")
    allocation_protect: _Member[MemoryProtect] = _Member(
        _MEMORY_INFO, "AllocationProtect", MemoryProtect, int, doc="PAGE_* when it was allocated."
    )
    region_size: _Member[int] = _Member(
        _MEMORY_INFO, "RegionSize", int, int, doc="Bytes; 0 in IncludeVmRegion leaves it out."
    )
    state: _Member[int] = _Member(
        _MEMORY_INFO, "State", int, int, doc="MEM_COMMIT, MEM_RESERVE or MEM_FREE: see `MemoryState`."
    )
    protect: _Member[MemoryProtect] = _Member(_MEMORY_INFO, "Protect", MemoryProtect, int, doc="PAGE_*.")
    type: _Member[int] = _Member(
        _MEMORY_INFO, "Type", int, int, doc="MEM_PRIVATE, MEM_MAPPED or MEM_IMAGE: see `MemoryType`."
    )

    def set(
        self,
        *,
        base_address: int,
        region_size: int,
        state: int = MemoryState.COMMIT,
        protect: int = MemoryProtect.READWRITE,
        type: int = 0x20000,
    ) -> None:
        """Describe a region; private, committed and writable unless said otherwise."""
        self.base_address = self.allocation_base = base_address
        self.region_size = region_size
        self.state, self.type = state, type
        self.protect = self.allocation_protect = MemoryProtect(protect)

    def __repr__(self) -> str:
        return f"<MemoryInfo: {self.base_address:#x} + {self.region_size:#x}>"


_MEMORY = (_C.MEMORY, _C.REMOVE_MEMORY)
_VM_READ = (_C.VM_PRE_READ, _C.VM_POST_READ)
_STATUS = (
    _C.IO_START,
    _C.IO_WRITE_ALL,
    _C.IO_FINISH,
    _C.READ_MEMORY_FAILURE,
    _C.IS_PROCESS_SNAPSHOT,
    _C.VM_START,
)


class Output(_View):
    """MINIDUMP_CALLBACK_OUTPUT: the answer. On entry each member holds the engine's default.

    Examples
    --------
    >>> from minidump_cffi.protocol import PythonCallback
    >>> from minidump_cffi.replay import Call, Replay
    >>> def without_stack(question, answer):
    ...     answer.thread_write_flags &= ~ThreadWrite.STACK
    ...     return True
    >>> calls = [Call(CallbackType.INCLUDE_THREAD, {"ThreadId": 7})]
    >>> with PythonCallback({CallbackType.INCLUDE_THREAD: without_stack}) as callback:
    ...     answers = Replay(calls).run(callback)
    >>> ThreadWrite.STACK in ThreadWrite(answers[0].after["ThreadWriteFlags"])
    False
    """

    __slots__ = ()

    def __init__(self, raw: Any, type: int) -> None:
        super().__init__(raw, type)

    module_write_flags: _Member[ModuleWrite] = _Member(
        (_C.MODULE, _C.INCLUDE_MODULE),
        "ModuleWriteFlags",
        ModuleWrite,
        int,
        doc="MODULE, INCLUDE_MODULE: what is written.",
    )
    thread_write_flags: _Member[ThreadWrite] = _Member(
        (_C.THREAD, _C.THREAD_EX, _C.INCLUDE_THREAD),
        "ThreadWriteFlags",
        ThreadWrite,
        int,
        doc="THREAD, THREAD_EX, INCLUDE_THREAD: what is written.",
    )
    secondary_flags: _Member[SecondaryFlags] = _Member(
        (_C.SECONDARY_FLAGS,), "SecondaryFlags", SecondaryFlags, int, doc="SECONDARY_FLAGS: those in effect."
    )
    memory_base: _Member[int] = _Member(
        _MEMORY, "Memory.MemoryBase", int, int, doc="MEMORY, REMOVE_MEMORY: address of a range."
    )
    memory_size: _Member[int] = _Member(
        _MEMORY,
        "Memory.MemorySize",
        int,
        int,
        doc="MEMORY, REMOVE_MEMORY: bytes of the range, below 4 GiB; 0 ends the list.",
    )
    check_cancel: _Member[bool] = _Member(
        (_C.CANCEL,),
        "Cancel.CheckCancel",
        bool,
        int,
        doc="CANCEL: ask again. Always TRUE for a `PythonCallback`: an exception of any function must end the dump.",
    )
    cancel: _Member[bool] = _Member((_C.CANCEL,), "Cancel.Cancel", bool, int, doc="CANCEL: cancel the dump.")
    handle: _Member[int] = _Member(
        (_C.WRITE_KERNEL_MINIDUMP,),
        "Handle",
        pointers.address,
        pointers.as_pointer,
        doc="WRITE_KERNEL_MINIDUMP: output of a kernel minidump; 0 for none.",
    )
    continue_: _Member[bool] = _Member(
        (_C.INCLUDE_VM_REGION,), "Region.Continue", bool, int, doc="INCLUDE_VM_REGION: TRUE, or `vm_region` is ignored."
    )
    vm_query_status: _Member[int] = _Member(
        (_C.VM_QUERY,),
        "VmQuery.VmQueryStatus",
        _unsigned,
        _status,
        doc="VM_QUERY: S_OK: see `vm_query_result`; E_NOTIMPL: ask the system; any other: no more regions.",
    )
    vm_read_status: _Member[int] = _Member(
        _VM_READ, "VmRead.VmReadStatus", _unsigned, _status, doc="VM_PRE_READ, VM_POST_READ: HRESULT of the read."
    )
    vm_read_bytes_completed: _Member[int] = _Member(
        _VM_READ, "VmRead.VmReadBytesCompleted", int, int, doc="VM_PRE_READ, VM_POST_READ: valid bytes of the buffer."
    )
    status: _Member[int] = _Member(
        _STATUS,
        "Status",
        _unsigned,
        _status,
        doc="IO_*, READ_MEMORY_FAILURE, IS_PROCESS_SNAPSHOT, VM_START: HRESULT, unsigned; see `HResult`.",
    )

    @property
    def vm_region(self) -> MemoryInfo:
        """INCLUDE_VM_REGION: the region; base and size may be narrowed to a page-aligned part."""
        return self._info(_C.INCLUDE_VM_REGION, "vm_region", lambda raw: raw.Region.VmRegion)

    @property
    def vm_query_result(self) -> MemoryInfo:
        """VM_QUERY: the region that contains the address, page-aligned; space between regions is MEM_FREE."""
        return self._info(_C.VM_QUERY, "vm_query_result", lambda raw: raw.VmQuery.VmQueryResult)

    def _info(self, kind: CallbackType, name: str, find: Callable[[Any], Any]) -> MemoryInfo:
        raw = self._raw
        if self._type != kind:
            raise AttributeError(f"a {CallbackType(self._type).name} callback has no {name}", name=name, obj=self)
        info = MemoryInfo(find(raw), self._type)
        self._parts.append(info)
        return info

    def __repr__(self) -> str:
        return f"<Output: {CallbackType(self._type).name}>"
