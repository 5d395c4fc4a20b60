"""The settings of images of conda packages."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from wavelet.config.section import LIVE, Section


class Scripts(Section, frozen=True):
    """What the post-link scripts of an environment may take. They run in its image, without a network."""

    processes: Annotated[int, Meta(description="processes and threads at a time", ge=16), LIVE] = 1024
    memory: Annotated[str | int, Meta(description="bytes of memory of all of them"), LIVE] = "8GB"
    disk: Annotated[str | int, Meta(description="bytes that all of them write"), LIVE] = "4GB"
    seconds: Annotated[float, Meta(description="seconds that one script may take", gt=0), LIVE] = 900


class Conda(Section, frozen=True):
    """Images of conda packages. Logins and further mirrors come from the daemon user's own conda and rattler files."""

    base_image: Annotated[str, Meta(description="the image under the packages of a request that names none"), LIVE] = (
        "docker.io/library/ubuntu:24.04"
    )
    base_packages: Annotated[
        tuple[str, ...], Meta(description="specs that are added where the request does not say what to add"), LIVE
    ] = ("conda-forge::procps-ng",)
    channels: Annotated[
        tuple[str, ...], Meta(description="channels of a request that names none, the first with priority"), LIVE
    ] = ("conda-forge", "bioconda")
    channel_alias: Annotated[
        str,
        Meta(description="where a channel is that is named without a URL; empty: as .condarc says, or conda's own"),
        LIVE,
    ] = ""
    allowed_channels: Annotated[
        tuple[str, ...],
        Meta(
            description="channels (names, URLs, prefixes of URLs with a * at the end) that may be used; empty: all"
            " servers, and directories where nobody but the daemon's user can ask"
        ),
        LIVE,
    ] = ()
    allowed_indexes: Annotated[
        tuple[str, ...],
        Meta(description="hosts that wheels may come from; empty: those of the configured indexes"),
        LIVE,
    ] = ()
    defaults: Annotated[
        bool,
        Meta(description="whether the channel `defaults` is used where it is named; its terms are not free for all"),
        LIVE,
    ] = False
    mirrors: Annotated[
        dict[str, tuple[str, ...]],
        Meta(description="URL prefixes of channels, and the URLs to ask instead, in order"),
        LIVE,
    ] = field(default_factory=dict)
    repodata_ttl: Annotated[
        float, Meta(description="seconds for which a channel's index is not asked for again", ge=0), LIVE
    ] = 300
    renew_names: Annotated[
        float, Meta(description="seconds after which an image that is named by its specs is solved anew", gt=0), LIVE
    ] = 7 * 86400
    solve_limit: Annotated[float, Meta(description="seconds after which a solve gives up", gt=0), LIVE] = 120
    package_limit: Annotated[str | int, Meta(description="most bytes that one package may inflate to"), LIVE] = "32GB"
    layers: Annotated[
        Literal["many", "few"],
        Meta(
            description="layers of an image: `many`, one for each large package, which all images share that have it;"
            " `few`, at most four, which Docker 20.10 pulls faster the first time"
        ),
        LIVE,
    ] = "many"
    workers: Annotated[int, Meta(description="processes that make layers; 0: one per CPU", ge=0)] = 0
    engine: Annotated[
        Literal["auto", "docker", "podman", "namespace", "none"],
        Meta(description="what runs post-link scripts; `auto`: the first that works; `none`: they are refused"),
        LIVE,
    ] = "auto"
    scripts: Annotated[Scripts, Meta(description="what post-link scripts may take")] = field(default_factory=Scripts)
