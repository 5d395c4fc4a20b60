"""The scope of a repository name: what it opens to one caller, and who reads."""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.errors import InvalidName
from wavelet.front.registry.names import CondaName, TokenName, UpstreamName
from wavelet.image.image import Image
from wavelet.image.reference import Repository
from wavelet.plan.node import Node
from wavelet.plan.tokens import Identity
from wavelet.requests.access import AccessRules, Caller
from wavelet.requests.pulls import RequestPulls
from wavelet.requests.request import answer_name


@dataclass(frozen=True, slots=True)
class Scope:
    """A name as one caller sees it.

    Attributes:
        name: the key under which its answers are remembered.
        identity: who reads.
        plan: what a token stands for; None for all other names.
        tag: the one tag that a token answers; None where any may be asked for.
        named: what a name without a token stands for.
        token: of the container request, where it is one's.
    """

    name: str
    identity: Identity
    plan: Node | None
    tag: str | None
    named: CondaName | UpstreamName | None = None
    token: str | None = None

    @property
    def repository(self) -> Repository | None:
        """The upstream's repository of a near-cache name; None for all other names."""
        return self.named.repository if isinstance(self.named, UpstreamName) else None

    def pulled(self, tag: str | None, image: Image) -> str:
        """Return by which reference, without the authority, an image of the name is pulled: a tag, else its digest."""
        path = self.name if self.plan is None else f"{self.name}/{self.plan.label.path}"
        return f"{path}@{image.descriptor.digest}" if tag is None else f"{path}:{tag}"


class ScopeOpener:
    """Opens names."""

    def __init__(self, pulls: RequestPulls, rules: AccessRules) -> None:
        self._pulls = pulls
        self._rules = rules

    async def open(self, name: TokenName | CondaName | UpstreamName, caller: Caller) -> Scope:
        """Return what `name` opens to `caller`.

        Raises:
            TokenNotFound: no such request.
            AccessRefused: it is another user's.
            InvalidName: the path behind the token is not the request's.
        """
        if isinstance(name, UpstreamName):
            return Scope(str(name.repository), self._rules.pull_identity(caller), None, None, name)
        if isinstance(name, CondaName):
            return Scope(f"conda/{name.path}", self._rules.pull_identity(caller), None, None, name)
        request = await self._pulls.request(name.token)
        if not request.plan.label.is_path(name.path):
            raise InvalidName(f"the token is for {request.plan.label.path}, not for {name.path}")
        identity = self._rules.token_identity(caller, request.principal)
        tag = request.plan.label.tag_at(name.path)
        return Scope(answer_name(name.token), identity, request.plan, tag, token=name.token)
