"""The description of what is asked for, in the words of requests: doors answer with it when somebody looks at one."""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.image.platform import Platform
from wavelet.plan.layers import Layer


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """What an augmentation sets; empty members leave the image's own."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    layers: tuple[Layer, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether it changes anything: all members null or empty counts as no configuration at all."""
        return self != _NOTHING


_NOTHING = ContainerConfig()


@dataclass(frozen=True, slots=True)
class AskedPackages:
    """Packages that are asked for.

    Attributes:
        channels: names or URLs without logins, the first one having priority.
        entries: match specs, or the URL of a lock file; empty where these do not say all.
        environment: all of it as an environment file shows it.
        base: the image under the packages.
        as_of: only packages uploaded before this time, RFC 3339 in UTC; empty: no such time.
    """

    channels: tuple[str, ...]
    entries: tuple[str, ...]
    environment: str
    base: str
    as_of: str = ""


@dataclass(frozen=True, slots=True)
class Description:
    """See the module.

    Attributes:
        title: what people call it: an image's reference, or path and tag of its label.
        image: the reference of an image of a registry, as it was asked for; empty: there is none such.
        packages: what is asked for instead.
        config: what is set in the image.
        includes: references of images whose layers are put on top.
        platforms: for which it is asked; none: whatever there is.
        is_built: whether something is built for it; else it is there already, but for what is put on top.
    """

    title: str = ""
    image: str = ""
    packages: AskedPackages | None = None
    config: ContainerConfig | None = None
    includes: tuple[str, ...] = ()
    platforms: tuple[Platform, ...] = ()
    is_built: bool = True
