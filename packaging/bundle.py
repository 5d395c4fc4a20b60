"""The tree of the self-contained bundle: an interpreter, its library, wavelet with all it needs, and a C library.

    bin/        launchers: wavelet, python3, uv
    libexec/    the programs themselves; `wavelet` is the dynamic loader, under the name that `ps` shows then
    lib/        every shared library, the C library too; python3.X/ is the standard library

Nothing in it is written to, or needs to be: it may lie on a shared, read-only disk.
"""

from __future__ import annotations

import compileall
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from py_compile import PycInvalidationMode

MINOR = f"python{sys.version_info.major}.{sys.version_info.minor}"

STANDARD_LIBRARY_WITHOUT = {
    "__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "turtle.py",
    "lib2to3", "ensurepip", "venv", "msilib", "pydoc_data", "curses", "lib-tk",
}  # fmt: skip
"""What a daemon has no use for, wherever it lies in the standard library."""

EXTENSIONS_WITHOUT = re.compile(r"_test|xx|_tkinter|_curses|readline|_dbm|_gdbm|nis\b|_ctypes_test|ossaudiodev|audioop")

INSTALLERS = re.compile(r"(pip|setuptools|wheel)(-.*)?|_virtualenv\..*|_distutils_hack|distutils-.*")
"""What installs packages; a package may have a part of such a name, as wavelet's room for pip."""

PACKAGES_WITHOUT = {"__pycache__", "tests"}
PACKAGES_WITHOUT_SUFFIXES = {".pyi", ".pyx", ".pxd", ".h", ".c"}

LOADED_BY_NAME = ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2", "libgcc_s.so.1", "libpthread.so.0")
"""Libraries that nothing names in its header: the C library opens them when they are needed."""

_LDD_LINE = re.compile(r"^\s*(?:(\S+) => )?(/\S+) \(0x", re.MULTILINE)


def make(root: Path) -> None:
    """Make the tree at `root`, of the virtual environment that runs this: its interpreter, and what is installed in it.

    Raises:
        SystemExit: this machine lacks something; its message says what.
    """
    interpreter = Path(os.path.realpath(sys._base_executable))  # type: ignore[attr-defined]
    for name in ("bin", "lib", "libexec"):
        (root / name).mkdir(parents=True)
    shutil.copy(interpreter, root / "libexec" / "python3")
    loader = _copy_standard_library_and_loader(root, interpreter)
    _write_launcher(root, "python3", "python3", ["-E", "-s"])
    _write_launcher(root, "wavelet", "python3", ["-E", "-s", "-P", "-m", "wavelet.cli.main"], name="python3")
    _copy_libraries(root / "lib", [interpreter, *(root / "lib" / MINOR / "lib-dynload").iterdir()], loader)
    packages = _packages_directory(root)
    shutil.copytree(sysconfig.get_path("platlib"), packages, ignore=_not_for_a_bundle, dirs_exist_ok=True)
    shutil.copy(packages / "certifi" / "cacert.pem", root / "lib" / "authorities.pem")
    shutil.copy(Path(sysconfig.get_path("scripts")) / "uv", root / "libexec" / "uv")
    _write_launcher(root, "uv", "uv", [])
    _strip(root)
    _copy_libraries(root / "lib", [root / "libexec" / "uv", *packages.rglob("*.so"), *packages.rglob("*.so.*")], loader)
    _compile(root)


def _copy_standard_library_and_loader(root: Path, interpreter: Path) -> Path:
    source = Path(os.__file__).parent
    target = root / "lib" / MINOR

    def unwanted(directory: str, names: list[str]) -> set[str]:
        found = STANDARD_LIBRARY_WITHOUT & set(names)
        if directory == str(source):
            found |= {name for name in names if name.startswith("config-")}
        if Path(directory).name == "lib-dynload":
            found |= {name for name in names if EXTENSIONS_WITHOUT.match(name)}
        return found

    shutil.copytree(source, target, ignore=unwanted)
    # An interpreter may keep its extension modules with those of other versions.
    elsewhere = Path(sysconfig.get_config_var("DESTSHARED"))
    if not (target / "lib-dynload").exists():
        shutil.copytree(elsewhere, target / "lib-dynload", ignore=unwanted)
    loader = next((path for name, path in _needs(interpreter) if not name), None)
    if loader is None:
        raise SystemExit(f"{interpreter} is not a program of this machine's C library")
    if "--argv0" not in _output([str(loader), "--help"]):
        raise SystemExit(f"{loader} is too old for a bundle; it is glibc's, from 2.33 on, that takes --argv0")
    shutil.copy(loader, root / "libexec" / "wavelet")
    return loader


