"""What a minidump says of a process: the system, threads, modules, exceptions, handles."""

from __future__ import annotations

import re
from itertools import islice

from . import faults, names
from .dumpbytes import MAX_ITEMS, Part, Reader
from .dumpmodel import DumpFile, Failure, Handle, Module, System, Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .._native.snapshot import Snapshot

MAX_MODULES: Final = 1 << 16

_LINUX = re.compile(r"Linux (\d+[.]\d+(?:[.]\d+)?)")


class Process(Part):
    """From the lists of the reader in C, within the budget of names."""

    def __init__(self, reader: Reader, dump: DumpFile, snapshot: Snapshot) -> None:
        super().__init__(reader, dump)
        self.snapshot = snapshot

    def fill(self) -> None:
        """Everything, in the order in which names are counted."""
        self.dump.process_id = self.snapshot.pid
        platform = self._system()
        self._threads()
        self._modules()
        self._handles()
        self._exceptions(platform)

    def _system(self) -> int:
        """The platform comes with it: others need it."""
        system = self.snapshot.system()
        if system is None:
            return -1
        text, version = self.text(system.text, "SystemInfo"), system.version
        if version == "0.0.0" and (found := _LINUX.search(text)):  # Breakpad and minidump-writer say it there only
            version = found[1]
        self.dump.system = System(
            architecture=system.architecture,
            platform_id=system.platform,
            processor=names.PROCESSORS.get(system.architecture, f"processor 0x{system.architecture:x}"),
            processors=system.processors,
            platform=names.PLATFORMS.get(system.platform, f"platform 0x{system.platform:x}"),
            version=version,
            text=text,
        )
        return system.platform

    def _threads(self) -> None:
        self.cut("threads", self.snapshot.length("threads"))
        for thread in islice(self.snapshot.threads(), MAX_ITEMS):
            self.dump.threads.append(
                Thread(
                    id=thread.id,
                    name=self.text(thread.name, "ThreadNames"),
                    stack=thread.stack.address if thread.stack is not None else 0,
                    stack_size=thread.stack.size if thread.stack is not None else 0,
                    context_size=len(thread.context),
                    instruction_pointer=thread.instruction_pointer,
                    stack_pointer=thread.stack_pointer,
                )
            )

    def _modules(self) -> None:
        self.cut("modules", self.snapshot.length("modules"), MAX_MODULES)
        for module in islice(self.snapshot.modules(), MAX_MODULES):
            path = self.text(module.path, "ModuleList: a name")
            self.dump.modules.append(Module(base=module.base, size=module.size, path=path, identity=module.identity))

    def _handles(self) -> None:
        self.cut("handles", self.snapshot.length("handles"))
        for handle in self.snapshot.handles():
            self.dump.handles.append(
                Handle(
                    handle=handle.value,
                    type=self.text(handle.type, "HandleData: a type"),
                    name=self.text(handle.name, "HandleData: a name"),
                    attributes=handle.attributes,
                    access=handle.access,
                    handles=handle.handles,
                    pointers=handle.pointers,
                )
            )

    def _exceptions(self, platform: int) -> None:
        for index, found in enumerate(self.snapshot.exceptions()):
            count, words = self.snapshot.parameter_words(index)
            if count > 15:
                self.problem(f"Exception: {count} parameters are more than the 15 there can be")
            code, flags, address, instruction = found.code, found.flags, found.address, found.instruction_pointer
            # LLDB has bytes of a text there, and their number.
            parameters = words if flags == faults.LLDB_FLAGS else found.parameters
            access, accessed = faults.access_of(platform, code, flags, address, parameters, instruction)
            self.dump.failures.append(
                Failure(
                    thread=found.thread,
                    code=code,
                    flags=flags,
                    address=address,
                    parameters=parameters,
                    name=faults.name_of(platform, code, flags, parameters),
                    access=access,
                    accessed=accessed,
                    instruction_pointer=instruction,
                    details=faults.details_of(platform, code, flags, address, parameters, access),
                    faulted=faults.has_address(platform, code, flags, parameters),
                )
            )
