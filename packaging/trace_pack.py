"""Makes the pack `trace`: static bash and ps, and what else Nextflow's task wrapper runs, for images that lack them.

They are Debian's packages bash-static and busybox-static as they are, got by this machine's apt for each architecture;
nothing of this machine is changed. The same versions give the same bytes. The pack is not in the repository: it has
programs, and lies in `build/packs/trace`, from where it goes into the wheel.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURES = ("amd64", "arm64")

APT_GET, DPKG_DEB = "apt-get", "dpkg-deb"

BASH, BUSYBOX = "bash-static", "busybox-static"

APPLETS = (
    *("awk", "basename", "cat", "chmod", "chown", "cp", "cut", "date", "dirname", "du", "env", "find", "grep", "head"),
    *("id", "ln", "ls", "md5sum", "mkdir", "mktemp", "mv", "ps", "readlink", "realpath", "rm", "rmdir", "sed", "sleep"),
    *("sort", "stat", "tail", "tee", "touch", "tr", "uname", "uniq", "wc", "xargs"),
)
"""What the wrapper runs in a container (`.command.run`, and its trace), and what stages files in and out."""

COMMON, LICENSES = Path("/usr/share/common-licenses"), ("GPL-2", "GPL-3", "LGPL-2.1")
"""Texts that Debian's packages point at; every Debian has them."""

PACK = """\
# Made by packaging/trace_pack.py: bash, ps and what else Nextflow's task wrapper runs, for images that lack them.
# What an image has is not replaced. /bin is the last directory of the usual PATH, so nothing of it is hidden either.
name: trace
layers:
  - tar: amd64.tar
    architecture: amd64
    keep: existing
  - tar: arm64.tar
    architecture: arm64
    keep: existing
"""

NOTICE = """\
The pack `trace` has unchanged programs of Debian in it.

{programs}
Their licences and authors are in licenses/. Both are free software: you may pass them on under the terms of the GNU
General Public License, bash under version 3 or later, busybox under version 2. Images that you pass on with this pack
in them have them in them too, so pass on this notice with those, or what it says.

Static programs have the C library in them, under the GNU Lesser General Public License, version 2.1 or later.

The source of exactly these programs is Debian's source package of the version above, and that of the Built-Using line:
`apt-get source NAME=VERSION` on a machine with Debian's source packages (deb-src), or Debian's snapshot archive, which
has all versions. Whoever makes this pack and passes it on owes the source to those who get it, for three years: keep
these source packages where the pack is kept, and hand them out on request.
"""


@dataclass(frozen=True)
class Package:
    """A package for an architecture: what it says of itself, and its file, unpacked into `root`."""

    name: str
    architecture: str
    version: str
    source: str
    built_using: str
    root: Path

    def file(self, path: str) -> bytes:
        """Return a file of it."""
        return (self.root / path).read_bytes()


def main() -> int:
    """Make the pack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path("build/packs/trace"), help="(build/packs/trace)")
    options = parser.parse_args()
    for needed in (APT_GET, DPKG_DEB):
        if shutil.which(needed) is None:
            print(f"the pack trace is made of Debian's packages, and needs {needed}", file=sys.stderr)  # noqa: T201
            return 1
    with tempfile.TemporaryDirectory() as directory:
        packages = {
            architecture: fetched(architecture, Path(directory) / architecture) for architecture in ARCHITECTURES
        }
        write(options.directory, packages)
    for file in sorted(options.directory.glob("*.tar")):
        print(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")  # noqa: T201
    return 0


def fetched(architecture: str, work: Path) -> dict[str, Package]:
    """Get the packages for an architecture by apt, with lists and settings of its own, and unpack them."""
    for each in ("lists/partial", "cache/archives/partial", "packages"):
        (work / each).mkdir(parents=True)
    (work / "status").touch()
    settings = {
        "APT::Architecture": architecture,
        "APT::Architectures::": architecture,
        "APT::Sandbox::User": "root",
        "Dir::State::lists": work / "lists",
        "Dir::Cache": work / "cache",
        "Dir::State::status": work / "status",
    }
    apt = [APT_GET, "-qq", *(part for name, value in settings.items() for part in ("-o", f"{name}={value}"))]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "download", BASH, BUSYBOX], check=True, cwd=work / "packages")
    packages = (unpacked(file, work) for file in sorted((work / "packages").glob("*.deb")))
    return {package.name: package for package in packages}


def unpacked(file: Path, work: Path) -> Package:
    """Unpack a package."""
    names = ("Package", "Architecture", "Version", "Source", "Built-Using")
    name, architecture, version, source, built_using = (
        subprocess.run([DPKG_DEB, "--field", file, each], check=True, capture_output=True, text=True).stdout.strip()
        for each in names
    )
    root = work / name
    subprocess.run([DPKG_DEB, "--extract", file, root], check=True)
    return Package(name, architecture, version, source or name, built_using, root)


def write(target: Path, packages: Mapping[str, Mapping[str, Package]]) -> None:
    """Write the pack into the directory `target`, in place of what was there."""
    new = target.with_name(f".{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    (new / "licenses").mkdir(parents=True)
    (new / "pack.yaml").write_text(PACK)
    for architecture, each in packages.items():
        (new / f"{architecture}.tar").write_bytes(layer(each[BASH], each[BUSYBOX]))
        for package in each.values():
            licence = package.file(f"usr/share/doc/{package.name}/copyright")
            (new / "licenses" / package.name).write_bytes(licence)
    for name in LICENSES:
        (new / "licenses" / name).write_bytes((COMMON / name).read_bytes())
    lines = [
        f"- {package.name} {package.version} for {architecture}, of the source package {package.source}"
        f" (Built-Using: {package.built_using or 'nothing'})\n"
        for architecture, each in packages.items()
        for package in each.values()
    ]
    (new / "NOTICE").write_text(NOTICE.format(programs="".join(lines)))
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)


def layer(bash: Package, busybox: Package) -> bytes:
    """Return the layer's tar: bash, and busybox under the names of its programs, which are one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        _file(archive, "bin/bash", bash.file("bin/bash-static"))
        first, *others = (f"bin/{applet}" for applet in APPLETS)
        _file(archive, first, busybox.file("bin/busybox"))
        for name in others:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = tarfile.LNKTYPE, first, 0o755
            archive.addfile(member)
    return buffer.getvalue()


def _file(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o755
    archive.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    sys.exit(main())
