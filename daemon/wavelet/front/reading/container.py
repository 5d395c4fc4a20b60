"""The plan of a container request, made of its values. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from wavelet.errors import InvalidRequest, NotServed, TooLarge
from wavelet.front.reading.checks import Refusal, check, notes_on
from wavelet.front.reading.conda_container_file import recognised
from wavelet.front.reading.layers import read_layers
from wavelet.front.reading.options import named
from wavelet.front.reading.packages import read_packages
from wavelet.front.reading.values import ConfigValues, ContainerValues
from wavelet.image.config import merge_env
from wavelet.image.digest import Digest
from wavelet.image.platform import DEFAULT_PLATFORM, Platform
from wavelet.image.reference import Reference
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.model.package_request import CondaDefaults, PackageRequest
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.description import ContainerConfig
from wavelet.plan.node import Node
from wavelet.requests.request import About

Api = Literal["v1", "v1alpha2", "grpc"]
"""`POST /container-token`, `POST /v1alpha2/container`, and `ContainerService/Resolve`."""

TEXT_LIMIT = 256 * 1024
"""Characters of environment and commands together; a process gets a few megabytes at the most, records stay small."""

SHOWN_LIMIT = 64
"""Characters of a member that is only kept to be shown again."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What a request asks for.

    Attributes:
        plan: the image.
        image: the source image, normalised, as it was asked for; of packages, what the plan is called.
        inline: the bytes of the plan's inline layers.
        dry_run: whether only the name is wanted.
        notes: what is asked for and has no effect here, or another one than it says.
    """

    plan: Node
    image: str
    inline: Mapping[Digest, bytes]
    dry_run: bool
    notes: tuple[str, ...] = ()


def read_container(values: ContainerValues, site: CondaDefaults, refusals: Iterable[Refusal] = ()) -> Submission:
    """Return what a request asks for.

    Args:
        values: the request.
        site: what packages get that the request does not say.
        refusals: what only its door knows to be wrong.

    Raises:
        InvalidRequest: a member is wrong or contradicts another; it is named.
        InvalidName: an image's name breaks the grammar.
        DigestMismatch: an inline layer is not what the request says it is.
        TooLarge: a member, or the inline layers together.
        NotServed: the request needs what this version does not have.
    """
    check(values, refusals)
    asked = _asked(values)
    reference = None if asked is not None else Reference.parse(values.image, "containerImage")
    platforms = tuple(dict.fromkeys(Platform.parse(text, field) for text, field in values.platforms))
    platforms = platforms or (DEFAULT_PLATFORM,)
    config, inline = _config(values.config)
    texts = enumerate(values.includes)
    includes = [_fixed(Reference.parse(text, f"containerIncludes[{index}]")) for index, text in texts]
    notes = notes_on(values)
    if asked is None:
        assert reference is not None
        plan = _of_image(_fixed(reference), platforms, config, includes)
        return Submission(plan, str(reference), inline, values.dry_run, notes)
    notes += tuple(f"{named(asked.field)}: {note}" for note in asked.environment.notes)
    config = replace(config, env=tuple(merge_env([*asked.environment.variables, *config.env])))
    plan = _plan(lambda platform: asked.plan(platform, site), platforms, config, includes)
    return Submission(plan, plan.label.text, inline, values.dry_run, notes)


def named_in(values: ContainerValues) -> str:
    """Return in a few words what a request asks for, right or wrong."""
    if values.packages is not None:
        return " ".join(values.packages.entries) or "packages"
    return values.image or ("a container file" if values.container_file is not None else "")


def about_of(values: ContainerValues, api: Api, image: str, address: str, notes: tuple[str, ...] = ()) -> About:
    """Return what is kept of a request to be shown again; `address` is the client's."""
    return About(
        api=api,
        image=image,
        fingerprint=values.fingerprint[:SHOWN_LIMIT] or None,
        timestamp=values.timestamp[:SHOWN_LIMIT] or None,
        address=address,
        notes=notes,
    )


def _asked(values: ContainerValues) -> PackageRequest | None:
    """Return the packages that a request asks for; None where it asks for an image."""
    if values.packages is not None:
        return read_packages(values.packages, values.build_template)
    if values.container_file is None:
        return None
    conda_file = None if values.conda_file is None else values.conda_file.read()
    asked = recognised(values.container_file.read(), conda_file)
    if asked is None:
        message = "containerFile: this version of wavelet runs no container files; name an image, or packages of conda"
        raise NotServed(message, field="containerFile")
    return asked


def _of_image(
    image: Reference, platforms: tuple[Platform, ...], config: ContainerConfig, includes: list[Reference]
) -> Node:
    if image.digest is not None and len(platforms) == 1 and not config and not includes:
        # What a digest names is answered as it is, an index too: engines compare the digest with the bytes.
        return RegistryImage(image)
    return _plan(lambda platform: RegistryImage(image, platform), platforms, config, includes)


def _plan(
    base_for: Callable[[Platform], Node],
    platforms: tuple[Platform, ...],
    config: ContainerConfig,
    includes: list[Reference],
) -> Node:
    def member(platform: Platform) -> Node | AugmentedImage:
        base = base_for(platform)
        if not config and not includes:
            return base
        return AugmentedImage(base, config, tuple(RegistryImage(include, platform) for include in includes))

    if len(platforms) > 1:
        return ImageIndex(tuple((platform, member(platform)) for platform in sorted(platforms)))
    return member(platforms[0])


def _fixed(reference: Reference) -> Reference:
    return reference if reference.digest is None else reference.at(reference.digest)


def _config(asked: ConfigValues) -> tuple[ContainerConfig, dict[Digest, bytes]]:
    for member, texts in (("entrypoint", asked.entrypoint), ("cmd", asked.cmd), ("env", asked.env)):
        _without_nul(texts, f"containerConfig.{member}")
    _without_nul([asked.working_dir], "containerConfig.workingDir")
    length = sum(map(len, (*asked.entrypoint, *asked.cmd, *asked.env, asked.working_dir)))
    if length > TEXT_LIMIT:
        message = f"containerConfig: {length} characters of environment and commands; {TEXT_LIMIT} are the most"
        raise TooLarge(message, field="containerConfig")
    for index, entry in enumerate(asked.env):
        if not entry.partition("=")[0]:
            field = f"containerConfig.env[{index}]"
            raise InvalidRequest(f"{field}: {entry!r} has no name; it takes NAME=VALUE", field=field)
    if asked.working_dir and not asked.working_dir.startswith("/"):
        field = "containerConfig.workingDir"
        message = f"{field}: {asked.working_dir[:200]!r} is not an absolute path; container engines refuse any other"
        raise InvalidRequest(message, field=field)
    layers, inline = read_layers(asked.layers, "containerConfig.layers")
    config = ContainerConfig(
        tuple(asked.entrypoint),
        tuple(asked.cmd),
        tuple(merge_env(asked.env)),
        asked.working_dir,
        layers,
    )
    return config, inline


def _without_nul(texts: Iterable[str], field: str) -> None:
    if any("\0" in text for text in texts):
        raise InvalidRequest(f"{field}: holds a NUL character, which no process can be given", field=field)
