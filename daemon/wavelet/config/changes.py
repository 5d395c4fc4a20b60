"""The changes between two settings, and which of them count at once while the daemon runs."""

from __future__ import annotations

from msgspec import Struct, structs

from wavelet.config.keys import Key, live_keys
from wavelet.config.settings import Settings


def changed(old: Settings, new: Settings) -> list[str]:
    """Return the dotted keys whose values differ, sorted."""
    before, after = _flat(old, ()), _flat(new, ())
    return sorted(".".join(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def is_live(key: str) -> bool:
    """Tell whether a reload puts a dotted key into force; all others need a restart."""
    return tuple(key.split(".")) in live_keys()


def _flat(section: Struct, prefix: Key) -> dict[Key, object]:
    flat: dict[Key, object] = {}
    for name, value in structs.asdict(section).items():
        key = (*prefix, name)
        flat |= _flat(value, key) if isinstance(value, Struct) else {} if value is None else {key: value}
    return flat
