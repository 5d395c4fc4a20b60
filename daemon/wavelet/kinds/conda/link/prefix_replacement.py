"""Replacement of the prefix that a file was built for, as conda and rattler do it, in contents that come in pieces.

Text: each occurrence. The first line of a script has a limit of its own: Linux reads 127 bytes of `#!`, so a longer one
goes through `env`, or through `sh` for a Python.
Binary: each occurrence, in strings that end with a zero byte; these are filled up with zeros, so that nothing moves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

SHEBANG_LIMIT = 127
"""Bytes of a first line that Linux reads (execve(2), "Interpreter scripts")."""

_FIRST_LINE = 64 * 1024
"""A first line is looked for in as many bytes; what is longer is none that any kernel could read."""
_SHEBANG = re.compile(rb"#! *(/(?:\\ |[^ \n\r\t])*)(.*)", re.DOTALL)
_PYTHON = re.compile(rb"python(?:\d+(?:\.\d+)?)?")


def replace_text(chunks: Iterable[bytes], old: bytes, new: bytes) -> Iterator[bytes]:
    """Yield `chunks` with `new` wherever `old` stands, and a first line that still works."""
    source = iter(chunks)
    head = b""
    for chunk in source:
        head += chunk
        if not b"#!".startswith(head[:2]) or b"\n" in head or len(head) >= _FIRST_LINE:
            break
    line, newline, rest = head.partition(b"\n")
    if line.startswith(b"#!") and len(line) < _FIRST_LINE:
        yield shebang(line.replace(old, new))
        head = newline + rest
    yield from _replaced(head, source, old, new)


def replace_binary(chunks: Iterable[bytes], old: bytes, new: bytes) -> Iterator[bytes]:
    """Yield `chunks` with `new` wherever `old` stands, in the same length.

    Raises:
        ValueError: `new` is the longer one.
    """
    if len(new) > len(old):
        raise ValueError(f"its placeholder has {len(old)} bytes, too few for a prefix of {len(new)}")
    string = _Strings(old, new)
    for chunk in chunks:
        yield string.feed(chunk)
    yield string.end()


def shebang(line: bytes) -> bytes:
    """Return a script's first line, without its end, as short as Linux needs it."""
    if len(line) <= SHEBANG_LIMIT:
        return line
    found = _SHEBANG.fullmatch(line)
    if found is None:
        return line
    path, options = found.groups()
    program = path.rpartition(b"/")[2]
    if _PYTHON.fullmatch(program):
        return through_shell(path, options)
    return b"#!/usr/bin/env %b%b" % (program, options)


def through_shell(python: bytes, options: bytes = b"") -> bytes:
    """Return first lines that shell and Python both understand, and that have no limit."""
    return b"#!/bin/sh\n'''exec' \"%b\"%b \"$0\" \"$@\" #'''" % (python, options)


def _replaced(head: bytes, chunks: Iterable[bytes], old: bytes, new: bytes) -> Iterator[bytes]:
    for chunk in chunks:
        done, head = _cut(head, old)
        yield done.replace(old, new)
        head += chunk
    yield head.replace(old, new)


def _cut(data: bytes, old: bytes) -> tuple[bytes, bytes]:
    """Part `data` where no occurrence of `old` can stand across, those counted that begin first."""
    cut = max(0, len(data) - len(old) + 1, _last_match(data, old))
    return data[:cut], data[cut:]


def _last_match(data: bytes, old: bytes) -> int:
    """Return where the last of the occurrences ends that `bytes.replace` takes: from the left, without overlaps."""
    end, found = 0, data.find(old)
    while found >= 0:
        end = found + len(old)
        found = data.find(old, end)
    return end


class _Strings:
    """The state of `replace_binary` between pieces."""

    def __init__(self, old: bytes, new: bytes) -> None:
        self._old, self._new = old, new
        self._held = b""
        self._inside = False
        self._owed = 0

    def feed(self, chunk: bytes) -> bytes:
        """Take in a piece; return what is certain."""
        data = self._held + chunk
        done = []
        while data:
            if not self._inside:
                found = data.find(self._old)
                if found < 0:
                    break
                done.append(data[:found])
                data = data[found:]
                self._inside = True
            end = data.find(0)
            if end < 0:
                break
            done += (self._replace(data[:end]), bytes(self._owed))
            data = data[end:]
            self._inside, self._owed = False, 0
        sure, self._held = _cut(data, self._old)
        done.append(self._replace(sure) if self._inside else sure)
        return b"".join(done)

    def end(self) -> bytes:
        """Return what is left."""
        rest = self._replace(self._held) if self._inside else self._held
        return rest + bytes(self._owed)

    def _replace(self, data: bytes) -> bytes:
        self._owed += data.count(self._old) * (len(self._old) - len(self._new))
        return data.replace(self._old, self._new)
