"""The requests of both clients: each function is the signature of their method of that name, and its documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from wavelet.v1 import cache_pb2, conda_pb2, containers_pb2, daemon_pb2, images_pb2, packs_pb2, rules_pb2


def resolve(
    request: containers_pb2.ResolveRequest | None = None,
    *,
    container_image: str | None = None,
    container_file: str | None = None,
    packages: containers_pb2.Packages | Iterable[str] | None = None,
    name: str | None = None,
    conda_file: str = "",
    platforms: Iterable[str] = (),
    container_config: containers_pb2.ContainerConfig | None = None,
    container_includes: Iterable[str] = (),
    packs: Iterable[str] = (),
    labels: Mapping[str, str] | None = None,
    auth: containers_pb2.AuthConfig | None = None,
    dry_run: bool = False,
    refresh: bool = False,
    wait: float | None = None,
) -> containers_pb2.ResolveRequest:
    """Name a container and start to make it.

    Args:
        request: a request to start from, which has members without a keyword here too; the keywords are merged into it
            as protobuf merges messages: lists are joined, all else replaced.
        container_image: what it is made of: a reference of a registry.
        container_file: or the text of a container file that installs conda packages.
        packages: or match specs; or the message, which has channels and options too.
        name: or a name as engines would pull it, without the authority, e.g. `conda/samtools:1.17`.
        conda_file: the text of the environment file that `container_file` installs.
        platforms: e.g. `linux/amd64`, which is also the default; several make an index.
        container_config: what is added to the image.
        container_includes: references of images whose layers are added, in order.
        packs: packs of the daemon's node that are added, `<name>` or `<name>@<version>`, the first one lowest.
        labels: by which the site's rules tell requests apart; they are no part of the image, nor of its name.
        auth: a login for the upstream registry.
        dry_run: only the name is wanted; nothing is made.
        refresh: packages are solved for anew.
        wait: seconds that the answer may wait until everything is fixed; None: 2 s.

    Raises:
        ValueError: more than one of the four sources is given.
    """
    made = containers_pb2.ResolveRequest()
    if request is not None:
        made.CopyFrom(request)
    made.MergeFrom(_source(container_image, container_file, packages, name))
    made.MergeFrom(
        containers_pb2.ResolveRequest(
            conda_file=conda_file,
            platforms=_list(platforms),
            container_config=container_config,
            container_includes=_list(container_includes),
            packs=_list(packs),
            labels=labels,
            auth=auth,
            dry_run=dry_run,
            refresh=refresh,
            wait=_duration(wait),
        )
    )
    return made


def watch(token: str) -> containers_pb2.WatchRequest:
    """Yield how the work for a container goes, from its start; the last event is `ready`.

    Ending the iteration early ends the work too, if nobody else has asked for it.
    """
    return containers_pb2.WatchRequest(token=token)


def describe(token: str) -> containers_pb2.DescribeRequest:
    """Return what a token stands for."""
    return containers_pb2.DescribeRequest(token=token)


def evict_token(token: str) -> containers_pb2.EvictRequest:
    """Forget a token: its name is no longer served."""
    return containers_pb2.EvictRequest(token=token)


def log(token: str) -> containers_pb2.LogRequest:
    """Return the log of what is, or was, made for a token."""
    return containers_pb2.LogRequest(token=token)


def list_requests(*, limit: int = 0) -> containers_pb2.ListRequestsRequest:
    """Return what was asked of the daemon, the latest first: the caller's own requests, everybody's for administrators.

    Args:
        limit: how many at the most; 0: 50.
    """
    return containers_pb2.ListRequestsRequest(limit=limit)


def inspect(
    image: str, *, platform: str = "", auth: containers_pb2.AuthConfig | None = None
) -> images_pb2.InspectRequest:
    """Return an image's documents as its registry has them.

    Args:
        image: a reference of a registry, or a name that the daemon serves.
        platform: which one of an index, e.g. `linux/amd64`; empty: the index itself.
        auth: a login for its registry.
    """
    return images_pb2.InspectRequest(image=image, platform=platform, auth=auth)


def prefetch(
    images: Iterable[str],
    *,
    platforms: Iterable[str] = (),
    target: images_pb2.PrefetchTarget.ValueType = images_pb2.PREFETCH_TARGET_STORE,
    engine_address: str = "",
    concurrency: int = 0,
    auth: containers_pb2.AuthConfig | None = None,
    lease: float | None = None,
) -> images_pb2.PrefetchRequest:
    """Take images into the store, or on into an engine, and yield how far each one is.

    An image that fails has an `error` in its last event, and does not stop the others.

    Args:
        images: references, or names that the daemon serves.
        platforms: which ones of an index; none: linux/amd64.
        target: the daemon's store, Docker or podman.
        engine_address: the engine's socket; empty: its usual place.
        concurrency: images at one time; 0: 3.
        auth: a login for their registry.
        lease: seconds for which they are safe from eviction; None: the daemon's usual lease.
    """
    return images_pb2.PrefetchRequest(
        images=_list(images),
        platforms=_list(platforms),
        target=target,
        engine_address=engine_address,
        concurrency=concurrency,
        auth=auth,
        lease=_duration(lease),
    )


def mirror(
    images: Iterable[str],
    *,
    target: str,
    dry_run: bool = False,
    concurrency: int = 0,
    auth: containers_pb2.AuthConfig | None = None,
) -> images_pb2.MirrorRequest:
    """Copy images to a registry as they are, and yield how far each one is; what is there already is not sent.

    An image that fails has an `error` in its last event, and does not stop the others.

    Args:
        images: references, or names that the daemon serves.
        target: the registry, and what their paths there begin with.
        dry_run: nothing is sent; what would be is said.
        concurrency: images at one time; 0: 3.
        auth: a login for the registry that it names, else for that of the images.
    """
    return images_pb2.MirrorRequest(
        images=_list(images), target=target, dry_run=dry_run, concurrency=concurrency, auth=auth
    )


def solve(
    packages: containers_pb2.Packages | Iterable[str], *, platform: str = "", refresh: bool = False
) -> conda_pb2.SolveRequest:
    """Solve for packages, or return the solution that was settled before.

    Args:
        packages: match specs; or the message, which has channels and options too.
        platform: e.g. `linux/arm64`; empty: linux/amd64.
        refresh: solve anew.
    """
    return conda_pb2.SolveRequest(packages=_packages(packages), platform=platform, refresh=refresh)


def lock(
    *,
    token: str | None = None,
    packages: containers_pb2.Packages | Iterable[str] | None = None,
    format: conda_pb2.LockFormat.ValueType = conda_pb2.LOCK_FORMAT_EXPLICIT,  # noqa: A002 - the member's name
    platform: str = "",
    refresh: bool = False,
) -> conda_pb2.LockRequest:
    """Return the exact packages as a lock file.

    Args:
        token: those of a container request;
        packages: or these, solved for if need be.
        format: the form of the file.
        platform: e.g. `linux/arm64`; empty: the request's first one, else linux/amd64.
        refresh: solve anew.

    Raises:
        ValueError: not exactly one of `token` and `packages` is given.
    """
    if (token is None) == (packages is None):
        raise ValueError("one of token and packages has to be given")
    made = conda_pb2.LockRequest(format=format, platform=platform, refresh=refresh)
    if token is not None:
        made.token = token
    if packages is not None:
        made.packages.CopyFrom(_packages(packages))
    return made


def list_rules() -> rules_pb2.ListRulesRequest:
    """Return the rules of the site that are in force, and what is wrong with their files, if something is."""
    return rules_pb2.ListRulesRequest()


def explain_rules(
    request: containers_pb2.ResolveRequest, *, uid: int | None = None, door: str = ""
) -> rules_pb2.ExplainRulesRequest:
    """Return what the rules of the site would make of a request; nothing is made.

    Args:
        request: as `resolve` takes it.
        uid: for whom, which others than the caller administrators may ask for; None: the caller.
        door: by which it would be asked for: `wave`, `grpc`, `registry`, `sif` or `inspect`; empty: `registry` for a
            name, else `wave`.
    """
    return rules_pb2.ExplainRulesRequest(request=request, uid=uid, door=door)


def list_packs() -> packs_pb2.ListPacksRequest:
    """Return the packs of the daemon's node, also those that cannot be used, and why."""
    return packs_pb2.ListPacksRequest()


