"""The settings in force as a file of settings, fit to be shown: without the logins that URLs may hold."""

from __future__ import annotations

import re

import msgspec
import yaml

from wavelet.config.settings import Settings

_HIDDEN = "***"
_LOGIN = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/@\s]*@")
_TOKEN = re.compile(r"/t/[^/\s]+")


def settings_yaml(settings: Settings) -> str:
    """Return all settings as YAML, those with their defaults too, in the order of the reference."""
    shown = _without_secrets(msgspec.to_builtins(settings))
    return yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=120)


def without_secrets(text: str) -> str:
    """Return a value without the login of a URL and without a channel's token (`/t/<token>/`)."""
    return _TOKEN.sub(f"/t/{_HIDDEN}", _LOGIN.sub(rf"\g<scheme>{_HIDDEN}@", text))


def _without_secrets(value: object) -> object:
    if isinstance(value, dict):
        return {without_secrets(name): _without_secrets(member) for name, member in value.items() if member is not None}
    if isinstance(value, list | tuple):
        return [_without_secrets(member) for member in value]
    return without_secrets(value) if isinstance(value, str) else value
