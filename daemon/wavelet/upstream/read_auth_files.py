"""A program that reads a user's auth files as that user, run with `python -I -S`; it imports nothing of wavelet.

Usage: read_auth_files.py UID GID PATH...   (as root, or as UID itself)

It gives up every right but the user's before it looks at a path. It drops them itself, not the starting process, since
the interpreter may lie where the user cannot reach; and a process that changed its uid cannot be traced by the user.
Links are followed, for dotfile managers and Kubernetes make them, to files of the user or of root.
Standard output: a JSON list, for each path that is there `{"path", "text"}` or `{"path", "error"}`.
"""

import errno
import json
import os
import stat
import sys

SIZE_LIMIT = 1024 * 1024
"""Bytes of one file; real ones have a few hundred."""


def become(uid: int, gid: int) -> None:
    """Take on `uid` and `gid` for good, without supplementary groups."""
    if os.getresuid() != (uid, uid, uid):
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid):
        raise PermissionError(errno.EPERM, "the uid could not be changed")


def read(path: str, uid: int) -> "dict[str, str] | None":
    """Return the file's text, or what is wrong with it; None if there is no such file."""
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return {"path": path, "error": "it is a link to a file that is not there"} if _is_link(path) else None
    except OSError as error:
        return {"path": path, "error": _words(error)}
    try:
        return {"path": path, "text": _read_open(descriptor, uid)}
    except UnicodeDecodeError:
        return {"path": path, "error": "it is not text"}
    except OSError as error:
        return {"path": path, "error": _words(error)}
    finally:
        os.close(descriptor)


def _is_link(path: str) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError:
        return False


def _read_open(descriptor: int, uid: int) -> str:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    # Root's are those that an administrator or Kubernetes puts there; all are read with the user's rights alone.
    if status.st_uid not in (uid, 0):
        raise OSError(errno.EPERM, "it belongs to another user")
    data = b""
    while block := os.read(descriptor, SIZE_LIMIT + 1 - len(data)):
        data += block
        if len(data) > SIZE_LIMIT:
            raise OSError(errno.EFBIG, "it is too large")
    return data.decode("utf-8")


def _words(error: OSError) -> str:
    return error.strerror or "it cannot be read"


def main(arguments: "list[str]") -> None:
    """Run the program."""
    uid, gid = int(arguments[0]), int(arguments[1])
    become(uid, gid)
    found = [read(path, uid) for path in arguments[2:]]
    json.dump([entry for entry in found if entry is not None], sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
