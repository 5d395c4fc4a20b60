"""Names of images that are their own request: `conda/<spec>/<spec>…:<tag>` (docs/conda-names.md). Pure.

conda/samtools:1.17                              one package; the tag is its version
conda/samtools:1.17--hd87286a_2                  and its build
conda/samtools__1.17/bwa__0.7.18:latest          several
conda/python__ge3.11__an__lt3.13/pip--multiqc    conditions, requirements for pip
conda/samtools/date--2026-01-31:1.17             with what there was on a day
conda/samtools/channel--bioconda/platform--arm64/base--debian__co12/add--none
"""

from __future__ import annotations

import re

from wavelet.errors import InvalidName, InvalidRequest
from wavelet.image.reference import Platform, Reference, valid_path, valid_tag
from wavelet.kinds.conda.model.environment_text import Environment, read_channels
from wavelet.kinds.conda.model.node import CondaEnvironment
from wavelet.kinds.conda.model.package_request import CondaDefaults, PackageRequest
from wavelet.kinds.conda.model.specs import normal_requirement, normal_spec
from wavelet.plan.name_codec import decode, encode_component, encode_tag

PREFIX = "conda"
"""The first component of these names."""

LATEST = "latest"
"""The tag that says nothing."""

_FIELD = "name"
_MARK = "--"
_PIP, _CHANNEL, _PLATFORM, _DATE, _BASE, _ADD = "pip", "channel", "platform", "date", "base", "add"
_KEYS = (_PIP, _CHANNEL, _PLATFORM, _DATE, _BASE, _ADD)
_NONE = "none"
_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:t(\d\d)(\d\d)(\d\d)z)?")
_AS_OF = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d):(\d\d):(\d\d)Z")
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_TAGGED = re.compile(r"(?P<name>[^=<>!~ \[]+)(?P<condition>[=<>!~ ].*)?")
_VERSION_BUILD = re.compile(r"==(?P<version>[^=<>!~,|]+)=(?P<build>[^=]+)")


def read_name(path: str, tag: str, site: CondaDefaults) -> CondaEnvironment:
    """Return what `conda/<path>:<tag>` asks for. Its lock is renewed by age: nobody can ask for that by a name.

    Raises:
        InvalidName: it is no such name; the component is shown.
        NotServed: no images of conda packages are made for the platform.
    """
    try:
        return _read(path, tag, site)
    except InvalidRequest as error:
        raise InvalidName(f"{PREFIX}/{path[:200]}:{tag[:128]}: {error.message}", field=error.field) from None


def path_for_platform(path: str, platform: Platform) -> str:
    """Return the path (behind `conda/`) of the name that asks for the same as `path`, for another platform."""
    kept = [component for component in path.split("/") if not component.startswith(f"{_PLATFORM}{_MARK}")]
    return "/".join([*kept, _platform(platform)])


def _read(path: str, tag: str, site: CondaDefaults) -> CondaEnvironment:
    specs: list[str] = []
    options: dict[str, list[str]] = {key: [] for key in _KEYS}
    for component in path.split("/"):
        key, mark, value = component.partition(_MARK)
        if not mark:
            specs.append(normal_spec(decode(component), _FIELD))
        elif key in options and value:
            options[key].append(decode(value))
        else:
            message = f"{component[:200]!r} is neither a spec nor one of {', '.join(k + _MARK + '…' for k in _KEYS)}"
            raise InvalidName(message, field=_FIELD)
    if tag != LATEST:
        specs = [_with_tag(specs, tag)]
    platform = _one(options, _PLATFORM)
    asked = _asked(tuple(sorted(set(specs))), options)
    return asked.plan(site.platform if platform is None else Platform.parse(platform, _FIELD), site)


def _asked(specs: tuple[str, ...], options: dict[str, list[str]]) -> PackageRequest:
    pip = tuple(sorted({normal_requirement(text, _FIELD) for text in options[_PIP]}))
    if not specs and not pip:
        raise InvalidName("it names no package", field=_FIELD)
    channels = read_channels(options[_CHANNEL], _FIELD)
    base, date = _one(options, _BASE), _one(options, _DATE)
    added = [text for text in options[_ADD] if text != _NONE]
    return PackageRequest(
        Environment(specs, pip=pip),
        _FIELD,
        channels,
        None if base is None else Reference.parse(base, _FIELD),
        tuple(sorted({normal_spec(text, _FIELD) for text in added})) if options[_ADD] else None,
        as_of=None if date is None else _as_of(date),
        renewed=True,
    )


def _one(options: dict[str, list[str]], key: str) -> str | None:
    if len(options[key]) > 1:
        raise InvalidName(f"{key}{_MARK}… is there {len(options[key])} times", field=_FIELD)
    return options[key][0] if options[key] else None


