"""The promise of everything that goes by settings and can take other ones while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from wavelet.config.settings import Settings

Apply = Callable[[], None]
"""Puts into force what `Configurable.configure` has prepared. Cannot fail, and is called in the loop's thread."""


class Configurable(Protocol):
    """A service with settings. Its constructor takes them by `configure` too, so that one place reads them.

    A reload first asks all services to `configure`, which is where everything stands that can fail, and then applies
    what they return, between two steps of the loop's tasks: no request sees half of it, and a no of one stops all.
    """

    def configure(self, settings: Settings) -> Apply:
        """Prepare other settings and return what puts them into force. Blocking; changes nothing by itself.

        Raises:
            ConfigError: they cannot be used; the message and `field` name the key.
        """
