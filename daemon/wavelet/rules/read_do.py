"""What a rule does, read from what is written. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Literal

from wavelet.bounded_yaml import Value
from wavelet.errors import CallerError, InvalidRequest
from wavelet.image.reference import Digest, Platform, looks_like_host, valid_host, valid_path
from wavelet.packs.model import PackUse
from wavelet.rules.members import Faults, Members, has_control, kind_of
from wavelet.rules.model import Do, Redirect, When
from wavelet.rules.patterns import literal_prefix, registry_name
from wavelet.rules.read_when import NodeNames

DO_MEMBERS = ("refuse", "redirect", "platform", "require", "packs", "env", "labels")

SENTENCE_LIMIT = 1000
"""Characters of the site's sentence."""

VARIABLES_LIMIT = 16 * 1024
"""Characters of the environment, and of the labels, that one rule adds."""

_MISSING: tuple[Literal["refuse", "skip"], ...] = ("refuse", "skip")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?")


def read_do(value: Value, when: When, names: NodeNames, faults: Faults) -> Do:
    """Return what a rule does, whose conditions are `when`. What is wrong is noted in `faults`."""
    members = Members(value, "do", DO_MEMBERS, faults)
    if value == {}:
        faults.add("do", f"does nothing; it takes one or more of {', '.join(DO_MEMBERS)}")
    require = _required(members)
    do = Do(
        refuse=_sentence(members),
        redirect=_redirect(members, when, names),
        set_platform=_platform(members),
        require_platforms=require.platforms,
        packs=_packs(members),
        env=_environment(members),
        labels=_labels(members),
        require_digest=require.is_by_digest,
        digests=require.digests,
    )
    if "refuse" in members and len(others := [each for each in DO_MEMBERS[1:] if each in members]) > 0:
        faults.add("do", f"refuses, so that {', '.join(others)} would do nothing; make two rules of it")
    if do.admits:
        _check_admitting(when, faults)
    return do


def _check_admitting(when: When, faults: Faults) -> None:
    """Note conditions on who asks, which is not known any more where a name is bound to a digest."""
    given = {"door": when.doors, "form": when.forms, "user": when.uids, "group": when.gids, "labels": when.labels}
    for member, values in given.items():
        if values:
            why = (
                "cannot be told where a digest is judged, which may be long after it was asked for; with"
                " `require.digest` take image, not, source and platform alone"
            )
            faults.add(f"when.{member}", why)


def _sentence(members: Members) -> str:
    text = " ".join(members.text("refuse").split())
    if len(text) > SENTENCE_LIMIT:
        members.faults.add(members.at("refuse"), f"has {len(text)} characters; {SENTENCE_LIMIT} are the most")
    if has_control(text):
        members.faults.add(members.at("refuse"), "holds control characters, which terminals would obey")
    return text


def _redirect(members: Members, when: When, names: NodeNames) -> Redirect | None:
    if "redirect" not in members:
        return None
    place = members.at("redirect")
    value = members.value("redirect")
    if not isinstance(value, dict):
        found = _to(_prefix_of(when, members.faults), members.text("redirect"), place, names, members.faults)
        if (
            found is not None
            and "/" not in found.to
            and any(each.repository.text == found.prefix for each in when.images)
        ):
            members.faults.add(place, f"{found.to!r} would replace the whole name of an image; write {found.to}/PATH")
        return found
    inner = Members(value, place, ("from", "to"), members.faults)
    for each in ("from", "to"):
        if each not in inner:
            members.faults.add(place, f"has no `{each}`; it takes REGISTRY/PATH, or {{from: …, to: …}}")
            return None
    prefix = inner.text("from")
    prefix = _place(prefix, inner.at("from"), members.faults) if prefix else ""
    return _to(prefix, inner.text("to"), inner.at("to"), names, members.faults)


def _prefix_of(when: When, faults: Faults) -> str:
    """Return the part of names that a redirect replaces, if it can be told from the patterns."""
    if not when.images and faults.found:
        return ""  # what is wrong with them has been said
    prefixes = sorted({literal_prefix(pattern) for pattern in when.images})
    if len(prefixes) == 1 and prefixes[0]:
        return prefixes[0]
    why = "the images of when.image have no registry and path in common that could be replaced"
    faults.add("do.redirect", f"{why}; say it: redirect: {{from: REGISTRY/PATH, to: REGISTRY/PATH}}")
    return ""


def _to(prefix: str, to: str, place: str, names: NodeNames, faults: Faults) -> Redirect | None:
    target = _place(to, place, faults) if to else ""
    if target.partition("/")[0] in {registry_name(each) for each in names.authorities}:
        why = "is this node's own registry, which would ask itself; name the registry where the images are"
        faults.add(place, f"{to!r} {why}")
    elif target and target == prefix:
        faults.add(place, f"{to!r} is where the images are already")
    return Redirect(prefix, target) if prefix and target else None


