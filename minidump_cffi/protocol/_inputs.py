"""Structs that an `Input` holds, as values."""

from __future__ import annotations

from .._record import Record
from ..enums import Kind

__all__ = ["IoInput", "ModuleInput", "ReadFailureInput", "RegionFacts", "ThreadInput", "VmReadInput"]


class ModuleInput(Record):
    """MINIDUMP_MODULE_CALLBACK.

    Attributes
    ----------
    full_path : str
        As from `os.fsdecode`: an invalid UTF-8 byte is U+DC00 + byte.
    base_of_image, size_of_image : int
        Address, and bytes.
    checksum, time_date_stamp : int
        0 on Linux.
    cv_record : bytes
        The CodeView record: on Linux ``BpEL`` and the build id, or nothing.

    Examples
    --------
    >>> ModuleInput(
    ...     full_path="/bin/app", base_of_image=0x1000, size_of_image=0x2000, checksum=0, time_date_stamp=0,
    ...     cv_record=b"",
    ... ).full_path
    '/bin/app'
    """

    full_path: str
    base_of_image: int
    size_of_image: int
    checksum: int
    time_date_stamp: int
    cv_record: bytes


class ThreadInput(Record):
    """MINIDUMP_THREAD_CALLBACK.

    Attributes
    ----------
    thread_id : int
        On Linux the tid.
    thread_handle : int
        0 on Linux.
    context : bytes
        The CONTEXT.
    stack_base, stack_end : int
        The high and the low end of the stack, addresses.

    Examples
    --------
    >>> ThreadInput(thread_id=7, thread_handle=0, context=b"", stack_base=0x9000, stack_end=0x7000).thread_id
    7
    """

    thread_id: int
    thread_handle: int
    context: bytes
    stack_base: int
    stack_end: int


class IoInput(Record):
    """MINIDUMP_IO_CALLBACK.

    Attributes
    ----------
    handle : int
        On Linux the descriptor of the output; 0 if there is none.
    offset : int
        Bytes from the start of the dump.
    data : memoryview
        What is to be stored at `offset`; valid during the call.

    Examples
    --------
    >>> IoInput(handle=0, offset=0, data=memoryview(b"MDMP")).data.tobytes()
    b'MDMP'
    """

    handle: int
    offset: int
    data: memoryview


class ReadFailureInput(Record):
    """MINIDUMP_READ_MEMORY_FAILURE_CALLBACK.

    Attributes
    ----------
    offset, bytes : int
        Address in the target, and how much could not be read.
    failure_status : int
        HRESULT, unsigned.

    Examples
    --------
    >>> hex(ReadFailureInput(offset=0x1000, bytes=4096, failure_status=0x8007012B).failure_status)
    '0x8007012b'
    """

    offset: int
    bytes: int
    failure_status: int


class VmReadInput(Record):
    """MINIDUMP_VM_PRE_READ_CALLBACK and MINIDUMP_VM_POST_READ_CALLBACK.

    Attributes
    ----------
    offset : int
        Address in the target.
    buffer : memoryview
        Writable; valid during the call. Behind a read it holds what was read.
    size : int
        Bytes of `buffer`.
    completed : int
        VmPostRead: bytes that were read; VmPreRead: 0.
    status : int
        VmPostRead: HRESULT of the read, unsigned; VmPreRead: 0.

    Examples
    --------
    >>> VmReadInput(offset=0x1000, buffer=memoryview(bytearray(4096)), size=4096, completed=4096, status=0).size
    4096
    """

    offset: int
    buffer: memoryview
    size: int
    completed: int
    status: int


class RegionFacts(Record):
    """Facts about a mapping that our engine sends with `Extensions.REGION_FACTS`.

    Attributes
    ----------
    name : bytes or None
        Of the mapping: a path, ``[heap]``.
    mapping_base, mapping_size : int
        Of the whole mapping: address and bytes.
    kinds : Kind
        What it is.
    flags : int
        MDC_FACT_* of minidump_protocol.h.
    file_offset, inode, device : int, int, (int, int)
        Of the mapped file.

    Examples
    --------
    >>> facts = RegionFacts(
    ...     name=b"[heap]", mapping_base=0x1000, mapping_size=0x2000, kinds=Kind.HEAP, flags=0, file_offset=0, inode=0,
    ...     device=(0, 0),
    ... )
    >>> Kind.HEAP in facts.kinds
    True
    """

    name: bytes | None
    mapping_base: int
    mapping_size: int
    kinds: Kind
    flags: int
    file_offset: int
    inode: int
    device: tuple[int, int]
