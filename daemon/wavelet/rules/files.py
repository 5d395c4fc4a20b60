"""The files of rules on a node: which there are, whose they are, and what is in all of them together. Blocking."""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Collection, Iterable
from itertools import chain
from pathlib import Path

from wavelet import plain_files
from wavelet.config import Settings
from wavelet.config.site import site_directory
from wavelet.errors import CallerError
from wavelet.host.ownership import check_owned, trusted_owners
from wavelet.hosted.own_registry import own_authorities
from wavelet.rules.members import RulesBroken
from wavelet.rules.model import Rule
from wavelet.rules.read_when import NodeNames
from wavelet.rules.reading import FAULTS_LIMIT, RULES_LIMIT, read_rules

FILE_LIMIT = 1024 * 1024
"""Bytes of one file."""

SUFFIXES = (".yaml", ".yml")

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@-]{0,99}")

_AT_STAKE = "the rules for everybody's containers"


def node_names(settings: Settings) -> NodeNames:
    """Return what names in rules mean on this node, whose users and groups are looked up by the C library."""
    own = {settings.name_authority, settings.listen, *own_authorities(settings)}
    return NodeNames(_user, _group, frozenset(own))


def files_of(directory: Path) -> list[Path]:
    """Return the files of a directory in the order in which their rules are applied.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    return sorted(each for each in directory.iterdir() if each.suffix in SUFFIXES and not each.name.startswith("."))


def read_site(settings: Settings) -> tuple[Rule, ...]:
    """Return the rules of the site's directory, which only the site may be able to change.

    Raises:
        RulesBroken: some cannot be used, or the settings name a directory that is not there.
    """
    directory, owners = directory_of(settings), trusted_owners()
    try:
        check_owned(directory, owners, _AT_STAKE)
        files = files_of(directory)
    except FileNotFoundError:
        if not settings.rules.directory:
            return ()
        raise RulesBroken(f"rules.directory: {directory} is not there; make it, or name another") from None
    except OSError as error:
        raise RulesBroken(f"{directory}: cannot be read: {error.strerror}") from None
    except CallerError as error:
        raise RulesBroken(error.message) from None
    return read_files(files, node_names(settings), owners)


def directory_of(settings: Settings) -> Path:
    """Return the site's directory of rules."""
    return site_directory(settings.rules.directory, "rules.d")


def read_files(files: Iterable[Path], names: NodeNames, owners: Collection[int] | None) -> tuple[Rule, ...]:
    """Return the rules of several files together.

    Args:
        files: in the order in which their rules are applied.
        names: see `node_names`.
        owners: users who may change them, see `host.ownership.check_owned`; None: it does not matter who can.

    Raises:
        RulesBroken: some cannot be used, two rules have one name, or there are too many.
    """
    read: list[tuple[Rule, ...]] = []
    problems: list[str] = []
    for file in files:
        try:
            read.append(read_file(file, names, owners))
        except RulesBroken as error:
            problems += error.problems
    rules = tuple(chain.from_iterable(read))
    problems += _twice(rules)
    if len(rules) > RULES_LIMIT:
        problems.append(f"{len(rules)} rules in all files together; {RULES_LIMIT} are the most")
    if problems:
        raise RulesBroken("\n".join(problems[: FAULTS_LIMIT + 1]))
    return rules


def read_file(path: Path, names: NodeNames, owners: Collection[int] | None) -> tuple[Rule, ...]:
    """Return the rules of one file. See `read_files`.

    Raises:
        RulesBroken: it cannot be used.
    """
    if _NAME.fullmatch(path.name) is None:
        raise RulesBroken(
            f"{path.name!a}: rename it: names of rules and answers have that of the file, which takes letters,"
            " digits and . _ + @ -"
        )
    called = f"{path.absolute().parent.name}/{path.name}"
    try:
        if owners is not None:
            check_owned(path, owners, _AT_STAKE)
        data, _ = plain_files.read(path, FILE_LIMIT, follow=True)
        return read_rules(data.decode("utf-8"), called, names)
    except OSError as error:
        raise RulesBroken(f"{called}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RulesBroken(f"{called}: cannot be read: it is not UTF-8") from None
    except RulesBroken:
        raise
    except CallerError as error:
        raise RulesBroken(f"{called}: {error.message}") from None


def _twice(rules: Iterable[Rule]) -> list[str]:
    """Return a sentence for each rule whose name an earlier one has: answers and annotations tell rules by it."""
    first: dict[str, Rule] = {}
    return [
        f"{rule.place} ({rule.name}): name: is that of {first[rule.name].place} too; give each a name of its own"
        for rule in rules
        if first.setdefault(rule.name, rule) is not rule
    ]


def _user(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return None


def _group(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        return None
