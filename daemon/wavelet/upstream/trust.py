"""The authorities of registries that have their own, beside the system's."""

from __future__ import annotations

import ssl

from wavelet.config import ConfigError, Settings


def load_trust(settings: Settings) -> dict[str, ssl.SSLContext]:
    """Read the authorities of the registries that have their own, beside the system's. Blocks.

    Raises:
        ConfigError: a file is not there or holds no certificate.
    """
    contexts: dict[str, ssl.SSLContext] = {}
    for host, registry in settings.upstream.registries.items():
        if registry.ca_file:
            key = f"upstream.registries.{host}.ca_file"
            try:
                contexts[host] = ssl.create_default_context()
                contexts[host].load_verify_locations(registry.ca_file)
            except (OSError, ValueError) as error:
                raise ConfigError(f"{key}: {registry.ca_file} cannot be used: {error}", field=key) from None
    return contexts
