"""Rules that a type cannot say: forms of addresses and sizes, and values that depend on each other."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator

from msgspec import Struct, structs

from wavelet.config.settings import Credential, Settings
from wavelet.config.values import HIGHEST_UID, ConfigError, is_loopback, parse_size, split_address

SOCKET_PATH_LIMIT = 107
"""Bytes of a unix socket's path (`sun_path` in unix(7), without its last NUL)."""

_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::\d{1,5})?")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+")


def check(settings: Settings) -> None:
    """Return if the values can be used together.

    Raises:
        ConfigError: with the key as `field`.
    """
    for rule in _RULES:
        rule(settings)


def _finite(settings: Settings) -> None:
    for key, value in _numbers(settings, ""):
        if not math.isfinite(value):
            raise ConfigError(f"{key}: has to be a finite number", field=key)


def _numbers(section: Struct, prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in structs.asdict(section).items():
        if isinstance(value, Struct):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, float):
            yield prefix + name, value


def _listeners(settings: Settings) -> None:
    if not is_loopback(settings.listen, "listen") and not settings.allow_remote:
        message = (
            f"listen: other machines reach {settings.listen}, which has no TLS and asks for no login; listen on a"
            " loopback address, or say `allow_remote: true` if whoever reaches it may read what wavelet can"
        )
        raise ConfigError(message, field="listen")
    if settings.tls is None:
        return
    split_address(settings.tls.listen, "tls.listen")
    if settings.tls.listen == settings.listen and split_address(settings.listen, "listen")[1]:
        raise ConfigError("tls.listen: is the address of `listen`; each needs its own port", field="tls.listen")
    for key in ("certificate", "key"):
        if not getattr(settings.tls, key):
            raise ConfigError(f"tls.{key}: names no file", field=f"tls.{key}")


def _grpc(settings: Settings) -> None:
    for key in ("socket", "admin_socket"):
        path = getattr(settings.grpc, key)
        if path and not path.startswith("/"):
            raise ConfigError(f"grpc.{key}: {path!r} is not an absolute path", field=f"grpc.{key}")
        if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
            message = f"grpc.{key}: has more than {SOCKET_PATH_LIMIT} bytes, which no unix socket's path may have"
            raise ConfigError(message, field=f"grpc.{key}")
    if settings.grpc.socket and settings.grpc.socket == settings.grpc.admin_socket:
        raise ConfigError("grpc.admin_socket: is the path of `grpc.socket`", field="grpc.admin_socket")
    tls = settings.grpc.tls
    if tls is None:
        return
    split_address(tls.listen, "grpc.tls.listen")
    for key in ("certificate", "key", "client_ca"):
        if not getattr(tls, key):
            raise ConfigError(f"grpc.tls.{key}: names no file", field=f"grpc.tls.{key}")


def _sif(settings: Settings) -> None:
    directory = settings.sif.directory
    if directory and not directory.startswith("/"):
        message = f"sif.directory: {directory!r} is not an absolute path, as it has to be the same on every node"
        raise ConfigError(message, field="sif.directory")


def _names(settings: Settings) -> None:
    if settings.authority and not _AUTHORITY.fullmatch(settings.authority):
        message = f"authority: {settings.authority!r} is not HOST:PORT as it stands in image names"
        raise ConfigError(message, field="authority")
    for host in settings.hosts:
        if not _HOST.fullmatch(host):
            raise ConfigError(f"hosts: {host!r} is not a host name", field="hosts")


def _uids(settings: Settings) -> None:
    named = {"engine_uids": settings.engine_uids}
    if settings.grpc.tls is not None and settings.grpc.tls.uid is not None:
        named["grpc.tls.uid"] = (settings.grpc.tls.uid,)
    for number, each in enumerate(settings.upstream.credentials):
        named[f"upstream.credentials[{number}].users"] = each.users
    for key, uids in named.items():
        for uid in uids:
            if not 0 <= uid <= HIGHEST_UID:
                raise ConfigError(f"{key}: a uid is a number from 0 to {HIGHEST_UID}, not {uid}", field=key)


def _sizes(settings: Settings) -> None:
    compressed = parse_size(settings.upstream.layer_limit, "upstream.layer_limit")
    inflated = parse_size(settings.upstream.inflated_limit, "upstream.inflated_limit")
    parse_size(settings.conda.package_limit, "conda.package_limit")
    parse_size(settings.conda.scripts.memory, "conda.scripts.memory")
    parse_size(settings.conda.scripts.disk, "conda.scripts.disk")
    if settings.store.limit:
        parse_size(settings.store.limit, "store.limit")
    if settings.hosted.limit:
        parse_size(settings.hosted.limit, "hosted.limit")
    parse_size(settings.sif.limit, "sif.limit")
    if inflated < compressed:
        message = "upstream.inflated_limit: is less than upstream.layer_limit, and layers grow when they are inflated"
        raise ConfigError(message, field="upstream.inflated_limit")


def _logins(settings: Settings) -> None:
    for number, each in enumerate(settings.upstream.credentials):
        if why := _why_no_login(each):
            key = f"upstream.credentials[{number}]"
            raise ConfigError(f"{key}: {why}", field=key)


def _why_no_login(credential: Credential) -> str:
    if not credential.registry:
        return "names no registry"
    if bool(credential.helper) == bool(credential.password_file):
        return "needs either `password_file` or `helper`"
    if "/" in credential.helper:
        return "`helper` is NAME of docker-credential-NAME, not a path"
    return ""


_RULES: tuple[Callable[[Settings], None], ...] = (_finite, _listeners, _grpc, _sif, _names, _uids, _sizes, _logins)
