"""What differs between two settings, and which of it counts at once while the daemon runs."""

from __future__ import annotations

from msgspec import Struct, structs

from wavelet.config.keys import Key
from wavelet.config.settings import Settings

LIVE = (
    "hosts",
    "engine_uids",
    "http_root",
    "tls.certificate",
    "tls.key",
    "log_format",
    "log_level",
    "grace_period",
    "store",
    "records.lifetime",
    "upstream",
    "conda",
)
"""Keys and sections that a reload puts into force; all others need a restart."""

_NOT_LIVE = ("conda.workers",)


def changed(old: Settings, new: Settings) -> list[str]:
    """Return the dotted keys whose values differ, sorted."""
    before, after = _flat(old, ()), _flat(new, ())
    return sorted(".".join(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def is_live(key: str) -> bool:
    """Tell whether a reload puts a dotted key into force."""
    return key not in _NOT_LIVE and any(key == live or key.startswith(f"{live}.") for live in LIVE)


def _flat(section: Struct, prefix: Key) -> dict[Key, object]:
    flat: dict[Key, object] = {}
    for name, value in structs.asdict(section).items():
        key = (*prefix, name)
        flat |= _flat(value, key) if isinstance(value, Struct) else {} if value is None else {key: value}
    return flat
