"""The answer of an inspect request, made of an image's documents: Wave's reduced view, in camel case. Pure."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from wavelet import foreign_json
from wavelet.errors import UpstreamBroken
from wavelet.foreign_json import ForeignJsonError
from wavelet.image.image import (
    DOCKER_MANIFEST,
    OCI_MANIFEST,
    Descriptor,
    Index,
    MalformedManifest,
    parse_document,
    read_entries,
)
from wavelet.image.reference import DOCKER_HUB, Reference

_SETTINGS = {
    "hostName": "Hostname", "domainName": "Domainname", "user": "User",
    "attachStdin": "AttachStdin", "attachStdout": "AttachStdout", "attachStderr": "AttachStderr", "tty": "Tty",
    "env": "Env", "cmd": "Cmd", "image": "Image", "workingDir": "WorkingDir", "entrypoint": "Entrypoint",
    "labels": "Labels",
}  # fmt: skip
"""Members of an image configuration's `config` (image-spec config.md, some Docker's own) by their names in answers."""


def inspected(reference: Reference, descriptor: Descriptor, manifest: bytes, config: bytes | None) -> dict[str, object]:
    """Return the answer for the document `manifest` and, where it is an image's, its `config`.

    Raises:
        UpstreamBroken: the documents are not an image's.
    """
    try:
        view = parse_document(manifest, descriptor.media_type)
        document = foreign_json.decode(manifest, dict[str, object])
    except (MalformedManifest, ForeignJsonError) as error:
        raise UpstreamBroken(
            f"{reference.repository.host} answers {reference} with a broken manifest: {error}"
        ) from None
    if isinstance(view, Index):
        return {"index": _index(document, view, descriptor)}
    answer = {
        "registry": reference.repository.host,
        "hostName": _host_name(reference.repository.host),
        "imageName": reference.repository.path,
        "reference": str(reference.digest or reference.tag),
        "digest": str(descriptor.digest),
        "config": _config(config),
        "manifest": _manifest(document, view.media_type),
        "v1": False,
        "v2": view.media_type == DOCKER_MANIFEST,
        "oci": view.media_type == OCI_MANIFEST,
    }
    return {"container": _filled(answer)}


def _index(document: dict[str, object], view: Index, descriptor: Descriptor) -> dict[str, object]:
    manifests = document["manifests"]
    assert isinstance(manifests, list), "it was parsed as an index"
    entries = [
        _filled(
            {**entry.descriptor.as_json(), "annotations": dict(entry.annotations), "platform": wire.get("platform")},
        )
        for entry, wire in read_entries(manifests)
    ]
    head = {"schemaVersion": document.get("schemaVersion"), "mediaType": view.media_type}
    return _filled({**head, "manifests": entries, "digest": str(descriptor.digest)})


def _manifest(document: dict[str, object], media_type: str) -> dict[str, object]:
    members = ("schemaVersion", "config", "layers", "annotations", "artifactType")
    return _filled({"mediaType": media_type} | {member: document.get(member) for member in members})


def _config(data: bytes | None) -> dict[str, object]:
    """Return the view of an image configuration; an artifact's is of another kind, and has none."""
    try:
        document = foreign_json.decode(data or b"{}", dict[str, object])
    except ForeignJsonError:
        return {}
    settings = document.get("config")
    settings = settings if isinstance(settings, dict) else {}
    view = {member: document.get(member) for member in ("architecture", "container", "created", "rootfs")}
    return _filled(view | {"config": _filled({name: settings.get(own) for name, own in _SETTINGS.items()})})


def _filled(members: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None and value not in ("", [], {})}


def _host_name(host: str) -> str:
    """Return the URL at which a registry answers; as the upstream client has it, loopback speaks plain http."""
    if host == DOCKER_HUB:
        return "https://registry-1.docker.io"
    name = urlsplit(f"//{host}").hostname or host
    try:
        loopback = ipaddress.ip_address(name).is_loopback
    except ValueError:
        loopback = name == "localhost"
    return f"{'http' if loopback else 'https'}://{host}"
