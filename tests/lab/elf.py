"""Programs of this machine made relocatable: the libraries that they need, and a search path for these in the file."""

from __future__ import annotations

import re
import struct
import tempfile
from itertools import pairwise
from pathlib import Path

from groups import program
from lab.processes import LabError, run

_LOAD, _DYNAMIC, _NOTE = 1, 2, 4
_STRTAB, _STRSZ, _RPATH, _RUNPATH = 5, 10, 15, 29
_PAGE = 4096
_C_LIBRARY = re.compile(r"(ld-linux.*|lib(c|m|dl|pthread|rt|util|resolv))\.so\.\d+")

_Header = tuple[int, ...]
"""type, flags, offset, address, physical address, size in the file, size in memory, alignment (ELF-64, Elf64_Phdr)."""


def libraries(executable: Path) -> dict[str, Path]:
    """Return the libraries that a program needs, by the names it knows them by, without those of the C library."""
    printed = run(["ldd", executable], check=False).stdout
    found = re.findall(r"^\s*(\S+) => (/\S+) \(0x", printed, re.MULTILINE)
    return {name: Path(path) for name, path in found if not _C_LIBRARY.fullmatch(name)}


def stripped(path: Path) -> bytes:
    """Return a program or library without its debugging information, where this machine has `strip`."""
    tool = program("strip")
    if tool is None:
        return path.read_bytes()
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / path.name
        run([tool, "--strip-debug", "-o", made, path])
        return made.read_bytes()


def with_rpath(content: bytes, rpath: str) -> bytes:
    """Return a program or library that looks for libraries in `rpath` first; it also counts for those it loads.

    The strings of the dynamic section are copied, with one more, into a new segment; a note gives up its header for it.
    """
    start, count = struct.unpack_from("<Q", content, 32)[0], struct.unpack_from("<H", content, 56)[0]
    headers = [struct.unpack_from("<IIQQQQQQ", content, start + 56 * number) for number in range(count)]
    dynamic = next(header for header in headers if header[0] == _DYNAMIC)
    entries = [struct.unpack_from("<QQ", content, dynamic[2] + 16 * n) for n in range(dynamic[5] // 16)]
    strings = dict(entries)
    table = _offset(headers, strings[_STRTAB])
    old = content[table : table + strings[_STRSZ]]
    new = old + rpath.encode() + b"\0"
    offset = _aligned(len(content))
    address = _aligned(max(header[3] + header[6] for header in headers if header[0] == _LOAD))
    changed = {_STRTAB: address, _STRSZ: len(new)}
    kept = [(tag, changed.get(tag, value)) for tag, value in entries if tag not in (0, _RPATH, _RUNPATH)]
    kept.insert(0, (_RPATH, len(old)))
    if len(kept) >= len(entries):
        raise LabError("no room for a search path in the dynamic section")
    kept += [(0, 0)] * (len(entries) - len(kept))
    result = bytearray(content.ljust(offset, b"\0") + new)
    for number, header in enumerate(
        _with_segment(headers, (_LOAD, 4, offset, address, address, len(new), len(new), _PAGE))
    ):
        struct.pack_into("<IIQQQQQQ", result, start + 56 * number, *header)
    for number, entry in enumerate(kept):
        struct.pack_into("<QQ", result, dynamic[2] + 16 * number, *entry)
    return bytes(result)


def _with_segment(headers: list[_Header], segment: _Header) -> list[_Header]:
    notes = [header for header in headers if header[0] == _NOTE]
    if not notes:
        raise LabError("no note in the program to give up")
    rest = [header for header in headers if header is not notes[-1]]
    last = max(number for number, header in enumerate(rest) if header[0] == _LOAD)
    result = [*rest[: last + 1], segment, *rest[last + 1 :]]
    loads = [header[3] for header in result if header[0] == _LOAD]
    assert all(low < high for low, high in pairwise(loads)), "segments stand in the order of their addresses"
    return result


def _offset(headers: list[_Header], address: int) -> int:
    for kind, _, offset, start, _, size, *_ in headers:
        if kind == _LOAD and start <= address < start + size:
            return offset + address - start
    raise LabError("the program's strings are in no segment")


def _aligned(position: int) -> int:
    return -(-position // _PAGE) * _PAGE
