"""Rules in a few words, for those who list them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wavelet.rules.model import Do, When


def condition(when: When) -> str:
    """Return in a few words when a rule applies; empty: always."""
    parts: dict[str, Sequence[object]] = {
        "image": [each.text for each in when.images],
        "not": [each.text for each in when.but_not],
        "source": sorted(when.sources),
        "platform": sorted(map(str, when.platforms)),
        "door": sorted(when.doors),
        "form": sorted(when.forms),
        "user": sorted(when.uids),
        "group": sorted(when.gids),
        "labels": [f"{name}={glob.text}" for name, glob in when.labels],
    }
    return _joined(parts.items())


def action(do: Do) -> str:
    """Return in a few words what a rule does."""
    redirect = [f"{do.redirect.prefix} to {do.redirect.to}"] if do.redirect is not None else []
    parts: dict[str, Sequence[object]] = {
        "refuse": [do.refuse] if do.refuse else [],
        "redirect": redirect,
        "platform": [str(do.set_platform)] if do.set_platform is not None else [],
        "require platform": list(map(str, do.require_platforms)),
        "require digest": [*sorted(do.digests), *(["asked for by it"] if do.require_digest else [])],
        "packs": [each.text for each in do.packs],
        "env": list(do.env),
        "labels": [f"{name}={value}" for name, value in do.labels],
    }
    return _joined(parts.items())


def _joined(parts: Iterable[tuple[str, Sequence[object]]]) -> str:
    shown = ((name, ", ".join(map(str, values))) for name, values in parts)
    return "; ".join(f"{name}: {text}" for name, text in shown if text)
