"""The client against a real registry (docker-registry), with and without logins."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import images
from lab.registry import PASSWORDS, Registry
from wavelet.errors import AccessRefused, ImageNotFound
from wavelet.image.image import Manifest, parse_document
from wavelet.image.reference import Digest, Reference
from wavelet.plan.tokens import NOBODY, Identity, Login
from wavelet.upstream.client import Upstream

ANN = Identity(uid=1, login=Login("ann", PASSWORDS["ann"]), login_key="k")


@pytest.mark.registry
@pytest.mark.parametrize("accounts", [None, ("ann",)], ids=["open", "login"])
async def test_pull(tmp_path: Path, upstream: Upstream, accounts: tuple[str, ...] | None) -> None:
    registry = Registry(tmp_path / "registry", accounts)
    registry.start()
    try:
        image = images.busybox(images.layer({"etc/lab": "x" * 100}))
        reference = Reference.parse(registry.push("lab/tool", "1", image))
        registry.push("lab/tool", "2", image)
        found = await upstream.head(reference, ANN)
        fetched = await upstream.manifest(reference.at(found.digest), ANN)
        assert (fetched.digest, fetched.granted.public) == (found.digest, accounts is None)
        view = parse_document(fetched.data, fetched.media_type)
        assert isinstance(view, Manifest)
        for descriptor in view.descriptors:
            async with upstream.blob(reference.repository, descriptor.digest, ANN, 1) as stream:
                data = b"".join([chunk async for chunk in stream.chunks])
            assert (stream.offset, stream.size, len(data)) == (1, descriptor.size, descriptor.size - 1)
        assert (await upstream.blob_size(reference.repository, view.layers[0].digest, ANN))[0] == view.layers[0].size
        assert await upstream.tags(reference.repository, ANN, 1, None) == (["1"], True)
        assert await upstream.tags(reference.repository, ANN, 5, "1") == (["2"], False)
        assert await upstream.tags(reference.repository, ANN, None, None) == (["1", "2"], False)
        assert (await upstream.referrers(reference.repository, found.digest, ANN)).descriptors == []
        with pytest.raises(ImageNotFound):
            await upstream.head(reference.at(Digest("sha256:" + "0" * 64)), ANN)
        if accounts:
            with pytest.raises(AccessRefused):
                await upstream.head(reference, NOBODY)
    finally:
        registry.stop()
