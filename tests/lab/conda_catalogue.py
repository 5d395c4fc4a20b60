"""The packages of the lab's channel, each there for a property that a linker or a solver has to get right."""

from __future__ import annotations

from functools import cache

from lab import elf
from lab.conda_packages import (
    BUILT,
    PLACEHOLDER,
    Entry,
    File,
    Noise,
    Package,
    Symlink,
    binary,
    machine,
    script,
    text,
)
from lab.conda_python import MINOR, SITE_PACKAGES, VERSION, python_package
from lab.conda_scripts import activated, scripted
from lab.conda_shapes import collisions, conflicts, refused_by_rattler, shapes

DAY = 86_400_000
"""In milliseconds, as timestamps are."""

EARLY = BUILT * 1000
LATE = EARLY + 60 * DAY
"""Upload times: most packages are early; newest versions are late (2024-01-13)."""

GAP = "2023-12-15T00:00:00Z"
"""A time between both, RFC 3339."""


def _tool(name: str, version: str, **settings: object) -> Package:
    """Return a tool that tells its version and prefix, with a real static program behind it."""
    files: dict[str, Entry] = {
        f"bin/{name}": script(
            f'#!/bin/sh\nroot="{PLACEHOLDER}"\n'
            f'[ "$1" = --prefix ] && {{ echo "$root"; exit 0; }}\n'
            f'[ "$1" = busybox ] && exec "$root/libexec/{name}/$@"\n'
            f'echo "{name} {version}"\n'
        ),
        f"libexec/{name}/busybox": File(machine("busybox").read_bytes(), 0o755),
        f"share/man/man1/{name}.1": text(f".TH {name} 1\n"),
        f"share/{name}/version.txt": text(f"{version}\n"),
    }
    return Package(name, version, files=files, **settings)  # type: ignore[arg-type]


def _library(name: str, version: str, **settings: object) -> Package:
    """Return a library with the usual links, and with the placeholder in a NUL-padded string of it."""
    prefix = PLACEHOLDER.encode()
    rodata = b"\x7fNOT-REALLY-ELF" + bytes(64) + prefix + b"/share/" + name.encode() + b"\0tail\0" + bytes(32)
    rodata += b"PATH=" + prefix + b"/bin:" + prefix + b"/sbin\0" + bytes(range(256)) * 40
    major = version.partition(".")[0]
    files: dict[str, Entry] = {
        f"lib/{name}.so.{version}": binary(rodata),
        f"lib/{name}.so.{major}": Symlink(f"{name}.so.{version}"),
        f"lib/{name}.so": Symlink(f"{name}.so.{major}"),
        f"lib/pkgconfig/{name}.pc": text(f"prefix={PLACEHOLDER}\nName: {name}\nVersion: {version}\n"),
        f"include/{name}.h": text(f"/* {name} {version} */\n"),
    }
    return Package(name, version, files=files, **settings)  # type: ignore[arg-type]


def tools() -> list[Package]:
    """Tools with versions and a chain of dependencies: samtools -> htslib -> libdeflate, libzlab -> libgcc-lab."""
    needs = ("libzlab >=1.2,<2", "libgcc-lab >=12")
    return [
        _tool("samtools", "1.17", depends=("htslib >=1.17,<1.18", *needs)),
        _tool("samtools", "1.18", depends=("htslib >=1.18,<1.19", *needs), timestamp=LATE),
        _tool("bwa", "0.7.17", depends=needs, license="GPL-3.0-or-later"),
        _tool("bwa", "0.7.18", depends=needs, license="GPL-3.0-or-later", timestamp=LATE),
        _library("htslib", "1.17", depends=("libdeflate-lab >=1.19", *needs)),
        _library("htslib", "1.18", depends=("libdeflate-lab >=1.19", *needs), timestamp=LATE),
        _library("libdeflate-lab", "1.19", depends=needs[1:]),
        _library("libzlab", "1.2.13", depends=needs[1:], license="Zlib"),
        _library("libzlab", "1.3", depends=(*needs[1:], "__glibc >=2.30"), license="Zlib"),
        _library(
            "libgcc-lab", "13.2.0", depends=("__linux", "__glibc >=2.17"), license="GPL-3.0-only WITH GCC-exception-3.1"
        ),
        _procps(),
        Package("which", "2.21", files={"bin/which": script('#!/bin/sh\ncommand -v "$1"\n')}, license="GPL-3.0-only"),
    ]


