"""The package `python` of the lab's channel: this machine's interpreter, libraries and standard library, trimmed.

It finds its libraries by a search path with the placeholder in it, so it runs only where it was linked well.
"""

from __future__ import annotations

import os
import platform
import struct
import sys
import sysconfig
from functools import cache
from pathlib import Path

from lab import elf
from lab.conda_packages import MEMBER_TIME, PLACEHOLDER, Entry, File, Package, Symlink, binary, script, text

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
"""`3.11`."""

VERSION = platform.python_version()
SITE_PACKAGES = f"lib/python{MINOR}/site-packages"

_LEFT_OUT = {
    "test", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "distutils", "pydoc_data", "curses", "dbm",
    "site-packages", "dist-packages", "lib-dynload", "__pycache__", "turtle.py", "venv", "msilib", "tests",
}  # fmt: skip
_MODULES = [
    "_asyncio",
    "_bisect",
    "_blake2",
    "_bz2",
    "_contextvars",
    "_csv",
    "_ctypes",
    "_datetime",
    "_decimal",
    "_elementtree",
    "_hashlib",
    "_heapq",
    "_json",
    "_lzma",
    "_md5",
    "_multiprocessing",
    "_opcode",
    "_pickle",
    "_posixshmem",
    "_posixsubprocess",
    "_queue",
    "_random",
    "_sha1",
    "_sha2",
    "_sha256",
    "_sha3",
    "_sha512",
    "_socket",
    "_sqlite3",
    "_ssl",
    "_statistics",
    "_struct",
    "_typing",
    "_uuid",
    "_zoneinfo",
    "array",
    "binascii",
    "cmath",
    "fcntl",
    "grp",
    "math",
    "mmap",
    "pyexpat",
    "resource",
    "select",
    "termios",
    "unicodedata",
    "zlib",
]
_COMPILED = ("encodings", "collections", "importlib", "re", "json", "asyncio")
"""Packages whose bytecode is shipped: it is used only if the sources keep their times."""


@cache
def python_package() -> Package:
    """Return the package."""
    interpreter = Path(os.path.realpath(sys._base_executable))  # type: ignore[attr-defined]
    files: dict[str, Entry] = {
        f"bin/python{MINOR}": _program(interpreter),
        "bin/python3": Symlink(f"python{MINOR}"),
        "bin/python": Symlink(f"python{MINOR}"),
        f"bin/pydoc{MINOR}": script(f"#!{PLACEHOLDER}/bin/python{MINOR}\nimport pydoc\npydoc.cli()\n"),
        "bin/pydoc3": Symlink(f"pydoc{MINOR}"),
        f"{SITE_PACKAGES}/README.txt": text("Here be packages.\n"),
        f"lib/pkgconfig/python-{MINOR}.pc": text(f"prefix={PLACEHOLDER}\nlibdir=${{prefix}}/lib\n"),
    }
    files |= _standard_library() | _build_settings()
    extensions = _extensions()
    files |= {f"lib/python{MINOR}/lib-dynload/{path.name}": _program(path) for path in extensions}
    needed = elf.libraries(interpreter)
    for path in extensions:
        needed |= elf.libraries(path)
    files |= {f"lib/{name}": _program(path) for name, path in needed.items()}
    depends = ("__glibc >=2.17", "tzdata")
    return Package("python", VERSION, "h1_0_cpython", files=files, depends=depends, license="Python-2.0")


def _program(path: Path) -> File:
    return binary(elf.with_rpath(elf.stripped(path), f"{PLACEHOLDER}/lib"))


def _extensions() -> list[Path]:
    directory = Path(sysconfig.get_config_var("DESTSHARED"))
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    return [path for name in _MODULES if (path := directory / f"{name}{suffix}").exists()]


def _standard_library() -> dict[str, Entry]:
    root = Path(os.__file__).parent
    found: dict[str, Entry] = {}
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if relative.parts[0] in _LEFT_OUT or relative.parts[0].startswith(("config-", "_sysconfigdata")):
            continue
        if "test" in relative.parts or "tests" in relative.parts:
            continue
        found[f"lib/python{MINOR}/{relative}"] = File(path.read_bytes())
        cached = path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc"
        if relative.parts[0] in _COMPILED and cached.exists():
            place = f"lib/python{MINOR}/{relative.parent}/__pycache__/{cached.name}"
            found[place] = File(_for_time(cached.read_bytes(), MEMBER_TIME))
    return found


def _build_settings() -> dict[str, Entry]:
    """Return what `sysconfig` reads, as built for the placeholder."""
    name = sysconfig._get_sysconfigdata_name() + ".py"  # type: ignore[attr-defined]
    settings = (Path(os.__file__).parent / name).read_text().replace(f"{sys.base_prefix}/", f"{PLACEHOLDER}/")
    return {f"lib/python{MINOR}/{name}": text(settings.replace(f"{sys.base_prefix}'", f"{PLACEHOLDER}'"))}


def _for_time(bytecode: bytes, mtime: int) -> bytes:
    """Return bytecode that is valid for a source of this time (PEP 552: magic, flags 0, time, size)."""
    return bytecode[:8] + struct.pack("<I", mtime) + bytecode[12:]
