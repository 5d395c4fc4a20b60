"""The names of images in requests: references of registries, and names that this daemon serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wavelet.errors import ImageNotFound, InvalidRequest
from wavelet.front.registry.names import SIF_PREFIX, TOKEN_PREFIX, CondaName, LocalName, TokenName
from wavelet.front.registry.own_names import OwnHosts
from wavelet.front.registry.plans import Named, plan_of, read_named, reference_of
from wavelet.front.registry.sif_plans import SifPlans, read_tag, write_tag
from wavelet.image.reference import Digest, Platform, Reference
from wavelet.kinds.conda.model.near_cache_names import PREFIX as CONDA_PREFIX
from wavelet.kinds.conda.model.near_cache_names import path_for_platform
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.delivery import FROZEN
from wavelet.plan.hosted import FIRST as LOCAL_PREFIX
from wavelet.plan.node import Node
from wavelet.plan.tokens import Identity
from wavelet.requests.container_requests import ContainerRequests
from wavelet.rules.model import Asking, Form
from wavelet.rules.site_rules import SiteRules

_OWN = (TOKEN_PREFIX, FROZEN, CONDA_PREFIX, LOCAL_PREFIX, SIF_PREFIX)


@dataclass(frozen=True, slots=True)
class Names:
    """Reads names.

    Attributes:
        requests: knows what tokens stand for.
        site: the site's defaults of now.
        sifs: makes plans of SIFs.
        rules: those of the site.
        authority: host and port in image names.
        own: the hosts that a name may begin with.
        reserved: whether the special first components are in force.
    """

    requests: ContainerRequests
    site: Callable[[], CondaDefaults]
    sifs: SifPlans
    rules: SiteRules
    authority: str
    own: OwnHosts
    reserved: bool

    def read(self, text: str, field: str) -> Named:
        """Take apart a name as engines pull it.

        Raises:
            InvalidName: it follows no grammar.
        """
        return read_named(self.own.without(text), field, reserved=self.reserved)

    async def check(self, token: TokenName, reference: str | Digest, identity: Identity) -> None:
        """Return if a name is one of a container request; with a digest, if that is what the name answers.

        Raises:
            TokenNotFound: no such request.
            AccessRefused: it is another user's.
            InvalidName, ImageNotFound: it is not a name of the request.
            WaveletError: what it answers cannot be told.
        """
        request = await self.requests.lookup.find(token.token, identity)
        token.check(request.plan)
        if isinstance(reference, Digest):
            _, image = await self.requests.pulls.realise(token.token, identity)
            if image.descriptor.digest != reference:
                raise ImageNotFound(f"this name answers {image.descriptor.digest}, not {reference}")

    async def plan(
        self,
        text: str,
        field: str,
        asked: tuple[Platform, ...],
        identity: Identity,
        usual: tuple[Platform, ...] = (),
    ) -> tuple[Node, str]:
        """Return the plan of a reference or of a name, and how engines call it, without the authority.

        Of an index the platforms that are `asked` for are chosen, or the `usual` ones: none of them means the index
        itself. A name of this daemon's own says its platforms by itself; of a request's several, one can be chosen.

        Raises:
            WaveletError: there is no such name.
        """
        bare = self.own.without(text)
        platforms = asked or usual
        if not (self.reserved and bare.partition("/")[0] in _OWN):
            reference = Reference.parse(bare, field)
            plan = _of_registry(reference, platforms)
            return await self._ruled(plan, "near-cache", identity, asked), str(reference)
        if bare.startswith(f"{SIF_PREFIX}/"):
            return await self._sif(bare.removeprefix(f"{SIF_PREFIX}/"), field, asked, identity)
        named = self.read(bare, field)
        if isinstance(named.name, TokenName):
            await self.check(named.name, named.reference, identity)
            return _chosen(await self.requests.pulls.plan(named.name.token), asked, usual), named.text
        if isinstance(named.name, LocalName):
            return _of_registry(reference_of(named.name, named.reference), platforms), named.text
        plan = plan_of(named.name, named.reference, self.site())
        if isinstance(named.name, CondaName):
            _check_platforms(named.name.path, named.reference, plan.platform, asked)
            return await self._ruled(plan, "conda", identity, asked), named.text
        return await self._ruled(plan, "near-cache", identity, asked), named.text

    def is_given(self, text: str) -> bool:
        """Tell whether a name is a container request's, or of its SIF: that was judged when it was named."""
        bare = self.own.without(self.own.without(text).removeprefix(f"{SIF_PREFIX}/"))
        first = bare.partition("/")[0]
        return self.reserved and first in (TOKEN_PREFIX, FROZEN)

    async def _ruled(self, plan: Node, form: Form, identity: Identity, asked: tuple[Platform, ...]) -> Node:
        """Return what the rules of the site make of an image that is pulled by its own name.

        Raises:
            RuleRefused: they do not allow it.
        """
        return (await self.rules.apply(plan, Asking("grpc", form, identity.uid, has_platform=bool(asked)))).plan

    async def _sif(self, image: str, field: str, asked: tuple[Platform, ...], identity: Identity) -> tuple[Node, str]:
        """Return the plan of a SIF by the name of its image, whose tag may have a platform behind it."""
        rest, at, digest = image.partition("@")
        path, colon, tag = rest.rpartition(":")
        said: Platform | None = None
        if colon and "/" not in tag:
            tag, said = read_tag(tag)
            image = f"{path}:{tag}{at}{digest}"
        platforms = asked if said is None else (said,)
        if len(platforms) > 1:
            raise InvalidRequest("platform: a SIF is for one platform; ask for each by itself", field="platform")
        plan, name = await self.plan(image, field, platforms, identity)
        return self.sifs.of(
            plan, platforms[0] if platforms else None
        ), f"{SIF_PREFIX}/{name if at else write_tag(name, said)}"


def _of_registry(reference: Reference, platforms: tuple[Platform, ...]) -> Node:
    fixed = reference if reference.digest is None else reference.at(reference.digest)
    if len(platforms) > 1:
        return ImageIndex(tuple((platform, RegistryImage(fixed, platform)) for platform in sorted(platforms)))
    return RegistryImage(fixed, platforms[0] if platforms else None)


def _chosen(plan: Node, asked: tuple[Platform, ...], usual: tuple[Platform, ...]) -> Node:
    offered = plan.description.platforms
    platforms = asked or (usual if len(offered) > 1 else ())
    for platform in platforms:
        if offered and platform not in offered:
            message = f"platform: the request is for {', '.join(map(str, offered))}, not for {platform}"
            raise InvalidRequest(message, field="platform")
    return plan.for_platform(platforms[0]) if len(offered) > 1 and len(platforms) == 1 else plan


def _check_platforms(path: str, tag: str | Digest, own: Platform | None, asked: tuple[Platform, ...]) -> None:
    """Return if a name of packages is for all the platforms that are asked for.

    Raises:
        InvalidRequest: it is not; the name that is for the other one is in the message.
    """
    for platform in asked:
        if platform != own:
            other = f"{CONDA_PREFIX}/{path_for_platform(path, platform)}:{tag}"
            message = f"platform: {CONDA_PREFIX}/{path}:{tag} is for {own} alone; for {platform} the name is {other}"
            raise InvalidRequest(message, field="platform")
