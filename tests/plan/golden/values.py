"""The values of a plan, a name or a request, as golden files have them. All that it needs of the code is here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from wavelet.errors import WaveletError
from wavelet.front.registry.names import parse_name
from wavelet.front.registry.plans import plan_of, read_named
from wavelet.front.wave.models import SubmitBody
from wavelet.front.wave.translate import translate
from wavelet.image.reference import Platform
from wavelet.kinds.conda.model.near_cache_names import name_for
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.kinds.table import FORMS
from wavelet.plan.canonical import Pin, canonical, decode, encode, key
from wavelet.plan.tokens import ANONYMOUS, Principal, asked_token, decided_token, target_name, undecided_token

Values = dict[str, Any]

HERE = Path(__file__).parent
RECORDED = HERE.parents[1] / "front" / "wave" / "bodies"
KEY = bytes(range(32))
NONCE = "0123456789abcdef" * 2
AUTHORITY = "127.0.0.1:9090"
SITE = CondaDefaults.of("debian:12", ("procps-ng",), ("conda-forge", "bioconda"), platform=Platform("linux", "amd64"))


def load(name: str) -> dict[str, Values]:
    """Return a golden file."""
    return json.loads((HERE / f"{name}.json").read_text("utf-8"))


def of_part(record: str) -> Values:
    """Return the values of a plan that no name stands for, by its form in records."""
    plan = decode(record.encode(), FORMS)
    return {"record": encode(plan).decode(), "canonical": canonical(plan).decode(), "key": key(plan)}


def of_plan(record: str, pinned: str, before: str | None) -> Values:
    """Return the values of a plan and of what it was pinned to; `before` is a path that it was called by once."""
    asked, fixed = decode(record.encode(), FORMS), decode(pinned.encode(), FORMS)
    pin = Pin.of(fixed)
    written = pin.encode(asked)
    assert Pin.decode(json.loads(json.dumps(written)), asked, FORMS) == pin
    assert pin.fix(asked) == fixed
    path = asked.label.path
    assert asked.label.is_path(path)
    decided = decided_token(KEY, asked, pin, ANONYMOUS)
    values = of_part(record) | {
        "pinned": encode(fixed).decode(),
        "pinned key": key(fixed),
        "pin": {"name": pin.name, "record": json.dumps(written, separators=(",", ":"))},
        "tokens": {
            "decided": decided,
            "decided, somebody's": decided_token(KEY, asked, pin, Principal(1000)),
            "undecided": undecided_token(KEY, asked, NONCE, ANONYMOUS),
            "undecided, somebody's": undecided_token(KEY, asked, NONCE, Principal(1000)),
            "asked": asked_token(KEY, asked, ANONYMOUS),
            "asked, somebody's": asked_token(KEY, asked, Principal(1000)),
        },
        "path": path,
        "served as": str(asked.label.served_as),
        "tag": asked.label.tag_at(path),
        "name": target_name(AUTHORITY, decided, asked),
    }
    if before is not None:
        values["before"] = {"path": before, "called": asked.label.is_path(before), "tag": asked.label.tag_at(before)}
    return values


def of_name(name: str, registry: str | None, platform: str | None) -> Values:
    """Return the values of a name that engines pull, or what is said of it."""
    chosen = None if platform is None else Platform.parse(platform, "platform")
    said: Values = {"name": name, "registry": registry, "platform": platform}

    def ask() -> Values:
        named = read_named(name, "name", reserved=registry is None)
        meant = named.name if registry is None else parse_name(named.path, registry, reserved=True)
        plan = plan_of(meant, named.reference, SITE, chosen)
        values = of_part(encode(plan).decode()) | {"text": named.text}
        if "conda" in json.loads(values["record"])["plan"]:
            values["name for"] = list(name_for(plan, SITE))
        return values

    return said | _values_or_refusal(ask)


def of_body(body: Values, api: str) -> Values:
    """Return the values of a container request, or what is said of it."""

    def ask() -> Values:
        asked = translate(msgspec.json.decode(json.dumps(body), type=SubmitBody), api, SITE)
        plan = asked.plan
        return of_part(encode(plan).decode()) | {
            "image": asked.image,
            "inline": {str(digest): hashlib.sha256(data).hexdigest() for digest, data in asked.inline.items()},
            "dry run": asked.dry_run,
            "notes": list(asked.notes),
            "undecided": undecided_token(KEY, plan, NONCE, ANONYMOUS),
            "asked": asked_token(KEY, plan, ANONYMOUS),
        }

    return _values_or_refusal(ask)


def recorded(name: str) -> tuple[Values, str]:
    """Return the body of a recorded request, and the form of the interface that it was sent to."""
    request = json.loads((RECORDED / name).read_text("utf-8"))
    body = request.get("body", request)
    api = "v1" if request.get("path") == "/container-token" else "v1alpha2"
    return json.loads(body) if isinstance(body, str) else body, api


def _values_or_refusal(ask: Callable[[], Values]) -> Values:
    try:
        return ask()
    except WaveletError as error:
        return {"refused": error.message, "field": error.field}
