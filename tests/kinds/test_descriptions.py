"""What a kind leaves undescribed: its images are called by their label."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_a_new_kind import AUGMENTED, FILE, TABLE

from lab.services import open_services
from wavelet.errors import ImageNotFound
from wavelet.front.grpc.answers import described
from wavelet.image.reference import Platform
from wavelet.kinds.index.node import ImageIndex
from wavelet.plan.tokens import NOBODY
from wavelet.requests.request import About, Request


async def test_what_a_kind_leaves_undescribed_is_called_by_its_label(tmp_path: Path) -> None:
    """An error about such an image, and its request as it is shown, had no subject."""
    async with open_services(tmp_path, TABLE) as (services, _):
        with pytest.raises(ImageNotFound, match=r"^file/motd:latest "):
            await services.resolver.realise(ImageIndex(((Platform.parse("arm64"), FILE),)), NOBODY)
        status = await services.requests.submissions.submit(Request.of(AUGMENTED, NOBODY, About(api="test", image="")))
        assert described(status.request, status, None, "127.0.0.1:9090").request.container_image == "file/motd:latest"
