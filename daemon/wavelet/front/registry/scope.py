"""The scope of a repository name: what it opens to one caller, and who reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from wavelet.errors import AccessRefused, ImageNotFound, TokenNotFound
from wavelet.front.registry.names import (
    CondaName,
    FrozenName,
    LocalName,
    Name,
    SifName,
    TokenName,
    UpstreamName,
)
from wavelet.front.registry.sif_plans import read_tag
from wavelet.front.registry.tag_holders import TagHolders
from wavelet.hosted.model import HostedRepository, readers_view
from wavelet.image.image import Image
from wavelet.image.reference import Digest, Repository
from wavelet.plan.delivery import token_of
from wavelet.plan.hosted import FIRST as LOCAL_PREFIX
from wavelet.plan.node import Node
from wavelet.plan.tokens import Identity
from wavelet.requests.access import AccessRules, Caller
from wavelet.requests.pulls import RequestPulls
from wavelet.requests.request import SIF_KEY, ContainerRequest, answer_name
from wavelet.requests.served import ServedImages

ImageName = FrozenName | TokenName | CondaName | LocalName | UpstreamName


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
        path: the repository as it is pulled, without the authority.
        image: of a `sif/` name, the scope of the name behind that: of its image the SIF is made.
        uid: whose the connection is; an engine's is root's, as a rule.
    """

    name: str
    identity: Identity
    plan: Node | None
    tag: str | None
    named: FrozenName | CondaName | LocalName | UpstreamName | SifName | None = None
    token: str | None = None
    path: str = ""
    image: Scope | None = None
    uid: int | None = None

    @property
    def repository(self) -> Repository | None:
        """The upstream's repository of a near-cache name; None for all other names."""
        return self.named.repository if isinstance(self.named, UpstreamName) else None

    @property
    def upstreams(self) -> tuple[str, ...]:
        """The registries that its name names."""
        repository = (self.image or self).repository
        return () if repository is None else (repository.host,)

    @property
    def hosted(self) -> list[HostedRepository]:
        """The repositories that a `local/` name means to the caller."""
        assert isinstance(self.named, LocalName), "no other name is of a hosted repository"
        return readers_view(self.identity, self.named.path)

    def pulled(self, tag: str | None, image: Image) -> str:
        """Return by which reference, without the authority, an image of the name is pulled: a tag, else its digest."""
        path = self.path or self.name
        return f"{path}@{image.descriptor.digest}" if tag is None else f"{path}:{tag}"


def as_sif(image: Scope, name: SifName) -> Scope:
    """Return the scope of a `sif/` name. Who may have the image may have the SIF; its answers are its own."""
    # A request that is answered by the digest of its image has another one as a SIF, and so a tag.
    tag = image.tag if image.plan is None else image.tag or image.plan.label.of_changed().tag
    path = f"{SIF_KEY}{image.path or image.name}"
    return replace(image, name=f"{SIF_KEY}{image.name}", tag=tag, named=name, path=path, image=image)


class ScopeOpener:
    """Opens names."""

    def __init__(
        self,
        pulls: RequestPulls,
        rules: AccessRules,
        served: ServedImages,
        holders: TagHolders,
        meant: Callable[[Name], Name],
    ) -> None:
        """`meant` reads a name that leads to this daemon itself."""
        self._meant = meant
        self._pulls = pulls
        self._holders = holders
        self._rules = rules
        self._served = served

    async def open(self, name: Name, reference: str, caller: Caller) -> Scope:
        """Return what `name` opens to `caller`, who asks for `reference` of it: a tag, a digest, or nothing in it.

        Raises:
            TokenNotFound: no such request.
            AccessRefused: it is another user's.
            InvalidName: the path behind the token is not the request's.
            ImageNotFound: nothing is frozen by this name.
        """
        name = self._meant(name)
        if isinstance(name, SifName):
            return as_sif(await self._open(name.of, read_tag(reference)[0], caller, SIF_KEY), name)
        return await self._open(name, reference, caller)

    async def open_token(self, token: str, caller: Caller) -> Scope:
        """Return what a token opens to `caller` under `sif/`, where nothing but the token is said.

        Raises:
            TokenNotFound, AccessRefused: as `open` has them.
        """
        request = await self._pulls.request(token)
        name = TokenName(token, request.plan.label.path)
        return as_sif(self._of_request(name, request, caller), SifName(name))

    def open_file(self, path: str, caller: Caller) -> Scope:
        """Return what the path of a file that others publish opens to `caller`, under `sif/`."""
        return Scope(f"{SIF_KEY}{path}", self._rules.pull_identity(caller), None, None)

    async def _open(self, name: ImageName, reference: str, caller: Caller, under: str = "") -> Scope:
        match name:
            case UpstreamName():
                return Scope(str(name.repository), self._rules.pull_identity(caller), None, None, name, uid=caller.uid)
            case CondaName():
                return Scope(f"conda/{name.path}", self._rules.pull_identity(caller), None, None, name, uid=caller.uid)
            case LocalName():
                return Scope(
                    f"{LOCAL_PREFIX}/{name.path}", self._rules.pull_identity(caller), None, None, name, uid=caller.uid
                )
            case FrozenName() if not reference:
                return Scope(name.text, self._rules.pull_identity(caller), None, None, name)
            case FrozenName():
                return await self._open_frozen(name, reference, caller, under)
            case TokenName():
                request = await self._pulls.request(name.token)
                name.check(request.plan)
                return self._of_request(name, request, caller)

    def _of_request(self, name: TokenName, request: ContainerRequest, caller: Caller) -> Scope:
        identity = self._rules.token_identity(caller, request.principal)
        tag = request.plan.label.tag_at(name.path)
        path = f"{answer_name(name.token)}/{request.plan.label.path}"
        return Scope(answer_name(name.token), identity, request.plan, tag, token=name.token, path=path)

    async def _open_frozen(self, name: FrozenName, reference: str, caller: Caller, under: str) -> Scope:
        if ":" in reference:
            return await self._open_member(name, Digest.parse(reference), caller, under)
        found = name.at(reference)
        try:
            request = await self._pulls.request(found.token)
        except TokenNotFound as error:
            raise error.with_message(
                f"{name.text}:{reference[:128]} is not known here: it was asked for on another node, was removed, or "
                "has not been used for too long. Nodes answer each other's names where they share records.directory; "
                "elsewhere set freeze.repository, or wave.build.repository, and ask again"
            ) from None
        found.check(request.plan)
        identity = self._rules.token_identity(caller, request.principal)
        self._holders.note(caller, found.token)
        return Scope(answer_name(found.token), identity, request.plan, found.frozen_tag, name, found.token, name.text)

    async def _open_member(self, name: FrozenName, digest: Digest, caller: Caller, under: str) -> Scope:
        """Return the scope of a tag that has answered an image with `digest` in it, among those that the caller has."""
        refused: AccessRefused | None = None
        async for tag in self._served.frozen_tags(name.path, digest, under):
            if not self._holders.has(caller, token_of(tag)):
                continue
            try:
                return await self._open_frozen(name, tag, caller, under)
            except AccessRefused as error:
                refused = error
            except TokenNotFound:
                continue
        raise refused or ImageNotFound(
            f"{name.text} has answered you no image with {digest} on this node; pull it by its tag first, which ends "
            "in -- and 32 digits"
        )
