"""The authorities of servers: the system's, and those of registries that have their own."""

from __future__ import annotations

import ssl

from wavelet.config import ConfigError, Settings


def trusting(ca_file: str = "") -> ssl.SSLContext:
    """Return a context for a client, which trusts the system's authorities, and those of a PEM file.

    Python 3.13 and newer refuse certificates without some extensions that older ones, and engines, do without, and
    sites have authorities that were made long ago. Signatures, hosts and times are checked as ever.

    Raises:
        OSError, ValueError: the file cannot be used.
    """
    context = ssl.create_default_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


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
                contexts[host] = trusting(registry.ca_file)
            except (OSError, ValueError) as error:
                raise ConfigError(f"{key}: {registry.ca_file} cannot be used: {error}", field=key) from None
    return contexts
