"""The settings: one YAML file, each key with its default and meaning; the environment overrides the file.

A key `a.b` is `WAVELET_A_B` in the environment (numbers, true and false as in YAML; lists and mappings as JSON).
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import shutil
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
import yaml
from msgspec import Meta, Struct, field

from wavelet.errors import InvalidRequest

ENV_PREFIX = "WAVELET_"
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B?|B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}


class ConfigError(InvalidRequest):
    """The settings cannot be used; the message names the file or variable and the key."""


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A group of settings. An unknown key is an error."""


class Tls(_Section, frozen=True):
    """A second listener that speaks TLS, for clients that know no plain http (Charliecloud)."""

    listen: Annotated[str, Meta(description="address and port of the TLS listener")]
    certificate: Annotated[str, Meta(description="PEM file with the certificate chain")]
    key: Annotated[str, Meta(description="PEM file with the private key")]


class Store(_Section, frozen=True):
    """The content store."""

    limit: Annotated[
        str | int,
        Meta(description="most bytes of blobs, e.g. 200GB; empty: the lesser of 50 GB and 20 % of the free space"),
    ] = ""
    lease: Annotated[float, Meta(description="seconds for which an answered image is safe from eviction", gt=0)] = 3600
    retention: Annotated[float, Meta(description="seconds for which a name keeps what it once answered", gt=0)] = 86400


class Records(_Section, frozen=True):
    """Where container requests are kept, so that a name means the same tomorrow and on another node."""

    directory: Annotated[
        str, Meta(description="directory shared by all nodes; empty: this node's own database in the state directory")
    ] = ""
    key_file: Annotated[str, Meta(description="the cluster's key (made at first use); empty: beside the records")] = ""
    lifetime: Annotated[float, Meta(description="seconds that a token lives after its last use", gt=0)] = 30 * 86400


class Registry(_Section, frozen=True):
    """One upstream registry."""

    mirrors: Annotated[tuple[str, ...], Meta(description="URLs to ask first, in order, e.g. http://cache:5000")] = ()
    plain_http: Annotated[bool, Meta(description="speak http with it (loopback needs no word)")] = False
    ca_file: Annotated[str, Meta(description="PEM file of the authority that signed its certificate")] = ""
    credentials: Annotated[
        Literal["when-refused", "always"],
        Meta(description="when to show credentials; `always` for registries that count anonymous pulls"),
    ] = "when-refused"
    concurrency: Annotated[int, Meta(description="transfers at one time, and as many other requests", ge=1)] = 16


class Alias(_Section, frozen=True):
    """Where to look for an image that is not found under its own name."""

    prefix: Annotated[str, Meta(description="registry and path prefix of the name that was not found")]
    instead: Annotated[str, Meta(description="what to put in its place")]


class Credential(_Section, frozen=True):
    """A login that the site gives wavelet."""

    registry: Annotated[str, Meta(description="host, or host/path prefix; the longest match wins")]
    username: Annotated[str, Meta(description="user name")] = ""
    password_file: Annotated[str, Meta(description="file that holds the password and nothing else")] = ""
    helper: Annotated[str, Meta(description="NAME of a docker-credential-NAME program to ask instead")] = ""
    users: Annotated[
        tuple[int, ...], Meta(description="uids it is for; empty: what it opens, all may read whom the listener admits")
    ] = ()


class Upstream(_Section, frozen=True):
    """How other servers are asked."""

    registries: Annotated[dict[str, Registry], Meta(description="settings of single registries, by host")] = field(
        default_factory=dict
    )
    aliases: Annotated[tuple[Alias, ...], Meta(description="second places to look, in order")] = (
        Alias(prefix="docker.io/biocontainers", instead="quay.io/biocontainers"),
    )
    credentials: Annotated[tuple[Credential, ...], Meta(description="the site's own logins")] = ()
    tag_ttl: Annotated[float, Meta(description="seconds for which a tag is not asked for again", ge=0)] = 300
    access_ttl: Annotated[
        float, Meta(description="seconds for which a granted access is not asked for again", ge=0)
    ] = 300
    grace: Annotated[
        float, Meta(description="seconds for which the last answer stands in for a registry that does not answer", ge=0)
    ] = 30 * 86400
    private_networks: Annotated[
        Literal["when-local", "always", "never"],
        Meta(
            description="whether URLs in requests may lead to private addresses; `when-local`: on a loopback listener"
        ),
    ] = "when-local"
    layer_limit: Annotated[str | int, Meta(description="most bytes of one layer that a request names")] = "2GB"
    inflated_limit: Annotated[str | int, Meta(description="most bytes that such a layer may inflate to")] = "4GB"


