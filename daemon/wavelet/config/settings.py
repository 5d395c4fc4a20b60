"""The settings: each key with its type, default, range and meaning, and whether it counts while the daemon runs.

Values only; nothing is read here. A section is a frozen value. The reference page is made of these classes
(`cli/commands/settings.py`), so that a key without a description does not exist.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, field

from wavelet.config.conda import Conda
from wavelet.config.section import LIVE, Section
from wavelet.config.site import Packs, Rules
from wavelet.config.values import is_loopback, is_unspecified, join_address, split_address


class Tls(Section, frozen=True):
    """A second listener that speaks TLS, for clients that know no plain http (Charliecloud)."""

    listen: Annotated[str, Meta(description="address and port of the TLS listener")]
    certificate: Annotated[str, Meta(description="PEM file with the certificate chain"), LIVE]
    key: Annotated[str, Meta(description="PEM file with the private key"), LIVE]


class Store(Section, frozen=True):
    """The content store."""

    limit: Annotated[
        str | int,
        Meta(description="most bytes of blobs, e.g. 200GB; empty: the lesser of 50 GB and 20 % of the free space"),
        LIVE,
    ] = ""
    lease: Annotated[
        float, Meta(description="seconds for which an answered image is safe from eviction", gt=0), LIVE
    ] = 3600
    retention: Annotated[
        float,
        Meta(
            description="seconds for which what a name answered is handed out by digest without looking it up again",
            gt=0,
        ),
        LIVE,
    ] = 86400
    scrub: Annotated[
        float,
        Meta(description="seconds within which every blob is read and compared with its digest once; 0: never", ge=0),
        LIVE,
    ] = 30 * 86400


class Hosted(Section, frozen=True):
    """Images that are pushed to this node, under `local/`."""

    pushes: Annotated[
        Literal["auto", "on", "off"],
        Meta(
            description="whether images can be pushed under `local/`; `auto`: to a user's own daemon, by that user, and"
            " not to one that runs as root and so serves several users"
        ),
        LIVE,
    ] = "auto"
    limit: Annotated[
        str | int,
        Meta(description="most bytes of what was pushed, e.g. 50GB, within `store.limit`; empty: half of that"),
        LIVE,
    ] = ""


class Records(Section, frozen=True):
    """Where container requests are kept, so that a name means the same tomorrow and on another node."""

    directory: Annotated[
        str, Meta(description="directory shared by all nodes; empty: this node's own database in the state directory")
    ] = ""
    key_file: Annotated[str, Meta(description="the cluster's key (made at first use); empty: beside the records")] = ""
    lifetime: Annotated[float, Meta(description="seconds that a token lives after its last use", gt=0), LIVE] = (
        30 * 86400
    )
    share_logins: Annotated[
        bool,
        Meta(
            description="whether logins that users hand over go into `directory` for other nodes, sealed with the"
            " cluster's key; false: they stay in this node's memory"
        ),
    ] = True


class Freeze(Section, frozen=True):
    """Images with a name that lasts (`wave.freeze`)."""

    repository: Annotated[
        str,
        Meta(
            description="where frozen images are pushed to whose request names no repository, e.g."
            " registry.example/frozen; empty: nowhere, this registry answers them as `frozen/…`"
        ),
        LIVE,
    ] = ""
    lifetime: Annotated[
        float, Meta(description="seconds that the name of a frozen image lives after its last use", gt=0), LIVE
    ] = 365 * 86400


class Sif(Section, frozen=True):
    """Images as SIF files, for Apptainer and Singularity."""

    directory: Annotated[
        str,
        Meta(
            description="directory that all nodes share, into which SIF files are written and of which paths are"
            " answered; empty: none, they are answered as URLs"
        ),
        LIVE,
    ] = ""
    codec: Annotated[
        Literal["gzip", "zstd"],
        Meta(
            description="compression: `gzip`, which every kernel and squashfuse reads, or `zstd`, which newer ones do"
        ),
        LIVE,
    ] = "gzip"
    limit: Annotated[
        str | int,
        Meta(description="most bytes of SIF files in `directory`, e.g. 2TB; the least recently used go"),
        LIVE,
    ] = "500GB"
    lease: Annotated[
        float,
        Meta(description="seconds after its last use for which a file in `directory` is never removed", gt=0),
        LIVE,
    ] = 7 * 86400
    sources: Annotated[
        tuple[str, ...],
        Meta(
            description="URL prefixes of SIF files of others, which are fetched and answered like images; logins are"
            " those of channels"
        ),
        LIVE,
    ] = ("https://depot.galaxyproject.org/singularity/",)


class Registry(Section, frozen=True):
    """One upstream registry."""

    mirrors: Annotated[tuple[str, ...], Meta(description="URLs to ask first, in order, e.g. http://cache:5000")] = ()
    plain_http: Annotated[bool, Meta(description="speak http with it (loopback needs no word)")] = False
    plain_redirects: Annotated[
        bool,
        Meta(description="follow its redirects of blobs from https to plain http (storage without TLS)"),
    ] = False
    ca_file: Annotated[str, Meta(description="PEM file of the authority that signed its certificate")] = ""
    credentials: Annotated[
        Literal["when-refused", "always"],
        Meta(description="when to show credentials; `always` for registries that count anonymous pulls"),
    ] = "when-refused"
    concurrency: Annotated[int, Meta(description="transfers at one time, and as many other requests", ge=1)] = 16


class Alias(Section, frozen=True):
    """Where to look for an image that is not found under its own name."""

    prefix: Annotated[str, Meta(description="registry and path prefix of the name that was not found")]
    instead: Annotated[str, Meta(description="what to put in its place")]


class Credential(Section, frozen=True):
    """A login that the site gives wavelet."""

    registry: Annotated[str, Meta(description="host, or host/path prefix; the longest match wins")]
    username: Annotated[str, Meta(description="user name")] = ""
    password_file: Annotated[str, Meta(description="file that holds the password and nothing else")] = ""
    helper: Annotated[str, Meta(description="NAME of a docker-credential-NAME program to ask instead")] = ""
    users: Annotated[
        tuple[int, ...], Meta(description="uids it is for; empty: what it opens, all may read whom the listener admits")
    ] = ()
    push: Annotated[
        bool,
        Meta(
            description="whether it also pushes where users want (`wave.build.repository`, mirrors), if it is for all;"
            " else it pushes to `freeze.repository`, and for root and the daemon's own user"
        ),
    ] = False


class Upstream(Section, frozen=True):
    """How other servers are asked."""

    registries: Annotated[dict[str, Registry], Meta(description="settings of single registries, by host"), LIVE] = (
        field(default_factory=dict)
    )
    mirrors_only: Annotated[
        bool,
        Meta(description="ask registries and channels that have mirrors at these alone, for sites without internet"),
        LIVE,
    ] = False
    aliases: Annotated[tuple[Alias, ...], Meta(description="second places to look, in order"), LIVE] = (
        Alias(prefix="docker.io/biocontainers", instead="quay.io/biocontainers"),
    )
    credentials: Annotated[tuple[Credential, ...], Meta(description="the site's own logins"), LIVE] = ()
    mislabelled: Annotated[
        tuple[str, ...],
        Meta(
            description="repositories, or paths above some (`quay.io/lab`), whose images name a wrong platform and are"
            " served for any; of an index, its own word counts"
        ),
        LIVE,
    ] = ()
    tag_ttl: Annotated[float, Meta(description="seconds for which a tag is not asked for again", ge=0), LIVE] = 300
    access_ttl: Annotated[
        float, Meta(description="seconds for which a granted access is not asked for again", ge=0), LIVE
    ] = 300
    grace: Annotated[
        float,
        Meta(description="seconds for which the last answer stands in for a registry that does not answer", ge=0),
        LIVE,
    ] = 30 * 86400
    patience: Annotated[
        float,
        Meta(
            description="seconds for which a request is tried again while what fails may pass (429, 5xx, a lost"
            " connection, no answer in time); a definite no fails at once",
            ge=0,
        ),
        LIVE,
    ] = 30
    private_networks: Annotated[
        Literal["when-local", "always", "never"],
        Meta(
            description="whether URLs in requests may lead to private addresses; `when-local`: on a loopback listener"
        ),
        LIVE,
    ] = "when-local"
    layer_limit: Annotated[str | int, Meta(description="most bytes of one layer that a request names"), LIVE] = "2GB"
    inflated_limit: Annotated[str | int, Meta(description="most bytes that such a layer may inflate to"), LIVE] = "4GB"


class GrpcTls(Section, frozen=True):
    """A gRPC listener for other machines, with certificates on both sides (mutual TLS)."""

    listen: Annotated[str, Meta(description="address and port of the gRPC listener with TLS")]
    certificate: Annotated[str, Meta(description="PEM file with the daemon's certificate chain")]
    key: Annotated[str, Meta(description="PEM file with its private key")]
    client_ca: Annotated[str, Meta(description="PEM file with the authority that signs the clients' certificates")]
    uid: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="uid that all clients of this listener act as; null: nobody in particular"),
    ] = None


class Grpc(Section, frozen=True):
    """The gRPC door: two unix sockets, one for all users and one for administration, and an optional TLS listener."""

    enabled: Annotated[bool, Meta(description="whether gRPC is served")] = True
    socket: Annotated[
        str,
        Meta(
            description="path of the socket for all users (mode 0666); empty: `wavelet.sock` in /run/wavelet, in a"
            " user's runtime directory, or in `state` where that is set"
        ),
    ] = ""
    admin_socket: Annotated[
        str, Meta(description="path of the socket for administration (mode 0660); empty: `admin.sock` beside the other")
    ] = ""
    admin_group: Annotated[
        str, Meta(description="group that may use the socket for administration; empty: the daemon's own")
    ] = ""
    tls: Annotated[GrpcTls | None, Meta(description="a listener for other machines, with mutual TLS")] = None


class Settings(Section, frozen=True):
    """All settings."""

    listen: Annotated[str, Meta(description="address and port of the HTTP API and registry")] = "127.0.0.1:9090"
    allow_remote: Annotated[
        bool,
        Meta(description="whether `listen` may be an address that other machines reach, in clear and with no login"),
    ] = False
    authority: Annotated[
        str, Meta(description="host and port in image names, the same on all nodes; empty: the address of `listen`")
    ] = ""
    state: Annotated[
        str,
        Meta(description="node-local directory for content and records; empty: /var/lib/wavelet, or XDG's for a user"),
    ] = ""
    hosts: Annotated[
        tuple[str, ...], Meta(description="host names, besides its addresses, by which it may be called"), LIVE
    ] = ()
    tls: Annotated[Tls | None, Meta(description="a second listener with TLS")] = None
    grpc: Annotated[Grpc, Meta(description="the gRPC door")] = field(default_factory=Grpc)
    reserved_names: Annotated[
        bool,
        Meta(
            description="whether `wt/`, `frozen/`, `conda/`, `local/` and `sif/` are special; false for a mirror of"
            " Docker Hub only"
        ),
    ] = True
    engine_uids: Annotated[
        tuple[int, ...], Meta(description="uids, besides 0, under which container engines pull for their users"), LIVE
    ] = ()
    http_root: Annotated[
        Literal["engine", "anonymous"],
        Meta(
            description="what uid 0 is over HTTP: `engine`, which pulls for others, or `anonymous`: nobody in"
            " particular, where root forwards connections of others (`socat`, `ssh -R`, a proxy)"
        ),
        LIVE,
    ] = "engine"
    log_format: Annotated[Literal["text", "json"], Meta(description="form of the log on standard error"), LIVE] = "text"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="least level logged"), LIVE] = (
        "info"
    )
    audit_log: Annotated[
        str,
        Meta(
            description="file for a line of JSON about each decision; empty: `audit.log` in the state directory of a"
            " root daemon, and none for a user's own; `off`: none"
        ),
    ] = ""
    grace_period: Annotated[float, Meta(description="seconds that a stop waits for running transfers", ge=0), LIVE] = 30
    idle_exit: Annotated[
        float, Meta(description="seconds without a request or work after which the daemon ends; 0: never", ge=0)
    ] = 0
    watch: Annotated[
        bool, Meta(description="whether changed settings and certificates are read again without being told to")
    ] = True
    store: Annotated[Store, Meta(description="the content store")] = field(default_factory=Store)
    hosted: Annotated[Hosted, Meta(description="images pushed to this node")] = field(default_factory=Hosted)
    records: Annotated[Records, Meta(description="container requests")] = field(default_factory=Records)
    freeze: Annotated[Freeze, Meta(description="frozen images")] = field(default_factory=Freeze)
    sif: Annotated[Sif, Meta(description="images as SIF files")] = field(default_factory=Sif)
    upstream: Annotated[Upstream, Meta(description="other servers")] = field(default_factory=Upstream)
    conda: Annotated[Conda, Meta(description="images of conda packages")] = field(default_factory=Conda)
    rules: Annotated[Rules, Meta(description="rules of the site")] = field(default_factory=Rules)
    packs: Annotated[Packs, Meta(description="packs of the site")] = field(default_factory=Packs)

    @property
    def name_authority(self) -> str:
        """Host and port as they stand in image names; where all addresses are listened on, that of this node itself."""
        host, port = split_address(self.listen, "listen")
        return self.authority or join_address("127.0.0.1" if is_unspecified(host) else host, port)

    @property
    def state_directory(self) -> Path:
        """The state directory, chosen where none is set."""
        if self.state:
            return Path(self.state).expanduser().absolute()
        if os.geteuid() == 0:
            return Path("/var/lib/wavelet")
        return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "wavelet"

    def listens_on_loopback(self) -> bool:
        """Tell whether only this machine can reach the listener."""
        return is_loopback(self.listen, "listen")