def get_pack(reference: str) -> packs_pb2.GetPackRequest:
    """Return one pack, by `<name>` or `<name>@<version>`."""
    return packs_pb2.GetPackRequest(reference=reference)


def cache_list(*, blobs: bool = False) -> cache_pb2.ListRequest:
    """Yield the images of the store, or its blobs; the last used first."""
    return cache_pb2.ListRequest(blobs=blobs)


def cache_stats() -> cache_pb2.StatsRequest:
    """Return how full the store is."""
    return cache_pb2.StatsRequest()


def pin(names: Iterable[str]) -> cache_pb2.PinRequest:
    """Keep images or blobs from eviction until they are unpinned."""
    return cache_pb2.PinRequest(names=_list(names))


def unpin(names: Iterable[str]) -> cache_pb2.UnpinRequest:
    """Let images or blobs be evicted again."""
    return cache_pb2.UnpinRequest(names=_list(names))


def collect(names: Iterable[str] = (), *, keep: int = 0) -> cache_pb2.CollectRequest:
    """Remove these images or blobs; without names, the least recently used ones until `keep` bytes are left."""
    return cache_pb2.CollectRequest(names=_list(names), keep=keep)


def status() -> daemon_pb2.StatusRequest:
    """Return what the daemon is and does."""
    return daemon_pb2.StatusRequest()


