"""The texts that ask something of conda and pip, one at a time: match specs, channels, requirements. Pure.

Texts are brought into a normal form, so that two ways to write one thing are one plan, and what can never be right is
refused where it is read. What is merely unknown is kept: the solver has the last word.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from wavelet.errors import InvalidRequest

SPEC_LIMIT = 512
"""Characters of one spec, requirement or channel."""

SUBDIR = re.compile(r"noarch|(?:linux|osx|win|emscripten|wasi|freebsd|zos)-[a-z0-9]+")
"""The directory of a channel for a platform (CEP 26)."""

NO_DEFAULTS = "nodefaults"
"""The word among channels that keeps conda from adding those of its settings; here none are ever added."""

PIP_PREFIX = "pip:"
"""What marks an entry as a requirement for pip (Wave's `packages.entries`)."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_NAMESPACE = re.compile(r"^[A-Za-z0-9_.-]*:(?!\s*v?[0-9]+(?:\.\w+)*\s*$)")
_NAMESPACES = (":", "conda-forge:", "bioconda:")
_AROUND = re.compile(r"\s*([<>=!~,|]+)\s*")
_ANOTHER = re.compile(r"[A-Za-z0-9_./-]+::|[A-Za-z_][A-Za-z0-9_.-]*[=<>!~]")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_JOINED = re.compile(r"[,;]\s*(?!python_|sys_|platform_|os_name|implementation_|extra\b)(?:[\w./-]+::)?[A-Za-z_]")
_CONDITION = re.compile(r"(?:==|!=|>=|<=|~=|=|>|<)?[A-Za-z0-9_.*+!-]*[A-Za-z0-9_.*]")
_WITH_BUILD = re.compile(r"(?P<version>.*[^=<>!~,|])=(?P<build>[^=<>!~,|]+)")
_BUILD = re.compile(r"[A-Za-z0-9_.*+^$-]+")
_BARE = re.compile(r"[A-Za-z0-9_.+!-]+")
_MEMBER_NAMES = (
    "version", "build", "build_number", "channel", "subdir", "md5", "sha256", "license", "license_family",
    "track_features",
)  # fmt: skip
"""What solvers may be told in brackets (CEP 29), and heed. Not `url` and `fn`: these are for files."""
_VALUE = r"""'[^'"\[\]]*'|"[^'"\[\]]*"|[^'"\[\],\s]+"""
_MEMBER = rf"""\s*(?:{"|".join(_MEMBER_NAMES)})\s*=\s*(?:{_VALUE})\s*"""
_MEMBERS = re.compile(f"{_MEMBER}(?:,{_MEMBER})*")
_NAMED_VALUE = re.compile(rf"\s*(?P<name>\w+)\s*=\s*(?P<value>{_VALUE})\s*(?:,|$)")
_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_TOKEN = re.compile(r"(?<=[^/:])/t/[^/]+(?=/)")
_REQUIREMENT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\s*(?:[\[(<>=!~;@,]|$)")
_WHEEL_URL = re.compile(r"https?://[^\s/?#]+/(?:[^\s?#]*/)?(?P<name>[A-Za-z0-9][\w.]*)-[^\s/?#]+\.whl(?:#\S*)?")
_SEVERAL = (
    "it looks like several packages; two packages are two entries (in a file, two lines); one is "
    "<name>=<version>=<build>"
)
_OPERATORS = re.compile(r"\s*(===|==|~=|!=|<=|>=|<|>|,)\s*")
_EDITABLE = ("git+", "hg+", "svn+", "bzr+", "http://", "https://", "file:", ".", "/", "~")


def wrong(where: str, why: str) -> InvalidRequest:
    """Return the error for a text: `where` is the request's member, and behind a colon the place in it."""
    return InvalidRequest(f"{where}: {why}", field=where.partition(":")[0])


def normal_spec(text: str, field: str) -> str:
    """Return a match spec's normal form: `[<channel>::]<name>[<version>[=<build>]][[<members>]]`.

    The name is in lower case, no quotes are around it and no white space around operators; `samtools 1.17` is
    `samtools==1.17`, as every solver reads it. `samtools=1.17` stays: it also takes 1.17.1.

    Raises:
        InvalidRequest: no solver can read it; `field` is named.
    """
    spec = _printable(text, field, "spec")

    def refuse(why: str) -> InvalidRequest:
        return wrong(field, f"{without_login(spec)!r} is not a spec of a conda package: {why}")

    if spec.startswith("-"):
        hint = "an item of a list in YAML is written without its dash here, a channel as <channel>::<name>"
        raise refuse(f"a package's name begins with no dash; options of conda are not read, {hint}")
    if _is_several(spec):
        raise refuse(_SEVERAL)
    head, bracket, members = spec.partition("[")
    if bracket and not members.endswith("]"):
        raise refuse("the bracket is not closed at its end")
    if bracket and _MEMBERS.fullmatch(members.removesuffix("]")) is None:
        hint = "; a package at a URL is an entry of its own, the URL" if re.search(r"\burl\s*=", members) else ""
        raise refuse(f"what may stand in brackets is {', '.join(_MEMBER_NAMES)}, each =VALUE or ='VALUE'{hint}")
    channel, qualified, rest = head.rpartition("::")
    if qualified and channel.strip() == "pip":
        raise refuse("write 'pip:' with one colon for a package of pip")
    channel = normal_channel(channel, field) if qualified else ""
    rest = rest.strip()
    namespace = _NAMESPACE.match(rest)
    if namespace is not None:
        # Every tool reads conda's namespaces over, and pipelines have these two, meant as channels. Another name here
        # would say something that is not heeded.
        if namespace[0].lower() not in _NAMESPACES:
            raise refuse(f"write <channel>::<name>, with two colons, for a channel; {namespace[0]!r} says nothing")
        rest = rest[namespace.end() :]
    found = _NAME.match(rest)
    if found is None:
        raise refuse("it has no package name")
    condition = rest[found.end() :]
    if condition.startswith(":"):
        raise refuse("write <channel>::<name> for a channel, and <name>=<version> for a version")
    if condition and condition[0] not in " \t=<>!~":
        raise refuse(f"{condition[0]!r} cannot follow the name")
    version, build = _condition(condition, refuse)
    channel, bracket = _bracket(members.removesuffix("]"), channel, version, build, refuse)
    if channel == NO_DEFAULTS:
        raise refuse(f"{NO_DEFAULTS} is no channel that has packages")
    prefix = f"{channel}::" if channel else ""
    return prefix + found[0].lower() + version + (f"={build}" if build else "") + bracket


def _bracket(
    members: str, channel: str, version: str, build: str, refuse: Callable[[str], InvalidRequest]
) -> tuple[str, str]:
    """Return the channel, with a subdir, that members and what stands before them say, and the rest in brackets."""
    written = [(found["name"], found[0].strip().rstrip(",").strip()) for found in _NAMED_VALUE.finditer(members)]
    values = {found["name"]: found["value"].strip("'\"") for found in _NAMED_VALUE.finditer(members)}
    if len(values) < len(written):
        raise refuse("a member stands twice in brackets")
    for name, outside in (("version", version), ("build", build)):
        if name in values and outside:
            raise refuse(f"its {name} is said before the brackets and in them, and only one of them would count")
    before, subdir = _split_channel(channel)
    if "channel" in values:
        inside, subdir_inside = _split_channel(normal_channel(values["channel"], "channel"))
        if (before and before != inside) or (subdir and subdir_inside and subdir != subdir_inside):
            raise refuse("it names two channels")
        before, subdir = inside, subdir or subdir_inside
    if values.get("subdir", subdir) != subdir and subdir:
        raise refuse("it names two platforms")
    subdir = values.get("subdir", subdir)
    if subdir and SUBDIR.fullmatch(subdir) is None:
        raise refuse(f"{subdir!r} is not a channel's directory for a platform, like noarch or linux-64")
    kept = [text for name, text in written if name not in ("channel", "subdir")]
    if subdir and not before:
        kept.append(f"subdir={subdir}")
    return (f"{before}/{subdir}" if before and subdir else before), (f"[{','.join(kept)}]" if kept else "")


def _split_channel(channel: str) -> tuple[str, str]:
    """Return a channel's name or URL, and the subdir behind it, if there is one."""
    head, _, subdir = channel.rpartition("/")
    return (head, subdir) if head and SUBDIR.fullmatch(subdir) else (channel, "")


def _is_several(spec: str) -> bool:
    """Tell whether a text looks like packages with spaces between, as on the command line of conda."""
    spec = re.sub(r"\[[^\]]*\]?", "", spec)
    # A comma means that both conditions hold: a version by itself, let alone one that begins with a letter, is none.
    if _JOINED.search(spec):
        return True
    _, *rest = spec.split() or [""]
    # A version may begin with a letter, but who has such a one can write `name==version`, and a build `name=1.0=build`.
    return any(_ANOTHER.match(word) for word in rest) or (bool(rest) and _WORD.fullmatch(rest[0]) is not None)


def _condition(text: str, refuse: Callable[[str], InvalidRequest]) -> tuple[str, str]:
    """Return version and build of what follows a name."""
    parts = _AROUND.sub(r"\1", text.strip()).split()
    if len(parts) > 2:
        raise refuse("a version and a build can follow the name; put commas between conditions")
    version, build = (*parts, "", "")[:2]
    found = _WITH_BUILD.fullmatch(version)
    if found is not None and not build:
        version, build = found["version"], found["build"]
    elif not build and version.endswith("=") and version.strip("=<>!~,|"):
        version = version.removesuffix("=")
    for condition in re.split(r"[,|]", version.replace("(", "").replace(")", "")) if version else ():
        if not condition.startswith("^") and _CONDITION.fullmatch(condition) is None:
            raise refuse(
                f"{condition!r} is not a condition on its version, like >=1.2 or =1.17; commas go between several"
            )
    if build and _BUILD.fullmatch(build) is None:
        raise refuse(f"{build!r} is not a build; put commas between conditions")
    return _normal_version(version, exact=bool(build)), build


def _normal_version(version: str, *, exact: bool) -> str:
    """Return a version's conditions with an operator in front; `exact` says that a build follows."""
    if version in ("", "*", "=*", "==*"):
        return "=*" if exact else ""
    simple = version.removeprefix("=")
    if simple.endswith(".*") and _BARE.fullmatch(simple[:-2]):
        return f"={simple}" if exact else f"={simple[:-2]}"
    if _BARE.fullmatch(version) or (exact and _BARE.fullmatch(simple)):
        return f"=={simple}"
    return version if version[0] in "=<>!~" else f" {version}"


def name_of(spec: str) -> str:
    """Return the package's name of a spec in normal form."""
    found = _NAME.match(spec.partition("[")[0].rpartition("::")[2])
    return found[0] if found is not None else spec


def channel_of(spec: str) -> str:
    """Return the channel that a spec in normal form names, without a subdir, or nothing."""
    return _split_channel(_qualifier(spec))[0]


def directory_of(spec: str) -> str:
    """Return the subdir that a spec in normal form wants its package to be of, or nothing."""
    inside = re.search(r"[\[,]subdir=([a-z0-9-]+)[,\]]", spec)
    return inside[1] if inside is not None else _split_channel(_qualifier(spec))[1]


def _qualifier(spec: str) -> str:
    return spec.partition("[")[0].rpartition("::")[0]


def normal_channel(text: str, field: str) -> str:
    """Return a channel's name or URL without a slash at its end.

    Raises:
        InvalidRequest: it is neither, or carries a login. The login is not repeated.
    """
    channel = _printable(text, field, "channel", secret=True).rstrip("/")
    scheme, separator, _ = channel.partition("://")
    if not separator:
        if _CHANNEL.fullmatch(channel) is None or ".." in channel:
            raise wrong(field, f"{channel!r} is not a channel; it takes a name or an http, https or file URL")
        return channel
    if without_login(channel + "/") != channel + "/":
        why = "a channel's URL carries a login; leave it out, and give it to the daemon's user in .condarc"
        raise wrong(field, f"{why} or RATTLER_AUTH_FILE")
    scheme = scheme.lower()
    if scheme not in ("http", "https", "file") or not _split(channel) or " " in channel or "/../" in channel + "/":
        raise wrong(field, f"{channel!r} is not a channel's URL; it takes http, https or file")
    return scheme + channel[len(scheme) :]


def _split(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.path if parts.scheme.lower() == "file" else parts.hostname) and not parts.query + parts.fragment


def without_login(url: str) -> str:
    """Return a URL without user, password and a token in its path (`/t/<token>/`)."""
    return _TOKEN.sub("", re.sub(r"(?<=://)[^/@]*@", "", url), count=1)


def normal_requirement(text: str, field: str) -> str:
    """Return a requirement for pip (PEP 508), the name in lower case, without white space around operators.

    Raises:
        InvalidRequest: it is an option of pip, or names a file or a version control system; `field` is named.
    """
    requirement = re.sub(r"\s+#.*", "", _printable(text, field, "requirement", secret=True)).strip()
    shown = repr(without_login(requirement))
    if requirement.startswith("-"):
        why = "is an option of pip; only requirements are taken, and indexes are those that the daemon's user has"
        raise wrong(field, f"{shown} {why} configured")
    wheel = _WHEEL_URL.fullmatch(requirement.partition(" ;")[0].strip())
    if wheel is not None:
        requirement = f"{wheel['name']} @ {requirement}"
    if requirement.startswith(_EDITABLE):
        raise wrong(
            field,
            f"{shown} is not installed here; give a package's name, or NAME @ URL, the URL of a wheel",
        )
    if re.search(r"\s--\w", requirement):
        raise wrong(field, f"{shown} has options of pip behind it; leave them out, the lock has the digests")
    if _REQUIREMENT.match(requirement) is None or without_login(requirement) != requirement:
        raise wrong(field, f"{shown} is not a requirement of a package without a login, like numpy>=1.26")
    found = _NAME.match(requirement)
    if found is not None:
        requirement = found[0].lower() + requirement[found.end() :]
    wanted, semicolon, marker = requirement.partition(";")
    if "@" in wanted:
        name, _, url = wanted.partition("@")
        if _WHEEL_URL.fullmatch(url.strip()) is None:
            what = "is asked for by something else than the http(s) URL of a wheel"
            raise wrong(field, f"{name.strip()!r} {what}; nothing is built from source")
        return f"{name.strip()} @ {url.strip()}" + (f" ; {marker.strip()}" if semicolon else "")
    return _OPERATORS.sub(r"\1", wanted).strip() + (f"; {marker.strip()}" if semicolon else "")


def unquoted(text: str) -> str:
    """Return a text without white space around it, and without quotes if it is quoted as a whole.

    Neither a spec nor a requirement begins with a quote, but both may end with one: `six; python_version > '3.8'`.
    """
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    return text


def _printable(text: str, field: str, what: str, *, secret: bool = False) -> str:
    """Return a text of conda's alphabet without quotes around it."""
    text = unquoted(text)
    if not text:
        raise wrong(field, f"is an empty {what}")
    if len(text) > SPEC_LIMIT or not text.replace("\t", " ").isprintable() or not text.isascii():
        shown = "it" if secret else repr(text[:80])
        hint = f"; {_SEVERAL}" if what == "spec" and "\n" in text else ""
        raise wrong(field, f"{shown} is not a {what}: up to {SPEC_LIMIT} printable ASCII characters{hint}")
    return text
