"""Challenges and token scopes: what a registry says it wants, and what a token is asked for. Pure.

A registry says in its 401 how to log in (RFC 9110, 11.6.1) and where tokens are had (distribution's token
specification). A token is for actions on one repository; it is asked for no more of them than the request needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Action = Literal["pull", "push"]
Actions = tuple[Action, ...]

PULL: Actions = ("pull",)
PUSH: Actions = ("pull", "push")
"""What a push needs: it also asks which blobs are there already."""

_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*\\?(?:"|\Z))+', re.DOTALL)
"""An element of a list (RFC 9110, 5.6.1): commas within quotes end none. It reads any text in one go."""

_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_PARAMETER = re.compile(rf'({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"=][^\s"]*))')
_SCHEME = re.compile(rf"({_WORD})(?:\s+(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a `WWW-Authenticate` header; the scheme in lower case."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True)
class TokenScope:
    """What a token is for: actions on a repository, by its path at the server; an empty path is the server itself.

    Attributes:
        mounts: another repository, from which a blob is mounted: the token has to allow it to be read.
    """

    path: str = ""
    actions: Actions = PULL
    mounts: str = ""

    def asked(self, challenge: Challenge) -> tuple[str, ...]:
        """Return the `scope`s to ask a token server for; none where a login is only to be tried.

        The resource is the one that the registry names, else the repository; of several, in any order, as for a mount,
        it is the repository if that is among them. The actions are those of this scope, whatever the registry offers.
        A scope that is none of a repository is asked for as it is.
        """
        if not self.path:
            return ()
        actions = ",".join(self.actions)
        own = f"repository:{self.path}:{actions}"
        named = [_resource(scope) for scope in challenge.scope.split()]
        if not named or self.path in named:
            first = own
        elif named[0]:
            first = f"repository:{named[0]}:{actions}"
        else:
            first = challenge.scope
        return (first, f"repository:{self.mounts}:pull") if self.mounts else (first,)


def _resource(scope: str) -> str:
    """Return the repository of a scope; empty where it is of something else."""
    kind, _, rest = scope.partition(":")
    return (rest.rpartition(":")[0] or rest) if kind == "repository" else ""


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Read `WWW-Authenticate` values (RFC 9110, 11.6.1), of which each may have several challenges.

    An element that is neither a challenge's beginning nor a parameter is left out.
    """
    found: list[tuple[str, dict[str, str]]] = []
    for text in headers:
        first = len(found)
        for element in (each.strip() for each in _ELEMENT.findall(text)):
            parameter = _PARAMETER.fullmatch(element)
            if parameter is None and (scheme := _SCHEME.fullmatch(element)) is not None:
                found.append((scheme[1].lower(), {}))
                parameter = _PARAMETER.fullmatch((scheme[2] or "").strip())  # else a token68, of which we have no use
            if parameter is not None and len(found) > first:
                value = parameter[3] if parameter[2] is None else re.sub(r"\\(.)", r"\1", parameter[2])
                found[-1][1].setdefault(parameter[1].lower(), value)
    named = ("realm", "service", "scope")
    return [Challenge(scheme, *(given.get(name, "") for name in named)) for scheme, given in found]
