"""The site's defaults of requests for packages, as the settings in force have them."""

from __future__ import annotations

import platform

from wavelet.config import Apply, ConfigError, Settings
from wavelet.errors import CallerError
from wavelet.image.reference import Platform
from wavelet.kinds.conda.model.package_request import CondaDefaults


class SiteDefaults:
    """The defaults of one daemon; called, it returns those of now."""

    def __init__(self, settings: Settings) -> None:
        self.configure(settings)()

    def __call__(self) -> CondaDefaults:
        """Return the defaults of now."""
        return self._defaults

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: base image and packages, channels and layers of a request that names none."""
        defaults = defaults_of(settings)

        def apply() -> None:
            self._defaults = defaults

        return apply


def defaults_of(settings: Settings) -> CondaDefaults:
    """Return the settings' defaults of requests for packages, as values.

    Raises:
        ConfigError: one is not a reference, a spec or a channel.
    """
    conda = settings.conda
    try:
        return CondaDefaults.of(
            conda.base_image,
            conda.base_packages,
            conda.channels,
            platform=Platform.of("linux", platform.machine()),
            layers=conda.layers,
        )
    except CallerError as error:
        raise ConfigError(error.message, field=error.field) from None