def _procps() -> Package:
    ps = machine("ps")
    files: dict[str, Entry] = {
        "bin/ps": binary(elf.with_rpath(ps.read_bytes(), f"{PLACEHOLDER}/lib/procps")),
        "share/doc/procps-ng/README": text("ps and friends\n"),
    }
    for name, path in elf.libraries(ps).items():
        files[f"lib/procps/{name}"] = binary(elf.with_rpath(path.read_bytes(), f"{PLACEHOLDER}/lib/procps"))
    return Package("procps-ng", "4.0.4", files=files, depends=("__glibc >=2.17",), license="GPL-2.0-or-later")


def pythons() -> list[Package]:
    """The Python that runs, two older ones in outline, and what is in their site-packages."""
    unusual = "lib/python3.10t/site-packages"
    extension = f"{SITE_PACKAGES}/labext/fast.cpython-{MINOR.replace('.', '')}-x86_64-linux-gnu.so"
    return [
        python_package(),
        _outline("3.9.18"),
        _outline("3.10.13", "h1_0_cp310t", index={"python_site_packages_path": unusual}),
        Package(
            "labext",
            files={
                f"{SITE_PACKAGES}/labext/__init__.py": text(f'PREFIX = "{PLACEHOLDER}"\n'),
                extension: binary(b"\x7fELF" + bytes(60) + PLACEHOLDER.encode() + b"/lib\0" + bytes(100)),
                f"{SITE_PACKAGES}/labext-1.0.dist-info/METADATA": text(
                    "Metadata-Version: 2.1\nName: labext\nVersion: 1.0\n"
                ),
            },
            build=f"py{MINOR.replace('.', '')}h0_0",
            depends=(f"python >={MINOR},<{MINOR}.9999",),
        ),
    ]


def _outline(version: str, build: str = "h1_0_cpython", subdir: str = "linux-64", **settings: object) -> Package:
    minor = version.rpartition(".")[0]
    files: dict[str, Entry] = {
        f"bin/python{minor}": script(f"#!/bin/sh\necho Python {version} of {PLACEHOLDER}, in outline\n"),
        "bin/python3": Symlink(f"python{minor}"),
        "bin/python": Symlink("python3"),
        f"lib/python{minor}/os.py": text("# in outline\n"),
    }
    return Package("python", version, build, subdir, files, ("tzdata",), **settings)  # type: ignore[arg-type]


def _distribution(name: str, version: str, files: dict[str, Entry], **settings: object) -> Package:
    """Return a noarch python package with its metadata."""
    module = name.replace("-", "_")
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    return Package(
        name,
        version,
        "pyhd8ed1ab_0",
        "noarch",
        files
        | {
            f"site-packages/{module}-{version}.dist-info/METADATA": text(metadata),
            f"site-packages/{module}-{version}.dist-info/INSTALLER": text("conda"),
        },
        noarch="python",
        **settings,  # type: ignore[arg-type]
    )


_MAIN = """import sys


def main():
    print('labtool', *sys.argv[1:])
    return 0


class Group:
    cli = staticmethod(main)
"""


def noarch() -> list[Package]:
    """Packages for every platform: Python ones with entry points, scripts and data, and generic ones."""
    return [
        _distribution(
            "labtool",
            "1.0",
            {
                "site-packages/labtool/__init__.py": text("__version__ = '1.0'\n"),
                "site-packages/labtool/cli.py": text(_MAIN),
                "site-packages/labtool/data/table.tsv": text("a\tb\n"),
                "etc/labtool/labtool.conf": text(f"prefix={PLACEHOLDER}\n"),
                "share/labtool/readme.md": text("# labtool\n"),
            },
            entry_points=("labtool = labtool.cli:main", "lab-tool2=labtool.cli:Group.cli"),
            depends=("python >=3.8",),
        ),
        _distribution(
            "labscripts",
            "2.1",
            {
                "site-packages/labscripts.py": text("WHERE = __file__\n"),
                "python-scripts/labscript": script(
                    f"#!{PLACEHOLDER}/bin/python\nimport labscripts\nprint(labscripts.WHERE)\n"
                ),
                "python-scripts/labscript.sh": script(f"#!/bin/sh\necho {PLACEHOLDER}\n"),
            },
            depends=("python >=3.8",),
        ),
        _distribution(
            "lab-report",
            "1.19",
            {
                "site-packages/lab_report/__init__.py": text(""),
                "site-packages/lab_report/__main__.py": text(
                    "import labtool\nprint('report with', labtool.__version__)\n"
                ),
            },
            entry_points=("lab-report = labtool.cli:main",),
            depends=("labtool >=1.0", "labscripts", "python >=3.8"),
        ),
        Package("tzdata", "2024a", "h0c530f3_0", "noarch", {"share/zoneinfo/UTC": File(b"TZif2lab")}, noarch="generic"),
        Package(
            "lab-data",
            "2024.1",
            "0",
            "noarch",
            {"share/lab-data/genome.fa": text(">chr1\nACGT\n"), "share/lab-data/where": text(PLACEHOLDER)},
            noarch="generic",
            license="CC0-1.0",
        ),
    ]


