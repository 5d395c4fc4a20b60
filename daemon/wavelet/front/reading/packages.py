"""The `packages` member of a request, as what is asked for. Pure.

`mambaImage` and `pixiImage` name the tool that installs. None is run here, so they are read over, as Wave itself leaves
nothing of them in the image by its present templates. By the template `conda/micromamba:v1` the image *is* the tool's
with packages added: there another image than micromamba's own is the one under the packages. `baseImage` is that in
the other templates. What clients fill in by themselves (`ubuntu:24.04`, `conda-forge::procps-ng`, micromamba's images)
counts as not chosen, so that a site's settings stand.
"""

from __future__ import annotations

import datetime
import re

from wavelet.errors import InvalidRequest, NotServed, TooLarge
from wavelet.front.reading.values import CondaOptsValues, PackagesValues
from wavelet.image.reference import Reference
from wavelet.kinds.conda.locks.foreign import refuse_foreign_name
from wavelet.kinds.conda.model.environment_text import Environment, read_channels, read_entries, read_environment
from wavelet.kinds.conda.model.package_request import PackageRequest
from wavelet.kinds.conda.model.specs import SPEC_LIMIT, normal_spec, without_login

ENTRIES_LIMIT = 1000
"""Entries of one request."""

CHANNELS_LIMIT = 100
"""Channels of one request."""

_TEMPLATE_V1 = "conda/micromamba:v1"
_TEMPLATES = (_TEMPLATE_V1, "conda/micromamba:v2", "conda/pixi:v1", "cran/installr:v1")
_SPELLINGS = {re.sub(r"[/:-]", " ", name): name for name in _TEMPLATES}
_MICROMAMBA = re.compile(r"(?:(?:index\.)?docker\.io/)?mambaorg/micromamba(?:[:@].*)?")
_CLIENTS_BASE_IMAGE = "ubuntu:24.04"
_CLIENTS_BASE_PACKAGES = "conda-forge::procps-ng"
_NOT_SERVED = {
    "CRAN": "this version of wavelet makes no images from CRAN; ask for type CONDA and the packages r-<name>",
    "SPACK": "this version of wavelet makes no images from Spack packages; ask for type CONDA",
}
COMMANDS = "this version of wavelet runs no container files, so no commands after the packages; leave them out"
"""Why there is no answer to a request with commands of its own."""


def read_packages(packages: PackagesValues, template: str) -> PackageRequest:
    """Say what a request's packages are. `template` is its `buildTemplate`.

    Raises:
        InvalidRequest: a member is wrong, missing or contradicts another; it is named.
        InvalidName: an image's name breaks the grammar.
        TooLarge: more than any environment has.
        NotServed: the request needs what this version does not have.
    """
    _check_type(packages.type)
    chosen = template_of(template)
    options = packages.conda_opts or CondaOptsValues()
    tool = "condaOpts"
    if chosen is not None and chosen.startswith("conda/pixi") and packages.pixi_opts is not None:
        options, tool = packages.pixi_opts, "pixiOpts"
    if options.commands:
        raise NotServed(f"packages.{tool}.commands: {COMMANDS}", field=f"packages.{tool}.commands")
    if len(packages.channels) > CHANNELS_LIMIT:
        raise TooLarge(f"packages.channels: more than {CHANNELS_LIMIT} channels", field="packages.channels")
    channels = read_channels(list(packages.channels), "packages.channels")
    environment, location = _environment(packages)
    return PackageRequest(
        environment,
        "packages.environment" if packages.environment else "packages.entries",
        channels,
        _base(options, chosen, f"packages.{tool}"),
        base_packages(options.base_packages, f"packages.{tool}.basePackages"),
        location,
        _as_of(packages.as_of, "packages.asOf") if packages.as_of else None,
    )


def _as_of(text: str, field: str) -> str:
    """Return a time in the one form that plans have, in UTC and to the second; of a date its first moment."""
    try:
        when = datetime.datetime.fromisoformat(text)
        when = when if when.tzinfo else when.replace(tzinfo=datetime.UTC)
        return when.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        message = f"{field}: {text[:60]!r} is not a date or a time, 2026-01-31 or 2026-01-31T12:30:00Z"
        raise InvalidRequest(message, field=field) from None


