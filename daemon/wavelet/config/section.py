"""What all sections of the settings are, and what marks the keys of which a reload takes other values."""

from __future__ import annotations

from msgspec import Meta, Struct

LIVE = Meta(extra={"live": True})
"""Marks a setting that a reload puts into force; all others need a restart."""


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A group of settings. An unknown key is an error."""
