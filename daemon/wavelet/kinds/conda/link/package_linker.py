"""The way from a package's archive to its layer: one pass over the archive, in a worker process.

Hard links within a package stay hard links in the tar where both names have the same contents after linking. The others
become files of their own, in a second pass over the archive that only packages with such links need.
"""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from wavelet import foreign_json
from wavelet.archive import gzip_members
from wavelet.archive.layer_writer import LayerWriter, Written
from wavelet.archive.tar_reader import CHUNK, Member
from wavelet.foreign_json import ForeignJsonError
from wavelet.kinds.conda.link.layer_info import LayerInfo
from wavelet.kinds.conda.link.link_policy import Links, Python, Target, plan_links
from wavelet.kinds.conda.link.package_archive import Archive, Document
from wavelet.kinds.conda.link.package_metadata import Metadata, Placeholder, parse_metadata
from wavelet.kinds.conda.link.prefix_layer import prefix_layer
from wavelet.kinds.conda.link.prefix_replacement import replace_binary, replace_text

_ENVIRONMENT = "etc/conda/env_vars.d/"
_ACTIVATION = "etc/conda/activate.d/"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TARGET_LIMIT = 4095
"""Bytes of a path on Linux (PATH_MAX)."""
_PASSES = 4
"""How often an archive is read again for the sake of its hard links."""
_SPOOL = 8 * 1024 * 1024
"""Bytes of changed text that are held in memory; its length must be known before it is written."""


class Made(NamedTuple):
    """A layer's document, and the name of the codec that compressed it."""

    info: LayerInfo
    codec: str


def link_package(
    archive: Path,
    blob: Path,
    name: str,
    prefix: str,
    python: str,
    site_packages: str,
    limit: int,
    room: int | None = None,
) -> Made:
    """Write the layer of the package in `archive` to `blob`, a new file in a directory of its own.

    Args:
        archive: the package's file, verified.
        blob: where the layer goes.
        name: the package's URL or file name, for its format and for errors.
        prefix: where the environment will be.
        python: minor version of the environment's Python, for noarch Python packages; empty for none.
        site_packages: where it looks, relative to the prefix; empty for the usual place.
        limit: bytes that the package may inflate to.
        room: bytes that the layer may have; None where that does not matter.

    Raises:
        Outgrown: the layer is larger.
        UpstreamBroken: the package is damaged, ill-formed, too big, or would reach outside of its prefix.
    """
    package = Archive(archive, name, limit)
    documents = package.documents()
    minor = Python(python, site_packages or f"lib/python{python}/site-packages") if python else None
    try:
        metadata = parse_metadata({name: document.data for name, document in documents.items()})
        _check_name(metadata, name)
        links = plan_links(metadata, prefix, minor)
        linking = _Linking(package, links, prefix, changed_at(documents), blob.parent)
        with prefix_layer(blob, links.directories, room) as layer:
            linking.run(layer)
            written = layer.finish()
    except ValueError as error:
        raise package.broken(str(error)) from None
    return Made(_info(metadata, links, linking, written), gzip_members.codec().name)


def _check_name(metadata: Metadata, url: str) -> None:
    # Locks, and who wins a path, go by the name of the file.
    stem = url.rpartition("/")[2].rsplit("-", 2)[0]
    if metadata.name.lower() != stem.lower():
        raise ValueError(f"its own name is {metadata.name[:200]!r}")


def changed_at(documents: Mapping[str, Document]) -> int:
    """Return the time of what linking changes: a second after the package's description, and so after its files."""
    described = documents.get("about.json") or documents["index.json"]
    return described.mtime + 1


class _Source(NamedTuple):
    """A file that has been written: what a hard link to it needs."""

    target: Target
    executable: bool
    mtime: int


