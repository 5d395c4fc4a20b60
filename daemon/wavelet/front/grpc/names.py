"""The names of images in requests: references of registries, and names that this daemon serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wavelet.errors import InvalidName, InvalidRequest
from wavelet.front.registry.names import RESERVED, TOKEN_PREFIX, TokenName
from wavelet.front.registry.plans import Named, plan_of, read_named
from wavelet.image.reference import Platform, Reference
from wavelet.kinds.conda.model.near_cache_names import PREFIX as CONDA_PREFIX
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.node import Node
from wavelet.plan.tokens import Identity
from wavelet.requests.container_requests import ContainerRequests
from wavelet.requests.request import ContainerRequest

_OWN = (TOKEN_PREFIX, CONDA_PREFIX, *RESERVED)


@dataclass(frozen=True, slots=True)
class Names:
    """Reads names.

    Attributes:
        requests: knows what tokens stand for.
        site: the site's defaults of now.
        authority: host and port in image names; a name may begin with it.
        reserved: whether the special first components are in force.
    """

    requests: ContainerRequests
    site: Callable[[], CondaDefaults]
    authority: str
    reserved: bool

    def read(self, text: str, field: str) -> Named:
        """Take apart a name as engines pull it.

        Raises:
            InvalidName: it follows no grammar.
            NotServed: a reserved name that this version does not serve.
        """
        return read_named(text.removeprefix(f"{self.authority}/"), field, reserved=self.reserved)

    async def request(self, token: TokenName, identity: Identity) -> ContainerRequest:
        """Return the container request that a name is of.

        Raises:
            TokenNotFound: no such request.
            AccessRefused: it is another user's.
            InvalidName: the path behind the token is not the request's.
        """
        request = await self.requests.lookup.find(token.token, identity)
        if not request.plan.label.is_path(token.path):
            raise InvalidName(f"the token is for {request.plan.label.path}, not for {token.path}")
        return request

    async def plan(
        self, text: str, field: str, platforms: tuple[Platform, ...], identity: Identity
    ) -> tuple[Node, str]:
        """Return the plan of a reference or of a name, and how engines call it, without the authority.

        Of an index `platforms` are chosen: none of them means the index itself. A name of this daemon's own says its
        platforms by itself; of a request's several, one can be chosen.

        Raises:
            WaveletError: there is no such name.
        """
        bare = text.removeprefix(f"{self.authority}/")
        if not (self.reserved and bare.partition("/")[0] in _OWN):
            reference = Reference.parse(bare, field)
            return _of_registry(reference, platforms), str(reference)
        named = self.read(bare, field)
        if isinstance(named.name, TokenName):
            await self.request(named.name, identity)
            return _chosen(await self.requests.pulls.plan(named.name.token), platforms), named.text
        return plan_of(named.name, named.reference, self.site()), named.text


def _of_registry(reference: Reference, platforms: tuple[Platform, ...]) -> Node:
    fixed = reference if reference.digest is None else reference.at(reference.digest)
    if len(platforms) > 1:
        return ImageIndex(tuple((platform, RegistryImage(fixed, platform)) for platform in sorted(platforms)))
    return RegistryImage(fixed, platforms[0] if platforms else None)


def _chosen(plan: Node, platforms: tuple[Platform, ...]) -> Node:
    offered = plan.description.platforms
    if len(offered) < 2 or len(platforms) != 1:
        return plan
    if platforms[0] not in offered:
        message = f"platform: the request is for {', '.join(map(str, offered))}, not for {platforms[0]}"
        raise InvalidRequest(message, field="platform")
    return plan.for_platform(platforms[0])
