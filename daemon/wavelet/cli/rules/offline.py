"""Files of rules, read without a daemon: what it would say of them, and the packs that they name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wavelet.config import Settings
from wavelet.config.site import site_directory
from wavelet.packs.directories import FoundPack, find_packs
from wavelet.packs.model import Pack, PackRefused
from wavelet.rules.checks import warnings_of
from wavelet.rules.files import directory_of, files_of, node_names, read_files, read_site
from wavelet.rules.members import RulesBroken
from wavelet.rules.model import Rule


class NamedPacks:
    """`wavelet.packs.model.Packs` of what directories say, of which nothing is built: they have no layers."""

    def __init__(self, found: Iterable[FoundPack], directory: Path | None, *, are_all: bool) -> None:
        """Take what was found in a directory; `are_all`: there are no others, else any name is as good as there."""
        self._directory = directory
        self._found = {each.name: each for each in found}
        self._are_all = are_all

    def get(self, name: str, version: str | None = None) -> Pack:
        """See `Packs`. Where neither it nor who asks says a version, that is empty."""
        found = self._found.get(name)
        spec = found.spec if found else None
        if spec is None and self._are_all:
            raise PackRefused(f"the pack {name} cannot be used: {self.why_not(name)}")
        if spec is None:
            return Pack(name, version or "")
        return Pack(name, version or spec.version or "", spec.entrypoint, spec.env, (), spec.architectures, spec.needs)

    def why_not(self, name: str) -> str:
        """Return why a pack cannot be used; empty: it can."""
        found = self._found.get(name)
        return f"there is none of this name in {self._directory}" if found is None else found.problem or found.unused


@dataclass(frozen=True, slots=True)
class Offline:
    """What was read.

    Attributes:
        rules: in the order in which they are applied; none if there are errors.
        files: that were read, in their order.
        directory: that they were looked for in; None: files were named.
        errors: why a daemon would not take them.
        warnings: what does nothing, or is probably not meant.
        packs: see `NamedPacks`.
    """

    rules: tuple[Rule, ...]
    files: tuple[Path, ...]
    directory: Path | None
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    packs: NamedPacks


def read_offline(named: Sequence[Path], settings: Settings) -> Offline:
    """Read files of rules.

    Args:
        named: files, and directories of files; none: the directory of the settings, of which it is also told who else
            could change it.
        settings: of the daemon.
    """
    of_packs = site_directory(settings.packs.directory, "packs")
    packs = NamedPacks(find_packs(of_packs), of_packs, are_all=not named)
    directory = None if named else directory_of(settings)
    files: tuple[Path, ...] = ()
    try:
        files = tuple(_files_of(named or (each for each in (directory,) if each and each.exists())))
        rules = read_site(settings) if directory else read_files(files, node_names(settings), None)
    except RulesBroken as error:
        return Offline((), files, directory, error.problems, (), packs)
    return Offline(rules, files, directory, (), (*warnings_of(rules), *_missing_packs(rules, packs)), packs)


def _files_of(named: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that are named, and those of directories.

    Raises:
        RulesBroken: a directory cannot be read.
    """
    for each in named:
        if not each.is_dir():
            yield each
            continue
        try:
            yield from files_of(each)
        except OSError as error:
            raise RulesBroken(f"{each}: cannot be read: {error.strerror}") from None


def _missing_packs(rules: Iterable[Rule], packs: NamedPacks) -> Iterator[str]:
    for rule in rules:
        for use in rule.do.packs:
            if why := packs.why_not(use.name):
                says = f"the pack {use.name} cannot be used, and what the rule is for is refused"
                yield f"{rule.place} ({rule.name}): {says}: {why}"