class Conda(_Section, frozen=True):
    """Images of conda packages. Logins and further mirrors come from the daemon user's own conda and rattler files."""

    base_image: Annotated[str, Meta(description="the image under the packages of a request that names none")] = (
        "docker.io/library/ubuntu:24.04"
    )
    base_packages: Annotated[
        tuple[str, ...], Meta(description="specs that are added where the request does not say what to add")
    ] = ("conda-forge::procps-ng",)
    channels: Annotated[
        tuple[str, ...], Meta(description="channels of a request that names none, the first with priority")
    ] = ("conda-forge", "bioconda")
    channel_alias: Annotated[
        str, Meta(description="where a channel is that is named without a URL; empty: as .condarc says, or conda's own")
    ] = ""
    allowed_channels: Annotated[
        tuple[str, ...],
        Meta(
            description="channels (names, URLs, prefixes of URLs with a * at the end) that may be used; empty: all"
            " servers, and directories where nobody but the daemon's user can ask"
        ),
    ] = ()
    allowed_indexes: Annotated[
        tuple[str, ...], Meta(description="hosts that wheels may come from; empty: those of the configured indexes")
    ] = ()
    defaults: Annotated[
        bool,
        Meta(description="whether the channel `defaults` is used where it is named; its terms are not free for all"),
    ] = False
    mirrors: Annotated[
        dict[str, tuple[str, ...]], Meta(description="URL prefixes of channels, and the URLs to ask instead, in order")
    ] = field(default_factory=dict)
    repodata_ttl: Annotated[
        float, Meta(description="seconds for which a channel's index is not asked for again", ge=0)
    ] = 300
    renew_names: Annotated[
        float, Meta(description="seconds after which an image that is named by its specs is solved anew", gt=0)
    ] = 7 * 86400
    solve_limit: Annotated[float, Meta(description="seconds after which a solve gives up", gt=0)] = 120
    package_limit: Annotated[str | int, Meta(description="most bytes that one package may inflate to")] = "32GB"
    workers: Annotated[int, Meta(description="processes that make layers; 0: one per CPU", ge=0)] = 0
    engine: Annotated[
        Literal["auto", "docker", "podman", "namespace", "none"],
        Meta(description="what runs post-link scripts; `auto`: the first that works; `none`: they are refused"),
    ] = "auto"


