"""The site's repository for frozen images: the rule that sends there what names none itself."""

from __future__ import annotations

from wavelet.config import Apply, ConfigError, Settings
from wavelet.errors import AccessRefused, InvalidName, InvalidRequest
from wavelet.image.reference import Reference, Repository, looks_like_host
from wavelet.plan.delivery import FROZEN
from wavelet.plan.node import Node
from wavelet.plan.tokens import Identity


class SiteRepository:
    """A rule of the site for what is asked (`wavelet.requests.request.Rewrite`)."""

    def __init__(self, settings: Settings) -> None:
        self.configure(settings)()

    def __call__(self, plan: Node) -> Node:
        """Return the plan with the site's repository, where it is to be frozen and names none.

        Raises:
            AccessRefused: it is to be mirrored over what the site has frozen, whose names must not change.
            InvalidRequest: it would have a name of this registry's own, which has none.
        """
        delivery = plan.delivery
        if delivery is not None and delivery.mode == "mirror" and self.is_for(delivery.repository):
            raise AccessRefused(
                f"buildRepository: {self._repository} is the site's for frozen images (freeze.repository), whose names "
                "must stay what they are; mirror to another repository",
                field="buildRepository",
            )
        plan = plan if self._repository is None else plan.delivered_to(self._repository)
        if self._has_no_names and plan.delivery is not None and plan.delivery.repository is None:
            raise InvalidRequest(
                "freeze: this daemon answers no names of its own (its setting reserved_names is false); say where to"
                " push to, by wave.build.repository (buildRepository), or let the site set freeze.repository",
                field="freeze",
            )
        return plan

    def admit(self, repository: Repository, identity: Identity) -> None:
        """Return if an image may be pushed to a repository for somebody.

        Raises:
            AccessRefused: nobody in particular asks, from wherever, and wants it elsewhere than where the site has it.
        """
        if self._is_reached_by_others and identity.uid is None and not self.is_for(repository):
            raise AccessRefused(
                "this daemon listens for other machines and cannot tell who asks, so that it pushes to"
                " freeze.repository alone; ask it from its own machine, or let the site set that"
            )

    def is_for(self, repository: Repository | None) -> bool:
        """Tell whether a repository is the site's, or below it."""
        own = self._repository
        return own is not None and repository is not None and f"{repository}/".startswith(f"{own}/")

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: where frozen images are pushed to, whether there are names of its own, who may ask.

        Raises:
            ConfigError: it is no repository.
        """
        repository = repository_of(settings)

        def apply() -> None:
            self._repository = repository
            self._has_no_names = not settings.reserved_names
            self._is_reached_by_others = not settings.listens_on_loopback()

        return apply


def repository_of(settings: Settings) -> Repository | None:
    """Return the site's repository, if one is set.

    Raises:
        ConfigError: it is no repository, or one of this daemon.
    """
    text = settings.freeze.repository
    if not text:
        return None
    if "/" not in text and looks_like_host(text):
        why = f"{text[:200]!r} is a registry; say the repository too: '{text[:200]}/frozen'"
        raise ConfigError(f"freeze.repository: {why}", field="freeze.repository")
    try:
        reference = Reference.parse(f"{text}:latest", "freeze.repository")
    except InvalidName:
        why = f"{text[:200]!r} is not a repository; it takes HOST/PATH without a tag"
        raise ConfigError(f"freeze.repository: {why}", field="freeze.repository") from None
    if reference.repository.host == settings.name_authority:
        why = f"{text} is this daemon's own registry, which answers frozen images as {FROZEN}/… where this is not set"
        raise ConfigError(f"freeze.repository: {why}; leave it out", field="freeze.repository")
    return reference.repository
