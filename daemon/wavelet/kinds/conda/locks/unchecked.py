"""Values of lock files that nobody has checked yet: what should be a text, list or mapping may be anything. Pure."""

from __future__ import annotations

from wavelet.kinds.conda.model.specs import normal_channel, without_login, wrong


def text_of(value: object) -> str:
    """Return a text without blanks around it, and nothing of what is none."""
    return value.strip() if isinstance(value, str) else ""


def list_of(value: object, where: str) -> list[object]:
    """Return a list.

    Raises:
        InvalidRequest: it is none.
    """
    if not isinstance(value, list):
        raise wrong(where, "is not a list")
    return value


def mapping_of(value: object, where: str) -> dict[str, object]:
    """Return a mapping.

    Raises:
        InvalidRequest: it is none.
    """
    if not isinstance(value, dict):
        raise wrong(where, "is not a mapping")
    return value


def channels_of(value: object, field: str) -> tuple[str, ...]:
    """Return channels in normal form, each once: they are listed as URLs, or as mappings with a `url`.

    Raises:
        InvalidRequest: it is no list, or one of them is no channel.
    """
    found = []
    for entry in list_of(value or [], field):
        url = text_of(entry.get("url")) if isinstance(entry, dict) else text_of(entry)
        found.append(normal_channel(without_login(url + "/"), field))
    return tuple(dict.fromkeys(found))
