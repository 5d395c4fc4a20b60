"""The site's repository for frozen images: the rule that sends there what names none itself."""

from __future__ import annotations

from wavelet.config import Apply, ConfigError, Settings
from wavelet.errors import AccessRefused, InvalidName
from wavelet.image.reference import Reference, Repository
from wavelet.plan.node import Node


class SiteRepository:
    """A rule of the site for what is asked (`wavelet.requests.request.Rewrite`)."""

    def __init__(self, settings: Settings) -> None:
        self.configure(settings)()

    def __call__(self, plan: Node) -> Node:
        """Return the plan with the site's repository, where it is to be frozen and names none.

        Raises:
            AccessRefused: it is to be mirrored over what the site has frozen, whose names must not change.
        """
        delivery = plan.delivery
        if delivery is not None and delivery.mode == "mirror" and self.is_for(delivery.repository):
            raise AccessRefused(
                f"buildRepository: {self._repository} is the site's for frozen images (freeze.repository), whose names "
                "must stay what they are; mirror to another repository",
                field="buildRepository",
            )
        return plan if self._repository is None else plan.delivered_to(self._repository)

    def is_for(self, repository: Repository | None) -> bool:
        """Tell whether a repository is the site's, or below it."""
        own = self._repository
        return own is not None and repository is not None and f"{repository}/".startswith(f"{own}/")

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: where frozen images are pushed to.

        Raises:
            ConfigError: it is no repository.
        """
        repository = _repository(settings.freeze.repository)

        def apply() -> None:
            self._repository = repository

        return apply


def _repository(text: str) -> Repository | None:
    if not text:
        return None
    try:
        reference = Reference.parse(f"{text}:latest", "freeze.repository")
    except InvalidName:
        why = f"{text[:200]!r} is not a repository; it takes HOST/PATH without a tag"
        raise ConfigError(f"freeze.repository: {why}", field="freeze.repository") from None
    return reference.repository