def _place(text: str, member: str, faults: Faults) -> str:
    """Return `<registry>[/<path>]` in full; empty if it is none."""
    host, slash, path = text.partition("/")
    if not looks_like_host(host) or not valid_host(host) or (slash and not valid_path(path)):
        why = (
            "is no REGISTRY or REGISTRY/PATH without a tag, such as harbor.site.example/hub or docker.io/biocontainers"
        )
        faults.add(member, f"{text[:300]!r} {why}")
        return ""
    return f"{registry_name(host)}{slash}{path}"


def _platform(members: Members) -> Platform | None:
    text = members.text("platform")
    try:
        return Platform.parse(text, members.at("platform")) if text else None
    except InvalidRequest as error:
        members.faults.add_error(members.at("platform"), error)
        return None


@dataclass(frozen=True, slots=True)
class _Required:
    platforms: tuple[Platform, ...] = ()
    is_by_digest: bool = False
    digests: frozenset[Digest] = frozenset()


def _required(members: Members) -> _Required:
    if "require" not in members:
        return _Required()
    value = members.value("require")
    if value == {}:
        members.faults.add(members.at("require"), "requires nothing; it takes platform and digest")
    inner = Members(value, members.at("require"), ("platform", "digest"), members.faults)
    platforms = inner.each("platform", partial(Platform.parse, field=inner.at("platform")))
    texts = inner.texts("digest")
    if texts == ("true",):
        return _Required(platforms, is_by_digest=True)
    if "true" in texts:
        inner.faults.add(inner.at("digest"), "takes `true`, or digests, and not both")
        return _Required(platforms)
    digests = set()
    for text in texts:
        try:
            digests.add(Digest.parse(text))
        except InvalidRequest:
            inner.faults.add(inner.at("digest"), f"{text[:160]!r} is neither `true` nor a digest, sha256:…")
    return _Required(platforms, digests=frozenset(digests))


def _packs(members: Members) -> tuple[PackUse, ...]:
    if "packs" not in members:
        return ()
    value = members.value("packs")
    place = members.at("packs")
    found = [_pack(each, place, members.faults) for each in (value if isinstance(value, list) else [value])]
    if not found:
        members.faults.add(place, "is an empty list; it takes names of packs")
    return tuple(each for each in found if each is not None)


def _pack(value: Value, place: str, faults: Faults) -> PackUse | None:
    if isinstance(value, dict):
        members = Members(value, place, ("name", "missing"), faults)
        missing = members.word("missing", _MISSING, "refuse")
        if "name" not in members:
            faults.add(place, "has no `name`; it takes NAME, NAME@VERSION or {name: …, missing: skip}")
        text = members.text("name")
    else:
        text, missing = value if isinstance(value, str) else "", "refuse"
        if not text:
            faults.add(place, f"has {kind_of(value)} for a pack; it takes NAME or NAME@VERSION")
    try:
        return PackUse.parse(text, place, missing) if text else None
    except CallerError as error:
        faults.add_error(place, error)
        return None


def _environment(members: Members) -> tuple[str, ...]:
    place = members.at("env")
    if isinstance(members.value("env"), dict):
        pairs = members.pairs("env")
    else:
        texts = members.texts("env")
        pairs = tuple((name, value) for name, _, value in (each.partition("=") for each in texts))
        for each in texts:
            if "=" not in each:
                members.faults.add(place, f"{each[:80]!r} has no value; it takes NAME=VALUE, or a mapping")
    for name, _ in pairs:
        if _VARIABLE.fullmatch(name) is None:
            why = "is no name of a variable: letters, digits and _, and no digit first"
            members.faults.add(place, f"{name[:80]!r} {why}")
    _check_values(pairs, place, members.faults)
    return tuple(f"{name}={value}" for name, value in dict(pairs).items())


def _labels(members: Members) -> tuple[tuple[str, str], ...]:
    pairs = members.pairs("labels")
    place = members.at("labels")
    for name, _ in pairs:
        if _LABEL.fullmatch(name) is None:
            members.faults.add(place, f"{name[:80]!r} is no name of a label: letters, digits and . _ - / between them")
    _check_values(pairs, place, members.faults)
    return pairs


def _check_values(pairs: tuple[tuple[str, str], ...], place: str, faults: Faults) -> None:
    length = sum(len(name) + len(value) for name, value in pairs)
    if length > VARIABLES_LIMIT:
        faults.add(place, f"has {length} characters; {VARIABLES_LIMIT} are the most")
    for name, value in pairs:
        if "\0" in value:
            faults.add(place, f"{name[:80]} holds a NUL character, which no process can be given")