class _Linking:
    """The passes over one archive.

    Attributes:
        files: paths of the regular files that were written.
        symlinks: paths of symbolic links with their targets.
        env_vars: by path, what files of environment variables set.
    """

    def __init__(self, package: Archive, links: Links, prefix: str, changed_at: int, scratch: Path) -> None:
        self._package = package
        self._scratch = scratch
        self._links = links
        self._prefix = prefix.encode()
        self._changed_at = changed_at
        self._seen: set[str] = set()
        self._sources: dict[str, _Source] = {}
        self._same: dict[str, str] = {}
        self._later: defaultdict[str, list[Target]] = defaultdict(list)
        self.files: list[str] = []
        self.symlinks: dict[str, str] = {}
        self.env_vars: dict[str, Mapping[str, str]] = {}

    def run(self, layer: LayerWriter) -> None:
        """Write all that is to be installed."""
        self._first_pass(layer)
        for _ in range(_PASSES):
            if not self._later:
                break
            self._further_pass(layer)
        if self._later:
            raise ValueError(f"{min(self._later)} has hard links, and is not there for all of them")
        for path, script in self._links.scripts.items():
            self._write(layer, Target(path), script, self._changed_at, executable=True)

    def _first_pass(self, layer: LayerWriter) -> None:
        targets = self._links.targets
        for member in self._package.members():
            target = targets.get(member.path)
            if member.is_hard_link:
                self._same[member.path] = self._same.get(member.target, member.target)
            if target is None:
                continue
            if member.path in self._seen:
                raise ValueError(f"the archive has {member.path} twice")
            self._seen.add(member.path)
            if member.is_hard_link:
                self._add_link(layer, self._same[member.path], target)
            else:
                self._add(layer, member, target)
        if missing := targets.keys() - self._seen:
            raise ValueError(f"the archive has no {min(missing)}, which the package lists")

    def _further_pass(self, layer: LayerWriter) -> None:
        waiting, self._later = self._later, defaultdict(list)
        for member in self._package.members():
            if not member.is_hard_link and member.path in waiting:
                first, *others = waiting.pop(member.path)
                self._add(layer, member, first)
                for target in others:
                    self._add_link(layer, member.path, target)
        if waiting:
            raise ValueError(f"the archive has no {min(waiting)}, which others are hard links of")

    def _add_link(self, layer: LayerWriter, path: str, target: Target) -> None:
        """Add a hard link of the member at `path`, or have it made a file of its own later."""
        source = self._sources.get(path)
        if source is None or source.target.placeholder != target.placeholder or _sets_environment(target.path):
            self._later[path].append(target)
            return
        layer.hard_link(target.path, source.target.path, source.mtime, executable=source.executable)
        self.files.append(target.path)

    def _add(self, layer: LayerWriter, member: Member, target: Target) -> None:
        if member.is_symlink:
            if not 0 < len(member.target.encode()) <= _TARGET_LIMIT or "\0" in member.target:
                raise ValueError(f"{target.path} is a symbolic link to nothing that a path can be")
            layer.symlink(target.path, member.target, member.mtime)
            self.symlinks[target.path] = member.target
            return
        if not member.is_file:
            raise ValueError(f"{member.path} is neither a file nor a link")
        mtime = member.mtime if target.placeholder is None else self._changed_at
        self._sources[member.path] = _Source(target, member.executable, mtime)
        contents = self._contents(member, target.placeholder)
        if member.size <= CHUNK:
            self._write(layer, target, b"".join(contents), mtime, executable=member.executable)
        elif _sets_environment(target.path):
            raise ValueError(f"{target.path} has {member.size} bytes of environment variables")
        elif target.placeholder is None or target.placeholder.mode == "binary":
            layer.stream(target.path, member.size, contents, mtime, executable=member.executable)
            self.files.append(target.path)
        else:
            self._spool(layer, target.path, contents, executable=member.executable)

    def _contents(self, member: Member, placeholder: Placeholder | None) -> Iterator[bytes]:
        if placeholder is None:
            return member.chunks()
        replace = replace_text if placeholder.mode == "text" else replace_binary
        return replace(member.chunks(), placeholder.prefix.encode(), self._prefix)

    def _write(self, layer: LayerWriter, target: Target, data: bytes, mtime: int, *, executable: bool) -> None:
        layer.file(target.path, data, mtime, executable=executable)
        self.files.append(target.path)
        if _sets_environment(target.path):
            self.env_vars[target.path] = _variables(target.path, data)

    def _spool(self, layer: LayerWriter, path: str, contents: Iterable[bytes], *, executable: bool) -> None:
        """Add text that has changed, and with it its length, which goes in front."""
        with tempfile.SpooledTemporaryFile(_SPOOL, dir=str(self._scratch)) as file:
            for chunk in contents:
                file.write(chunk)
            size = file.tell()
            file.seek(0)
            chunks = iter(lambda: file.read(CHUNK), b"")
            layer.stream(path, size, chunks, self._changed_at, executable=executable)
        self.files.append(path)


def _sets_environment(path: str) -> bool:
    return path.startswith(_ENVIRONMENT) and path.endswith(".json")


def _variables(path: str, data: bytes) -> Mapping[str, str]:
    try:
        variables = foreign_json.decode(data, dict[str, str])
    except ForeignJsonError as error:
        raise ValueError(f"{path} does not name environment variables: {error}") from None
    for name, value in variables.items():
        if _VARIABLE.fullmatch(name) is None or "\0" in value:
            raise ValueError(f"{path} sets what is no environment variable: {name[:200]!r}")
    return variables


def _info(metadata: Metadata, links: Links, linking: _Linking, written: Written) -> LayerInfo:
    files = set(linking.files)
    scripts = (f"bin/.{metadata.name}-{when}.sh" for when in ("post-link", "pre-link"))
    env_vars: dict[str, str] = {}
    for path in sorted(linking.env_vars):
        env_vars |= linking.env_vars[path]
    return LayerInfo(
        kind="package",
        digest=written.digest,
        size=written.size,
        diff_id=written.diff_id,
        fragment=written.fragment,
        files=tuple(sorted(files)),
        links=dict(sorted(linking.symlinks.items())),
        directories=tuple(sorted(links.directories)),
        index=metadata.index,
        about={key: metadata.about[key] for key in ("license", "home") if metadata.about.get(key)},
        scripts=tuple(path for path in scripts if path in files),
        env_vars=env_vars,
        has_activation=any(path.startswith(_ACTIVATION) for path in files),
    )