def solves() -> list[Package]:
    """Packages that only a solver tells apart."""
    return [
        Package("needs-cuda", depends=("__cuda >=11",), files={"bin/needs-cuda": script("#!/bin/sh\n")}),
        Package("needs-glibc", "1.0", depends=("__glibc >=2.17",), files={"share/needs-glibc": text("1.0\n")}),
        Package("needs-glibc", "2.0", depends=("__glibc >=2.30",), files={"share/needs-glibc": text("2.0\n")}),
        Package("needs-glibc", "3.0", depends=("__glibc >=9",), files={"share/needs-glibc": text("3.0\n")}),
        Package("needs-level", depends=("__archspec * x86_64_v4",), files={"share/level": text("4\n")}),
        Package("needs-nothing-there", depends=("no-such-package >=7",)),
        Package("needs-old-samtools", depends=("samtools <1.0",)),
        Package("keeps-old-bwa", constrains=("bwa <0.7.18",), files={"share/keeps-old-bwa": text("")}),
        Package("labblas", build="h_openblas_0", files={"share/labblas": text("openblas\n")}),
        Package("labblas", build="h_mkl_1", files={"share/labblas": text("mkl\n")}, index={"track_features": "labmkl"}),
        Package("moves", "1.0", files={"share/moves": text("1.0\n")}),
    ]


def aarch64() -> list[Package]:
    """Packages of linux-aarch64; nothing in them runs."""
    needs = ("libzlab >=1.2,<2",)
    arch = {"subdir": "linux-aarch64"}
    return [
        _outline(VERSION, subdir="linux-aarch64"),
        *(_library(name, version, **arch) for name, version in (("libzlab", "1.2.13"), ("libgcc-lab", "13.2.0"))),
        _library("htslib", "1.17", depends=needs, **arch),
        *(
            Package(name, version, depends=depends, files={f"bin/{name}": script(f"#!{PLACEHOLDER}/bin/sh\n")}, **arch)  # type: ignore[arg-type]
            for name, version, depends in (
                ("samtools", "1.17", ("htslib >=1.17,<1.18", *needs)),
                ("bwa", "0.7.17", needs),
                ("procps-ng", "4.0.4", ()),
                ("which", "2.21", ()),
            )
        ),
    ]


@cache
def standard_packages() -> tuple[Package, ...]:
    """All of the standard channel: what rattler installs without error, and what it does not."""
    groups = (
        tools, pythons, noarch, shapes, conflicts, collisions, activated, scripted, solves, aarch64, refused_by_rattler,
    )  # fmt: skip
    return tuple(package for group in groups for package in group())


def packages(name: str) -> list[Package]:
    """Return the standard packages of a name."""
    return [package for package in standard_packages() if package.name == name]


def big_package(megabytes: int = 1024, name: str = "big", seed: int = 1) -> Package:
    """Return a package whose tar has this size, half of it incompressible, in a few large files."""
    size = megabytes * (1 << 20)
    share = min(size, 256 << 20)
    files: dict[str, Entry] = {
        f"share/{name}/part{number}": Noise(min(share, size - start), seed + number)
        for number, start in enumerate(range(0, size, share))
    }
    files[f"lib/lib{name}.so"] = binary(bytes(5000) + PLACEHOLDER.encode() + b"/lib\0" + bytes(5000))
    return Package(name, files=files)


def many_packages(count: int = 100, *, largest: int = 4 << 20, name: str = "part", seed: int = 7) -> list[Package]:
    """Return packages whose sizes fall as real ones do, number n of `largest`/n bytes, and `<name>s` that needs all."""
    made = []
    for number in range(1, count + 1):
        files: dict[str, Entry] = {
            f"lib/{name}/{number}/data{part}": Noise(max(1, largest // number // 4), seed + 10 * number + part)
            for part in range(4)
        }
        files[f"bin/{name}{number:03}"] = script(f"#!/bin/sh\necho {PLACEHOLDER} {number}\n")
        files[f"lib/lib{name}{number}.so"] = binary(bytes(500) + PLACEHOLDER.encode() + b"/lib\0" + bytes(500))
        made.append(Package(f"{name}{number:03}", files=files))
    return [*made, Package(f"{name}s", depends=tuple(package.name for package in made))]