def _write_launcher(root: Path, file: str, program: str, arguments: list[str], *, name: str = "") -> None:
    text = Path(__file__).with_name("launcher.sh").read_text("utf-8")
    given = "".join(f"{argument} " for argument in arguments)
    text = text.replace("@NAME@", name or file).replace("@PROGRAM@", program).replace("@ARGUMENTS@", given)
    path = root / "bin" / file
    path.write_text(text, "utf-8")
    path.chmod(0o755)


def _needs(file: Path) -> Iterator[tuple[str, Path]]:
    """Yield what a program or library is linked with: its name (the loader's is empty) and where it is."""
    for name, path in _LDD_LINE.findall(_output(["ldd", str(file)])):
        yield name, Path(path)


def _copy_libraries(target: Path, files: Iterable[Path], loader: Path) -> None:
    """Copy what the files need into `target`, under the names they ask for, but what lies in the bundle already."""
    bundle = target.parent
    wanted = {name: loader.parent / name for name in LOADED_BY_NAME}
    for file in files:
        wanted.update((name, path) for name, path in _needs(file) if name)
    for name, path in wanted.items():
        place = target / Path(name).name
        if place.exists() or path.is_relative_to(bundle):
            continue
        found = path if path.exists() else _elsewhere(path.name)
        shutil.copy(found, place)
    # The loader is also asked for as a library.
    own = target / loader.name
    if not own.exists():
        own.symlink_to("../libexec/wavelet")


def _elsewhere(name: str) -> Path:
    """Return where this machine has a library that is not beside its loader."""
    found = re.search(rf"{re.escape(name)} .*=> (\S+)", _output(["/sbin/ldconfig", "-p"]))
    if found is None:
        raise SystemExit(f"this machine has no {name}")
    return Path(found[1])


def _packages_directory(root: Path) -> Path:
    """Ask the bundled interpreter where it looks for packages; this also shows that it starts."""
    code = "import site; print(site.getsitepackages()[0])"
    place = Path(_output([str(root / "bin" / "python3"), "-B", "-c", code]).strip())
    if not place.is_relative_to(root.resolve()):
        raise SystemExit(f"the bundled interpreter looks for packages in {place}")
    return place


def _not_for_a_bundle(directory: str, names: list[str]) -> set[str]:
    """Return what is left behind of installed packages: installers, what they note, and what compilers read."""
    found = {name for name in names if Path(name).suffix in PACKAGES_WITHOUT_SUFFIXES}
    if directory.endswith(".dist-info"):
        return found | ({"RECORD", "direct_url.json", "REQUESTED", "uv_cache.json"} & set(names))
    if directory == sysconfig.get_path("platlib"):
        found |= {name for name in names if INSTALLERS.fullmatch(name)}
    return found | (PACKAGES_WITHOUT & set(names))


def _strip(root: Path) -> None:
    """Take debugging information out, where this machine has the tool: half of the bundle's size would be that."""
    tool = shutil.which("strip")
    if tool is None:
        return
    files = [root / "libexec" / "python3", *root.rglob("*.so"), *root.glob("lib/libpython*.so.*")]
    subprocess.run([tool, "--strip-debug", *map(str, files)], check=True)


def _compile(root: Path) -> None:
    """Compile all, so that what is compiled is valid whatever times the files get, and has no path of this machine."""
    compileall.compile_dir(
        root / "lib" / MINOR,
        stripdir=str(root),
        quiet=2,
        workers=0,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout
