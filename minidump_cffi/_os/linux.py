"""What /proc says about processes: start times, pidfds, and whether a target is our own consumer."""

# ruff: noqa: PTH115, PTH116, PTH208 -- thousands of links of /proc are read while the caller waits

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys

from .._native.errors import short
from ..errors import TargetError, TargetGone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

assert sys.platform != "win32"

__all__ = ["check_consumer", "open_handle", "pid_of_fd", "process_handle", "program_of", "start_time"]


_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:  # pathlib takes as long to import as all the rest
        return file.read()


def _text(path: str) -> str:
    return _bytes(path).decode("utf-8", "surrogateescape")


def pid_of_fd(fd: int) -> int:
    """The process of a pidfd."""
    try:
        text = _text(f"/proc/self/fdinfo/{fd}")
    except OSError as error:
        if error.errno in _SHORTAGES:
            raise short(error.errno, f"cannot inspect PidFd({fd})") from error
        if isinstance(error, FileNotFoundError) and _is_open(fd):
            raise TargetError(f"PidFd({fd}): /proc is not mounted, or is that of another pid namespace") from None
        raise TargetError(f"PidFd({fd}): this descriptor is not open") from None
    match = re.search(r"^Pid:\s*(-?\d+)$", text, re.MULTILINE)
    if match is None:
        raise TargetError(f"PidFd({fd}): this descriptor is not a pidfd")
    pid = int(match[1])
    if pid == 0:
        raise TargetError(f"PidFd({fd}): the process is in a pid namespace that is not visible from here")
    if pid < 0:
        raise TargetGone(f"PidFd({fd}): the process has ended", errno=errno.ESRCH)
    return pid


def _is_open(fd: int) -> bool:
    with contextlib.suppress(OSError):
        os.fstat(fd)
        return True
    return False


def open_handle(handle: int) -> tuple[int, int]:
    """Refuse: handles are for Windows."""
    raise TargetError(
        f"Handle({handle}) names a process on Windows only: on Linux give a pid or PidFd(fd)",
        hint="give a pid or PidFd(fd)",
    )


def process_handle(process: object) -> int:
    """The HANDLE of a process object; there is none here."""
    return 0


