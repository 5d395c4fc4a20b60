"""What is kept under names and in forms that other nodes, and other versions, find and read: as bytes of today.

Records and bindings have such bytes of each version in `tests/cluster`.
"""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec

from documented.wire import golden
from wavelet.cluster.shared_directory.claims import DirectoryClaims
from wavelet.cluster.shared_directory.secrets import DirectorySecrets
from wavelet.image.image import Content, Descriptor, FromLocation, FromUpstream, Image, MadeBy
from wavelet.image.reference import Digest, Repository
from wavelet.resolve.memo import decode_image, encode_image

GOLDEN = golden("kept")
KEY = b"k" * 32
NOW = 1_800_000_000.0
X, Y, Z = (Digest.of(each) for each in (b"x", b"y", b"z"))
IMAGE = Image(
    Descriptor("application/m", X, 1),
    (
        Content(Descriptor("application/m", X, 1), FromUpstream(Repository("quay.io", "org/tool"))),
        Content(Descriptor("application/y", Y, 2), FromLocation("https://x/y", Y)),
        Content(Descriptor("application/z", Z, 3, ("https://x/z",)), MadeBy("0000")),
    ),
)


def test_an_images_row() -> None:
    row = GOLDEN["an image's row"]
    assert msgspec.json.decode(encode_image(IMAGE)) == row
    assert decode_image(msgspec.json.encode(row)) == IMAGE


def test_what_the_store_remembers_of_where_content_came_from() -> None:
    assert [content.source.origin for content in IMAGE.contents] == GOLDEN["origins"]


async def test_a_claim(tmp_path: Path) -> None:
    row = GOLDEN["a claim"]
    claims = DirectoryClaims(tmp_path, KEY)
    await claims.claim(row["key"], row["data"].encode())
    await claims.close()
    assert (tmp_path / row["path"]).read_text() == row["content"]


async def test_a_sealed_login(tmp_path: Path) -> None:
    row = GOLDEN["a sealed login"]
    path = tmp_path / row["path"]
    path.parent.mkdir(parents=True)
    path.write_bytes(base64.b64decode(row["content"]))
    sealed = DirectorySecrets(tmp_path, KEY, lambda: NOW)
    [(registry, kept)] = (await sealed.of(row["uid"])).items()
    await sealed.close()
    found = registry, kept.login.username, kept.login.secret, kept.until
    assert found == tuple(row[name] for name in ("registry", "username", "secret", "until"))
