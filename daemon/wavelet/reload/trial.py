"""A trial of settings without a daemon: what starting one with them would refuse, beyond their types and ranges."""

from __future__ import annotations

import os

from wavelet.config import Settings
from wavelet.front.tls import tls_context
from wavelet.kinds.conda import site_defaults
from wavelet.kinds.conda.channels import site_files as channel_site
from wavelet.requests.site_repository import repository_of
from wavelet.upstream import endpoints
from wavelet.upstream.endpoints import check_mirrors
from wavelet.upstream.trust import load_trust


def check(settings: Settings) -> None:
    """Return if a daemon could take these settings, as far as that can be told without one. Blocking.

    Raises:
        ConfigError: a file that they name cannot be used, or a name is none.
    """
    check_mirrors(settings)
    endpoints.check(os.environ)
    load_trust(settings)
    repository_of(settings)
    site_defaults.defaults_of(settings)
    channel_site.load(settings.conda, os.environ, (), alone=False)
    if settings.tls is not None:
        tls_context(settings.tls)
