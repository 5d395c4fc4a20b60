"""A program of its own: goes into namespaces that an unprivileged user may make, and becomes a command there.

    python -I -S enter.py '{"argv": [...], "environment": {...}, "uid": 1999999999, "processes": 1024}'

The directory that it is started in becomes the root of all that the command sees; nothing of the machine's file systems
is left but a few devices. There is no network, other processes are not seen, root in there is `uid` outside (null: the
user who runs this), and has the rights that installers need over its own files. `processes` bounds processes and
threads, if it is not null. With `base`, a directory, the root is an overlay of `upper` and `own` in the directory that
it is started in over that one.

It imports nothing of wavelet: it runs as another user than the daemon where that one is root.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import re
import resource
import signal
import sys
from pathlib import Path

_NAMESPACES = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000
"""User, mount, PID, network, IPC and UTS (linux/sched.h)."""
_MOUNTS = 0x00020000
_NOSUID, _NODEV, _NOEXEC, _BIND, _RECURSIVE, _PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
_DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SET_DEATH_SIGNAL, _SET_DUMPABLE, _DROP_RIGHT, _NO_NEW_PRIVILEGES = 1, 4, 24, 38
_RIGHTS = {0, 1, 3}
"""CHOWN, DAC_OVERRIDE and FOWNER (linux/capability.h)."""
_OVERLAY = "lowerdir=/tmp/place/own:/tmp/base,upperdir=/tmp/place/upper,workdir=/tmp/place/work,userxattr"
_DEVICES = ("full", "null", "random", "urandom", "zero")
_NOT_FOUND = 127
_COUNTS_BY_NAMESPACE = (5, 14)
"""The kernel since which RLIMIT_NPROC counts the processes of a user within a user namespace."""

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    values = [argument.encode() if isinstance(argument, str) else argument for argument in arguments]
    if getattr(_libc, name)(*values) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _prctl(what: int, value: int) -> None:
    _call("prctl", what, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    _call("mount", source, target, kind, ctypes.c_ulong(flags), data)


def _become(uid: int) -> None:
    """Stop being root for good."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    _prctl(_SET_DUMPABLE, 1)  # else the maps below stay root's


def _unshare() -> None:
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", _NAMESPACES)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def _gather(base: str) -> None:
    """Mount a directory, and the working directory, where anybody can go. It may lie where only this user can."""
    opened = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (base, ".")]
    _mount(None, "/", None, _RECURSIVE | _PRIVATE)
    _mount("tmpfs", "/tmp", "tmpfs", _NOSUID | _NODEV, "mode=0755")
    for name, directory in zip(("base", "place"), opened, strict=True):
        Path("/tmp", name).mkdir()
        _mount(f"/proc/self/fd/{directory}", f"/tmp/{name}", None, _BIND)
        os.close(directory)
    Path("/tmp/root").mkdir()


def _change_root(*, overlay: bool) -> None:
    _mount(None, "/", None, _RECURSIVE | _PRIVATE)
    if overlay:
        _mount("overlay", "/tmp/root", "overlay", _NOSUID | _NODEV, _OVERLAY)
    else:
        # The working directory may lie where this user cannot go again, so it is mounted where it can.
        _mount("tmpfs", "/tmp", "tmpfs", _NOSUID | _NODEV)
        Path("/tmp/root").mkdir()
        _mount(".", "/tmp/root", None, _BIND | _RECURSIVE)
    os.chdir("/tmp/root")
    for device in _DEVICES:
        _mount(f"/dev/{device}", f"dev/{device}", None, _BIND)
    with contextlib.suppress(OSError):  # where parts of /proc are covered, as in containers, there is none in here
        _mount("proc", "proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    _call("syscall", ctypes.c_long(_PIVOT_ROOT[platform.machine()]), b".", b".")
    _call("umount2", ".", _DETACH)
    os.chdir("/")


def _bound(processes: int | None) -> None:
    """Bound what runs in there; before Linux 5.14 the limit counts all processes of a user, also those outside."""
    with contextlib.suppress(OSError):  # where memory runs out, the daemon stays
        Path("/proc/self/oom_score_adj").write_text("1000")
    # With namespaces of their own, programs would have file systems in memory, which counts as nobody's.
    with contextlib.suppress(OSError):
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
    release = tuple(map(int, re.findall(r"\d+", platform.release())[:2]))
    if processes is not None and release >= _COUNTS_BY_NAMESPACE:
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))


def _give_rights_up() -> None:
    for right in range(64):
        if right not in _RIGHTS:
            with contextlib.suppress(OSError):  # this kernel knows fewer
                _prctl(_DROP_RIGHT, right)
    _prctl(_NO_NEW_PRIVILEGES, 1)


def main() -> int:
    """See the module. Return the command's status."""
    asked = json.loads(sys.argv[1])
    try:
        base = asked.get("base")
        if asked["uid"] is not None:
            if base is not None:
                _call("unshare", _MOUNTS)
                _gather(base)
            _become(asked["uid"])
        _unshare()
        if asked["uid"] is None and base is not None:
            _gather(base)
        child = os.fork()
        if child:
            # All that runs in there ends with its first process, and is gone once that one has been waited for.
            signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
        _bound(asked.get("processes"))
        _change_root(overlay=base is not None)
        _give_rights_up()
        os.execvpe(asked["argv"][0], asked["argv"], asked["environment"])
    except OSError as error:
        print(error.strerror if error.filename is None else f"{error.filename}: {error.strerror}", file=sys.stderr)
        return _NOT_FOUND


if __name__ == "__main__":
    os._exit(main() & 255)