def settings() -> daemon_pb2.SettingsRequest:
    """Return the settings in force, as YAML without secrets."""
    return daemon_pb2.SettingsRequest()


def reload() -> daemon_pb2.ReloadRequest:
    """Let the daemon read its settings again."""
    return daemon_pb2.ReloadRequest()


def login(
    registry: str, username: str, secret: str, *, lifetime: float | None = None, unchecked: bool = False
) -> daemon_pb2.LoginRequest:
    """Hand a registry login to the daemon, which keeps it in memory for the caller alone.

    Args:
        registry: its host, or `host/path`.
        username: empty where the secret is an OAuth2 refresh token.
        secret: password, access token or refresh token.
        lifetime: seconds for which it is kept; None: 12 hours.
        unchecked: do not ask the registry first whether it takes the login.
    """
    return daemon_pb2.LoginRequest(
        registry=registry, username=username, secret=secret, lifetime=_duration(lifetime), unchecked=unchecked
    )


def logout(registry: str = "") -> daemon_pb2.LogoutRequest:
    """Take back the caller's login for a registry; without one, all of them."""
    return daemon_pb2.LogoutRequest(registry=registry)


def logins() -> daemon_pb2.ListLoginsRequest:
    """Return the caller's logins, without their secrets."""
    return daemon_pb2.ListLoginsRequest()


def _source(
    container_image: str | None,
    container_file: str | None,
    packages: containers_pb2.Packages | Iterable[str] | None,
    name: str | None,
) -> containers_pb2.ResolveRequest:
    """Return a request that has nothing but what the container is made of, as `resolve` takes it."""
    if sum(source is not None for source in (container_image, container_file, packages, name)) > 1:
        raise ValueError("one of container_image, container_file, packages and name can be given")
    if container_image is not None:
        return containers_pb2.ResolveRequest(container_image=container_image)
    if container_file is not None:
        return containers_pb2.ResolveRequest(container_file=container_file)
    if name is not None:
        return containers_pb2.ResolveRequest(name=name)
    return containers_pb2.ResolveRequest(packages=None if packages is None else _packages(packages))


def _packages(given: containers_pb2.Packages | Iterable[str]) -> containers_pb2.Packages:
    return given if isinstance(given, containers_pb2.Packages) else containers_pb2.Packages(entries=_list(given))


def _list(given: Iterable[str]) -> list[str]:
    """Return the members of a list; a string alone, which has letters for members, is a list of one."""
    return [given] if isinstance(given, str) else list(given)


def _duration(seconds: float | None) -> Duration | None:
    if seconds is None:
        return None
    made = Duration()
    made.FromTimedelta(timedelta(seconds=seconds))
    return made