def _with_tag(specs: list[str], tag: str) -> str:
    """Return the only spec with the version, and the build, that the tag names."""
    found = _TAGGED.fullmatch(specs[0]) if len(specs) == 1 else None
    if found is None or found["condition"]:
        message = (
            f"the tag {tag[:128]!r} is the version of one package that has none in the path; of several, write "
            f"<name>__<version> each, and the tag {LATEST}"
        )
        raise InvalidName(message, field=_FIELD)
    version, mark, build = tag.partition(_MARK)
    condition = decode(version)
    if mark and not (condition and build):
        raise InvalidName(f"the tag {tag[:128]!r} is not <version>{_MARK}<build>", field=_FIELD)
    if mark:
        return normal_spec(f"{specs[0]}=={condition}={decode(build)}", _FIELD)
    return normal_spec(specs[0] + (condition if condition[:1] in "=<>!~ " else f"={condition}"), _FIELD)


def _as_of(text: str) -> str:
    """Return the time of a date (its first moment in UTC) or of a date and a time, in RFC 3339."""
    found = _MOMENT.fullmatch(text)
    if found is not None:
        year, month, day = (int(found[group]) for group in (1, 2, 3))
        hour, minute, second = (int(found[group] or 0) for group in (4, 5, 6))
        leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        if 1 <= month <= 12 and 1 <= day <= _DAYS[month - 1] + leap and hour < 24 and minute < 60 and second < 60:
            return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
    message = f"{text[:60]!r} is not a date; it takes {_DATE}{_MARK}2026-01-31 or {_DATE}{_MARK}2026-01-31t123000z"
    raise InvalidName(message, field=_FIELD)


def name_for(plan: CondaEnvironment, site: CondaDefaults) -> tuple[str, str]:
    """Return path (behind `conda/`) and tag of the name that asks for `plan`, at a site with these settings.

    Raises:
        InvalidName: no name can: it has a lock, or its name is too long for a repository's.
    """
    if plan.locked or plan.wheels or plan.lock_location:
        raise InvalidName("no name stands for a lock file", field=_FIELD)
    if plan.base.repository is None:
        raise InvalidName("no name stands for packages on an image that no registry has", field=_FIELD)
    # What the site adds by itself is left out, where reading the name adds it again.
    for add in ((), _options(plan, site)):
        for specs in filter(lambda specs: specs or plan.pip, (_without(plan, site), plan.specs)):
            path, tag = _named(specs, [*add, *_fixed(plan, site)], plan)
            if valid_path(f"{PREFIX}/{path}") and _reads_as(path, tag, plan, site):
                return path, tag
    count = len(plan.specs) + len(plan.pip)
    message = f"no name of 255 characters stands for these {count} packages; ask for them by the Wave API"
    raise InvalidName(message, field=_FIELD)


def _reads_as(path: str, tag: str, plan: CondaEnvironment, site: CondaDefaults) -> bool:
    read = read_name(path, tag, site)
    return (read.specs, read.channels, read.pip) == (plan.specs, plan.channels, plan.pip)


def _without(plan: CondaEnvironment, site: CondaDefaults) -> tuple[str, ...]:
    kept = tuple(spec for spec in plan.specs if spec not in site.base_packages)
    return tuple(spec for spec in kept if spec != "pip" or not plan.pip)


def _options(plan: CondaEnvironment, site: CondaDefaults) -> list[str]:
    channels = [f"{_CHANNEL}{_MARK}{encode_component(channel)}" for channel in plan.channels]
    return [*channels, f"{_ADD}{_MARK}{_NONE}"]


def _fixed(plan: CondaEnvironment, site: CondaDefaults) -> list[str]:
    found = [f"{_PIP}{_MARK}{encode_component(text)}" for text in plan.pip]
    if plan.platform != site.platform:
        found.append(_platform(plan.platform))
    if plan.as_of is not None:
        found.append(f"{_DATE}{_MARK}{_date(plan.as_of)}")
    base = plan.base.description.image
    if base != str(site.base_image):
        found.append(f"{_BASE}{_MARK}{encode_component(base)}")
    return found


def _platform(platform: Platform) -> str:
    return f"{_PLATFORM}{_MARK}{encode_component(str(platform).removeprefix('linux/'))}"


def _date(as_of: str) -> str:
    found = _AS_OF.fullmatch(as_of)
    if found is None:
        raise InvalidName(f"no name stands for the time {as_of[:60]!r}", field=_FIELD)
    date, *time = found.groups()
    return date if set(time) == {"00"} else f"{date}t{''.join(time)}z"


def _named(specs: tuple[str, ...], options: list[str], plan: CondaEnvironment) -> tuple[str, str]:
    if len(specs) == 1:
        name, tag = _tagged(specs[0])
        return "/".join([encode_component(name), *options]), tag
    return "/".join([*map(encode_component, specs), *options]), LATEST


def _tagged(spec: str) -> tuple[str, str]:
    """Return a spec's name, and its version as a tag; where that is none, the spec itself."""
    found = _TAGGED.fullmatch(spec)
    condition = found["condition"] if found is not None else None
    if found is None or condition is None:
        return spec, LATEST
    exact = _VERSION_BUILD.fullmatch(condition)
    if exact is not None:
        tag = encode_tag(exact["version"]) + _MARK + encode_tag(exact["build"])
    else:
        plain = condition[1:2].isalnum() and condition.startswith("=") and not re.search(r"[=<>!~]", condition[1:])
        tag = encode_tag(condition[1:] if plain else condition)
    return (found["name"], tag) if valid_tag(tag) and tag != LATEST else (spec, LATEST)
