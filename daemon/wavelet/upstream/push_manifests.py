"""The push of one manifest (distribution-spec, "Pushing manifests"), and the list of what refers to its subject."""

from __future__ import annotations

import json

from wavelet import foreign_json
from wavelet.errors import ImageNotFound, UpstreamBroken
from wavelet.image.image import MANIFEST_LIMIT, OCI_INDEX
from wavelet.image.reference import Digest, Repository
from wavelet.plan.tokens import Identity
from wavelet.upstream.fallback import CredentialFallback
from wavelet.upstream.listing import fallback_tag
from wavelet.upstream.request_body import Body
from wavelet.upstream.session import Call
from wavelet.upstream.streams import raise_for
from wavelet.upstream.token_scope import PUSH


class ManifestPush:
    """Pushes manifests and indexes to repositories."""

    def __init__(self, fallback: CredentialFallback) -> None:
        self._fallback = fallback

    async def push(
        self, repository: Repository, reference: str, data: bytes, media_type: str, identity: Identity
    ) -> None:
        """See `Pusher.push_manifest`."""
        listed = await self._put(repository, reference, data, media_type, identity)
        document = foreign_json.decode(data, dict[str, object])
        subject = document.get("subject")
        if isinstance(subject, dict) and not listed:
            await self._add_referrer(repository, Digest.parse(str(subject["digest"])), data, media_type, identity)

    async def _put(
        self, repository: Repository, reference: str, data: bytes, media_type: str, identity: Identity
    ) -> bool:
        call = Call(
            "manifest", "PUT", f"manifests/{reference}", headers={"Content-Type": media_type}, actions=PUSH,
            body=Body.of(reference, data),
        )  # fmt: skip
        answer, _ = await self._fallback.ask_to_push(repository, identity, call)
        async with answer:
            if answer.status != 201:
                await raise_for(answer, ImageNotFound(f"{repository.host} has no repository {repository}"))
            stated = answer.headers.get("Docker-Content-Digest", "")
            if stated.startswith("sha256:") and stated != Digest.of(data):
                raise UpstreamBroken(f"{repository.host} has kept {repository}:{reference} with another digest")
            return "OCI-Subject" in answer.headers

    async def _add_referrer(
        self, repository: Repository, subject: Digest, data: bytes, media_type: str, identity: Identity
    ) -> None:
        tag = fallback_tag(subject)
        answer, _ = await self._fallback.ask_to_push(
            repository, identity, Call("manifest", "GET", f"manifests/{tag}", headers={"Accept": OCI_INDEX})
        )
        async with answer:
            found = await answer.read(MANIFEST_LIMIT) if answer.status == 200 else b'{"manifests":[]}'
        entries = foreign_json.decode(found, dict[str, object]).get("manifests")
        listed = entries if isinstance(entries, list) else []
        entry = {"mediaType": media_type, "digest": Digest.of(data), "size": len(data)}
        if all(each.get("digest") != entry["digest"] for each in listed):
            index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*listed, entry]}
            await self._put(repository, tag, json.dumps(index).encode(), OCI_INDEX, identity)
