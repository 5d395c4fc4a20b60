"""References in requests that name this daemon itself, read as what they stand for.

`docker.registry = '127.0.0.1:9090/quay.io'` has Nextflow ask for `127.0.0.1:9090/quay.io/biocontainers/…`, and what
`nextflow inspect` writes has names of packages. Rules of the site have to see the image that is meant; and what is
asked for by such a name can be pulled on any node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from wavelet.errors import InvalidName, InvalidRequest
from wavelet.front.registry.names import CondaName, Name, SifName, UpstreamName, parse_name
from wavelet.front.registry.plans import plan_of
from wavelet.image.reference import Reference
from wavelet.kinds.conda.model.near_cache_names import LATEST
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.plan.node import Additions, Node
from wavelet.rules.patterns import registry_name
from wavelet.upstream.addresses import is_loopback


class OwnHosts:
    """The hosts by which names call this daemon, however they are spelled: `LOCALHOST:09090`, `127.1:9090`."""

    def __init__(self, authorities: Iterable[str]) -> None:
        self._names = frozenset(map(registry_name, authorities))
        parted = [name.rpartition(":") for name in self._names]
        self._local_ports = frozenset(port for host, colon, port in parted if colon and is_loopback(host))

    def __contains__(self, host: object) -> bool:
        if not isinstance(host, str):
            return False
        name = registry_name(host)
        bare, colon, port = name.rpartition(":")
        return name in self._names or (bool(colon) and port in self._local_ports and is_loopback(bare))

    def meant(self, name: Name, *, reserved: bool) -> Name:
        """Return what a name stands for: one that leads to this daemon itself, however often, is what it leads to.

        Who asks is known here, and would not be where this daemon asked itself.

        Raises:
            InvalidName: what follows such a host is no name.
        """
        while isinstance(name, UpstreamName) and name.repository.host in self:
            name = parse_name(name.repository.path, None, reserved=reserved)
        if not isinstance(name, SifName):
            return name
        of = self.meant(name.of, reserved=reserved)
        if isinstance(of, SifName):
            raise InvalidName("a name says sif/ twice: what stands behind it is the name of an image")
        return SifName(of)

    def without(self, text: str) -> str:
        """Return a name as it is pulled without the authority of this daemon, if it begins with that."""
        first, slash, rest = text.partition("/")
        while slash and first in self:
            text = rest
            first, slash, rest = text.partition("/")
        return text


class OwnReferences:
    """Reads such references.

    Attributes:
        hosts: those that name this daemon.
    """

    def __init__(self, authorities: Iterable[str], site: Callable[[], CondaDefaults]) -> None:
        """Take the hosts, and what returns the site's defaults of now."""
        self.hosts = OwnHosts(authorities)
        self._site = site

    def __call__(self, plan: Node) -> Node:
        """Return a plan with what the names of near-cache and packages in it stand for; others stay.

        Raises:
            InvalidName: what follows the authority is no name.
            InvalidRequest: packages are named for another platform than the request asks for.
        """
        if not plan.children:
            reference = plan.named
            if reference is None or reference.repository.host not in self.hosts:
                return plan
            return self._meant(plan, reference)
        children = [self(child) for child in plan.children]
        if plan.additions is Additions.NOWHERE and any(child.named is None for child in children):
            return plan  # what is copied as it is has to be a registry's
        return plan if children == list(plan.children) else plan.with_children(children)

    def _meant(self, image: Node, reference: Reference) -> Node:
        name = self.hosts.meant(UpstreamName(reference.repository), reserved=True)
        if isinstance(name, UpstreamName):
            return image.renamed(replace(reference, repository=name.repository))
        if not isinstance(name, CondaName) or reference.digest is not None:
            return image
        plan = plan_of(name, reference.tag or LATEST, self._site())
        asked = image.description.platforms
        if asked and asked[0] != plan.platform:
            raise InvalidRequest(
                f"containerPlatform: {reference} is for {plan.platform} alone, and {asked[0]} is asked for",
                field="containerPlatform",
            )
        return plan
