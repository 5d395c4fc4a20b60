"""References in requests that name this daemon itself, read as what they stand for.

`docker.registry = '127.0.0.1:9090/quay.io'` has Nextflow ask for `127.0.0.1:9090/quay.io/biocontainers/…`, and what
`nextflow inspect` writes has names of packages. Rules of the site have to see the image that is meant; and what is
asked for by such a name can be pulled on any node.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from wavelet.errors import InvalidRequest
from wavelet.front.registry.names import CondaName, UpstreamName, parse_name
from wavelet.front.registry.plans import plan_of
from wavelet.kinds.conda.model.near_cache_names import LATEST
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.node import Additions, Node


class OwnReferences:
    """Reads such references.

    Attributes:
        authorities: the hosts that name this daemon.
    """

    def __init__(self, authorities: Collection[str], site: Callable[[], CondaDefaults]) -> None:
        """Take them, and what returns the site's defaults of now."""
        self.authorities = authorities
        self._site = site

    def __call__(self, plan: Node) -> Node:
        """Return a plan with what the names of near-cache and packages in it stand for; others stay.

        Raises:
            InvalidName: what follows the authority is no name.
            InvalidRequest: packages are named for another platform than the request asks for.
        """
        if isinstance(plan, RegistryImage):
            return self._meant(plan) if plan.reference.repository.host in self.authorities else plan
        if not plan.children:
            return plan
        children = [self(child) for child in plan.children]
        if plan.additions is Additions.NOWHERE and not all(isinstance(child, RegistryImage) for child in children):
            return plan  # what is copied as it is has to be a registry's
        return plan if children == list(plan.children) else plan.with_children(children)

    def _meant(self, image: RegistryImage) -> Node:
        reference = image.reference
        name = parse_name(reference.repository.path, None, reserved=True)
        if isinstance(name, UpstreamName):
            return replace(image, reference=replace(reference, repository=name.repository))
        if not isinstance(name, CondaName) or reference.digest is not None:
            return image
        plan = plan_of(name, reference.tag or LATEST, self._site())
        if image.platform is not None and image.platform != plan.platform:
            raise InvalidRequest(
                f"containerPlatform: {reference} is for {plan.platform} alone, and {image.platform} is asked for",
                field="containerPlatform",
            )
        return plan