class Settings(_Section, frozen=True):
    """All settings."""

    listen: Annotated[str, Meta(description="address and port of the HTTP API and registry")] = "127.0.0.1:9090"
    authority: Annotated[
        str, Meta(description="host and port in image names, the same on all nodes; empty: the address of `listen`")
    ] = ""
    state: Annotated[
        str,
        Meta(description="node-local directory for content and records; empty: /var/lib/wavelet, or XDG's for a user"),
    ] = ""
    hosts: Annotated[
        tuple[str, ...], Meta(description="host names, besides its addresses, by which it may be called")
    ] = ()
    tls: Annotated[Tls | None, Meta(description="a second listener with TLS")] = None
    reserved_names: Annotated[
        bool, Meta(description="whether `wt/`, `conda/` and `sif/` are special; false for a mirror of Docker Hub only")
    ] = True
    engine_uids: Annotated[
        tuple[int, ...], Meta(description="uids, besides 0, under which container engines pull for their users")
    ] = ()
    log_format: Annotated[Literal["text", "json"], Meta(description="form of the log on standard error")] = "text"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="least level logged")] = "info"
    grace_period: Annotated[float, Meta(description="seconds that a stop waits for running transfers", ge=0)] = 30
    store: Annotated[Store, Meta(description="the content store")] = field(default_factory=Store)
    records: Annotated[Records, Meta(description="container requests")] = field(default_factory=Records)
    upstream: Annotated[Upstream, Meta(description="other servers")] = field(default_factory=Upstream)
    conda: Annotated[Conda, Meta(description="images of conda packages")] = field(default_factory=Conda)

    @property
    def name_authority(self) -> str:
        """Host and port as they stand in image names; where all addresses are listened on, that of this node itself."""
        host, port = split_address(self.listen, "listen")
        return self.authority or join_address("127.0.0.1" if host in ("0.0.0.0", "::") else host, port)  # noqa: S104

    @property
    def state_directory(self) -> Path:
        """The state directory, chosen where none is set."""
        if self.state:
            return Path(self.state).expanduser().absolute()
        if os.geteuid() == 0:
            return Path("/var/lib/wavelet")
        return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "wavelet"

    def store_limit(self, held: int, *, in_memory: bool) -> int:
        """Return the most bytes of blobs, where the store holds `held` already; less where the disk is memory."""
        if self.store.limit:
            return parse_size(self.store.limit, "store.limit")
        room = shutil.disk_usage(self.state_directory).free + held
        return min(50 * 1000**3, room // (20 if in_memory else 5))

    def listens_on_loopback(self) -> bool:
        """Tell whether only this machine can reach the listener."""
        host, _ = split_address(self.listen, "listen")
        return host == "localhost" or ipaddress.ip_address(host).is_loopback


def split_address(text: str, key: str) -> tuple[str, int]:
    """Split `HOST:PORT` (IPv6 in brackets); the host is `localhost` or an IP address.

    Raises:
        ConfigError: not of that form.
    """
    host, _, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        if host != "localhost":
            ipaddress.ip_address(host)
        if not 0 <= int(port) < 65536:
            raise ValueError(port)
    except ValueError:
        message = f"{key}: {text!r} is not ADDRESS:PORT, e.g. 127.0.0.1:9090 or [::1]:9090"
        raise ConfigError(message, field=key) from None
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """Return `HOST:PORT`, the inverse of `split_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_size(text: str | int, key: str) -> int:
    """Parse bytes with an optional unit: `500MB`, `50 GiB`, or a plain number.

    Raises:
        ConfigError: not of that form.
    """
    found = _SIZE.fullmatch(str(text).strip())
    if found is None:
        raise ConfigError(f"{key}: {text!r} is not a size, e.g. 500MB or 50GiB", field=key)
    unit = (found[2] or "").upper().removesuffix("B")
    if unit.endswith("I"):
        return int(float(found[1]) * 1024 ** "KMGT".index(unit[0]) * 1024)
    return int(float(found[1]) * _UNITS[unit])


def load(path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, Any]) -> Settings:
    """Read the file (where given), the environment over it, and the command line's `overrides` (dotted keys) over both.

    Raises:
        ConfigError: unreadable, not YAML, an unknown key (the near one is named) or a wrong value.
    """
    document: dict[str, Any] = {}
    origin = "the settings"
    if path is not None:
        origin = str(path)
        try:
            document = yaml.safe_load(path.read_text("utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from None
        if not isinstance(document, dict):
            raise ConfigError(f"{path}: holds no mapping of settings")
    keys = {ENV_PREFIX + key.upper().replace(".", "_"): key for key in _leaf_keys(Settings)}
    for variable, text in environment.items():
        if variable in keys:
            _put(document, keys[variable], _from_environment(text), origin)
    for key, value in overrides.items():
        _put(document, key, value, origin)
    try:
        settings = msgspec.convert(document, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(str(error))}") from None
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    split_address(settings.listen, "listen")
    if settings.tls is not None:
        split_address(settings.tls.listen, "tls.listen")
    parse_size(settings.upstream.layer_limit, "upstream.layer_limit")
    parse_size(settings.upstream.inflated_limit, "upstream.inflated_limit")
    parse_size(settings.conda.package_limit, "conda.package_limit")
    if settings.store.limit:
        parse_size(settings.store.limit, "store.limit")


def _from_environment(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return text if value is None or isinstance(value, str) else value


def _put(document: dict[str, Any], key: str, value: Any, origin: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        if document.get(parent) is None:
            document[parent] = {}
        document = document[parent]
        if not isinstance(document, dict):
            raise ConfigError(f"{origin}: {parent}: holds no mapping of settings", field=key)
    document[last] = value


def _leaf_keys(section: type[Struct], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, hint in get_type_hints(section).items():
        choices = (hint, *typing.get_args(hint)) if typing.get_origin(hint) in (None, types.UnionType) else ()
        inner = next((t for t in choices if isinstance(t, type) and issubclass(t, _Section)), None)
        keys += _leaf_keys(inner, f"{prefix}{name}.") if inner else [prefix + name]
    return keys


def _explain(message: str) -> str:
    found = re.search(r"unknown field `(\w+)`", message)
    if found is None:
        return message
    names = sorted({key.rpartition(".")[2] for key in _leaf_keys(Settings)} | set(Settings.__struct_fields__))
    near = difflib.get_close_matches(found[1], names, 1)
    return message + (f"; did you mean `{near[0]}`?" if near else "")