def _check_type(kind: str) -> None:
    if not kind:
        raise InvalidRequest("packages.type: is missing; CONDA is one", field="packages.type")
    if kind in _NOT_SERVED:
        raise NotServed(f"packages.type: {_NOT_SERVED[kind]}", field="packages.type")
    if kind != "CONDA":
        raise InvalidRequest(f"packages.type: {kind[:80]!r} is not one of CONDA, CRAN", field="packages.type")


def template_of(text: str) -> str | None:
    """Return the name of a build template for packages; None where none is asked for.

    Raises:
        InvalidRequest: there is none of that name.
    """
    if not text:
        return None
    found = _SPELLINGS.get(re.sub(r"[/:-]", " ", text))
    if found is None or not found.startswith("conda/"):
        names = ", ".join(name for name in _TEMPLATES if name.startswith("conda/"))
        message = f"buildTemplate: {text[:80]!r} is not one of {names}"
        raise InvalidRequest(message, field="buildTemplate")
    return found


def _environment(packages: PackagesValues) -> tuple[Environment, str]:
    """Return what is asked for, or the location of a lock file that says it."""
    if packages.environment and packages.entries:
        message = "packages.entries: cannot be given together with packages.environment; leave out one of them"
        raise InvalidRequest(message, field="packages.entries")
    if packages.environment:
        return read_environment(packages.environment.read(), "packages.environment"), ""
    if not packages.entries:
        message = "packages.entries: nothing to install; give packages.entries or packages.environment"
        raise InvalidRequest(message, field="packages.entries")
    if len(packages.entries) > ENTRIES_LIMIT:
        raise TooLarge(f"packages.entries: more than {ENTRIES_LIMIT} entries", field="packages.entries")
    return of_entries([(f"packages.entries[{index}]", entry) for index, entry in enumerate(packages.entries)])


def of_entries(entries: list[tuple[str, str]]) -> tuple[Environment, str]:
    """Return what entries ask for, each given with its place; or the location of a lock file that is the only one.

    Raises:
        InvalidRequest: an entry is none, or a lock file is not the only one.
    """
    places = [(field, text.strip()) for field, text in entries if is_lock_file(text.strip())]
    if not places:
        return read_entries(entries), ""
    field, location = places[0]
    if len(entries) > 1:
        message = f"{field}: a lock file says all that is installed; leave out the other entries"
        raise InvalidRequest(message, field=field)
    if len(location) > SPEC_LIMIT or not location.isascii() or not location.isprintable() or " " in location:
        raise InvalidRequest(f"{field}: is not a URL of up to {SPEC_LIMIT} characters", field=field)
    refuse_foreign_name(location, field)
    if without_login(location) != location:
        raise InvalidRequest(f"{field}: the URL carries a login; give one without", field=field)
    return Environment(), location


def is_lock_file(entry: str) -> bool:
    """Tell whether an entry is the URL of a lock file, and not that of a package or a wheel."""
    url = (entry.split() or [""])[0].partition("#")[0]
    return (
        url.startswith(("http://", "https://")) and "::" not in url and not url.endswith((".conda", ".tar.bz2", ".whl"))
    )


def _base(options: CondaOptsValues, template: str | None, field: str) -> Reference | None:
    if template == _TEMPLATE_V1:
        return base_of_tool(options.mamba_image, f"{field}.mambaImage")
    if not options.base_image or options.base_image == _CLIENTS_BASE_IMAGE:
        return None
    return Reference.parse(options.base_image, f"{field}.baseImage")


def base_of_tool(image: str, field: str) -> Reference | None:
    """Return the image that packages are added to where it has to hold the tool; None for one of micromamba's own.

    Raises:
        InvalidName: it is no image's name.
    """
    return None if not image or is_clients_tool(image) else Reference.parse(image, field)


def is_clients_tool(image: str) -> bool:
    """Tell whether an image is micromamba's own, which clients name unasked."""
    return _MICROMAMBA.fullmatch(image) is not None


def base_packages(text: str | None, field: str) -> tuple[str, ...] | None:
    """Return the specs that are added to all others; None where nobody has chosen them.

    Raises:
        InvalidRequest: one is no spec.
    """
    if text is None or text.strip() == _CLIENTS_BASE_PACKAGES:
        return None
    return tuple(sorted({normal_spec(part, field) for part in text.split()}))