def program_of(pid: int) -> str:
    """The name of a process as ps(1) shows it (/proc/PID/comm, 15 bytes); empty if it has ended."""
    try:
        return os.fsdecode(_bytes(f"/proc/{pid}/comm").removesuffix(b"\n"))
    except OSError:
        return ""


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, in clock ticks since boot; None if there is no such process."""
    try:
        text = _bytes(f"/proc/{pid}/stat")
    except OSError as error:
        if error.errno in _SHORTAGES:
            raise short(error.errno, f"cannot inspect process {pid}") from error
        return None
    # The name in parentheses may hold spaces and parentheses itself.
    return int(text.rpartition(b")")[2].split()[19])


# ------------------------------------------------------------------------------------------------- our own consumer


def check_consumer(pid: int, fd: int) -> None:
    """Refuse an output that the target itself has to read: it would wait for us while we wait for it.

    Parameters
    ----------
    pid
        The target, which runs.
    fd
        The output.

    Raises
    ------
    TargetError
        The target holds the other end of the pipe, FIFO or socket, or serves its terminal.
    """
    import stat

    try:
        about = os.fstat(fd)
    except OSError:
        return  # the sink will say what is wrong with it
    own = pid == os.getpid()  # otherwise a reader among us is as good as another process
    if stat.S_ISFIFO(about.st_mode):
        what = "reads the pipe"
        found = _reads_pipe(pid, about) and (own or not _reads_pipe(os.getpid(), about))
    elif stat.S_ISSOCK(about.st_mode):
        what = "holds the other end of the socket"
        peers = _socket_peers(fd, about.st_ino)
        found = bool(peers) and _holds_socket(pid, peers) and (own or not _holds_socket(os.getpid(), peers))
    elif stat.S_ISCHR(about.st_mode) and os.major(about.st_rdev) == 136:  # UNIX98_PTY_SLAVE_MAJOR
        what = "serves the terminal"
        found = _serves_terminal(pid, os.minor(about.st_rdev))
    else:
        return
    if found:
        raise TargetError(
            f"process {pid} {what} of the output, and cannot read it while stopped: "
            "write to a file, or through another process",
            pid=pid,
            hint="write to a file, or through another process",
        )


def _descriptors(pid: int) -> Iterator[tuple[str, str]]:
    """(/proc path, link text) of the open descriptors of a process; none if we may not look."""
    for base in (f"/proc/{pid}/fd", f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            if base.endswith("/task"):
                # The leader may be dead while other threads live; its table is gone then, theirs is not.
                tid = next(name for name in os.listdir(base) if int(name) != pid)
                base = f"{base}/{tid}/fd"
            found = False
            for name in os.listdir(base):
                with contextlib.suppress(OSError):
                    path = f"{base}/{name}"
                    yield path, os.readlink(path)
                    found = True
            if found:
                return


def _reads_pipe(pid: int, about: os.stat_result) -> bool:
    for path, link in _descriptors(pid):
        if link.startswith(("socket:", "anon_inode:")):
            continue
        with contextlib.suppress(OSError, ValueError):
            # stat would ask the server of a file system, which may not answer: only where the inode is the pipe's.
            info = _text(path.replace("/fd/", "/fdinfo/"))
            inode = re.search(r"^ino:\s*(\d+)$", info, re.MULTILINE)  # Linux 5.14
            if inode is not None and int(inode[1]) != about.st_ino:
                continue
            other = os.stat(path)
            if (other.st_dev, other.st_ino) == (about.st_dev, about.st_ino) and _access(info) != os.O_WRONLY:
                return True
    return False


def _access(info: str) -> int:
    """Access mode of an open descriptor of any process, from its fdinfo."""
    match = re.search(r"^flags:\s*(\d+)$", info, re.MULTILINE)
    return int(match[1], 8) & os.O_ACCMODE if match else os.O_RDWR


def _holds_socket(pid: int, inodes: set[int]) -> bool:
    links = {f"socket:[{inode}]" for inode in inodes}
    return any(link in links for _, link in _descriptors(pid))


def _serves_terminal(pid: int, number: int) -> bool:
    for path, link in _descriptors(pid):
        if link.endswith("ptmx"):
            with contextlib.suppress(OSError):
                info = _text(path.replace("/fd/", "/fdinfo/"))
                if re.search(rf"^tty-index:\s*{number}$", info, re.MULTILINE):
                    return True
    return False


def _socket_peers(fd: int, inode: int) -> set[int]:
    """Inodes of the sockets at the other end, as far as the kernel reports them: Unix, and local TCP."""
    import socket

    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as ours:
        if ours.family == socket.AF_UNIX:
            return _unix_peer(inode)
        if ours.family in (socket.AF_INET, socket.AF_INET6) and ours.type == socket.SOCK_STREAM:
            return _tcp_peers(ours.getsockname()[1], ours.getpeername()[1], inode)
    return set()


def _unix_peer(inode: int) -> set[int]:
    """Ask the kernel's sock_diag for the peer of a Unix socket (linux/unix_diag.h)."""
    import socket
    import struct

    netlink_sock_diag, sock_diag_by_family, show_peer, attribute_peer = 4, 20, 4, 2
    request = struct.pack(
        "=IHHII BBHIIIII",
        40,
        sock_diag_by_family,
        1,  # NLM_F_REQUEST
        0,
        0,
        socket.AF_UNIX,
        0,
        0,
        0xFFFFFFFF,  # any state
        inode,
        show_peer,
        0xFFFFFFFF,  # no cookie
        0xFFFFFFFF,
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, netlink_sock_diag) as diag:
        diag.settimeout(1)
        diag.sendto(request, (0, 0))
        answer = diag.recv(4096)
    length, kind = struct.unpack_from("=IH", answer)
    if kind != sock_diag_by_family:
        return set()
    at = 16 + 16  # nlmsghdr, unix_diag_msg
    while at + 4 <= min(length, len(answer)):
        size, attribute = struct.unpack_from("=HH", answer, at)
        if attribute == attribute_peer and size >= 8:
            return {struct.unpack_from("=I", answer, at + 4)[0]}
        at += max(4, (size + 3) & ~3)
    return set()


def _tcp_peers(our_port: int, peer_port: int, inode: int) -> set[int]:
    """Sockets of this machine whose two ports are ours, turned round."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in _text(table).splitlines()[1:]:
                fields = line.split()
                ports = [int(field.rpartition(":")[2], 16) for field in fields[1:3]]
                if ports == [peer_port, our_port]:
                    found.add(int(fields[9]))
    return found - {inode, 0}
