"""Packages as they are asked for, whatever the way, become one plan: `FromConda`. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wavelet.image.platform import DEFAULT_PLATFORM, Platform
from wavelet.image.reference import Reference
from wavelet.plan.conda import FromConda
from wavelet.plan.environment import Environment
from wavelet.plan.locks import Locked
from wavelet.plan.source import FromRegistry
from wavelet.plan.specs import channel_of, name_of, normal_channel, normal_spec

DEFAULTS = "defaults"
"""The channel of Anaconda, whose terms are not free for all; Nextflow up to 23.10 adds it to every request."""

_PIP = "pip"


@dataclass(frozen=True, slots=True)
class CondaDefaults:
    """What a site gives to requests that do not say it.

    Attributes:
        base_image: the image under the packages.
        base_packages: specs that are added, in normal form.
        channels: the first one having priority.
        use_defaults: whether the channel `defaults` is used where it is named.
        platform: of this machine, for names that do not say one.
    """

    base_image: Reference
    base_packages: tuple[str, ...]
    channels: tuple[str, ...]
    use_defaults: bool = False
    platform: Platform = DEFAULT_PLATFORM

    @classmethod
    def of(
        cls,
        base_image: str,
        base_packages: tuple[str, ...],
        channels: tuple[str, ...],
        *,
        use_defaults: bool,
        platform: Platform,
    ) -> CondaDefaults:
        """Return a site's settings as values.

        Raises:
            InvalidName: the base image is none.
            InvalidRequest: a spec or channel is none.
        """
        return cls(
            Reference.parse(base_image, "conda.base_image"),
            tuple(normal_spec(text, "conda.base_packages") for text in base_packages),
            tuple(dict.fromkeys(normal_channel(text, "conda.channels") for text in channels)),
            use_defaults,
            platform,
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """What one request says of packages.

    Attributes:
        environment: specs, requirements, and what a lock names.
        field: the request's member that has them, for errors.
        channels: those of the request, behind the environment's own.
        no_defaults: whether `nodefaults` was among them.
        base: the image under the packages; None for the site's.
        base_packages: specs that are added; None for the site's.
        lock_location: the URL of a lock file.
        as_of: only packages uploaded before this time.
        renewed: whether the lock is renewed by age.
    """

    environment: Environment
    field: str
    channels: tuple[str, ...] = ()
    no_defaults: bool = False
    base: Reference | None = None
    base_packages: tuple[str, ...] | None = None
    lock_location: str = ""
    as_of: str | None = None
    renewed: bool = False

    def plan(self, platform: Platform, site: CondaDefaults) -> FromConda:
        """Return the plan for a platform.

        Raises:
            InvalidRequest: a lock names nothing for the platform.
            NotServed: no images of conda packages are made for it.
        """
        locked = self.environment.locked_for(platform, self.field)
        base = self.base or site.base_image
        if base.digest is not None:
            base = base.at(base.digest)
        added = site.base_packages if self.base_packages is None else self.base_packages
        plan = FromConda(
            specs=added,
            channels=_without_defaults(self.channels, use=site.use_defaults and not self.no_defaults),
            platform=platform,
            base=FromRegistry(base, platform),
            as_of=self.as_of,
            lock_location=self.lock_location,
            renewed=self.renewed,
        )
        return _with(plan, self.environment, locked, site)


def notes_on(asked: Asked, site: CondaDefaults) -> tuple[str, ...]:
    """Return what the one who asks should know: sentences."""
    named = DEFAULTS in (*asked.channels, *asked.environment.channels)
    refused = asked.no_defaults or asked.environment.no_defaults
    if not named or site.use_defaults or refused:
        return ()
    return ("the channel `defaults` is left out: its terms are not free for all; the setting conda.defaults allows it",)


def with_lock_file(plan: FromConda, environment: Environment, site: CondaDefaults) -> FromConda:
    """Return the plan with what the text at its `lock_location` asks for, which is then read.

    Raises:
        InvalidRequest: a lock names nothing for the platform.
    """
    locked = environment.locked_for(plan.platform, plan.lock_location)
    return replace(_with(plan, environment, locked, site), lock_location="")


def _with(plan: FromConda, environment: Environment, locked: Locked, site: CondaDefaults) -> FromConda:
    """Return the plan, which has the specs that are added, with an environment's own in front of them."""
    named = {name_of(spec) for spec in environment.specs} | {package.name for package in locked.packages}
    specs = {spec for spec in plan.specs if name_of(spec) not in named} | set(environment.specs)
    if environment.pip and _PIP not in named:
        specs.add(_PIP)
    use_defaults = site.use_defaults and not environment.no_defaults
    channels = (*_without_defaults(environment.channels, use=use_defaults), *plan.channels)
    ordered = tuple(sorted(specs))
    return replace(
        plan,
        specs=ordered,
        channels=_with_those_of(ordered, channels or site.channels),
        pip=tuple(sorted({*plan.pip, *environment.pip})),
        locked=locked.packages,
        wheels=locked.wheels,
    )


def _without_defaults(channels: tuple[str, ...], *, use: bool) -> tuple[str, ...]:
    return channels if use else tuple(channel for channel in channels if channel != DEFAULTS)


def _with_those_of(specs: tuple[str, ...], channels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the channels, and behind them those that only a spec names: the solver looks into no others."""
    known = dict.fromkeys(channels)
    for channel in filter(None, map(channel_of, specs)):
        if not any(name == channel or name.endswith(f"/{channel}") for name in known):
            known[channel] = None
    return tuple(known)
