"""Certificates of packs, and layers that give way to what an image has: what is built of them."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from lab.certificates import Authority
from wavelet.kinds.augment.marks import Marks, marks_of
from wavelet.packs.building import build
from wavelet.packs.certificates import normalised
from wavelet.packs.model import PackRefused
from wavelet.packs.reading import read_pack

SITE = "usr/local/share/wavelet/ca"


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    directory = tmp_path_factory.mktemp("authorities")
    return [Authority(directory, name).certificate.read_bytes() for name in ("one", "two")]


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    (tmp_path / "pack").mkdir()
    (tmp_path / "built").mkdir()
    return tmp_path / "pack"


def built(pack: Path, document: str) -> Path:
    [layer] = build(pack, read_pack(document, "p/pack.yaml", "p"), {}, pack.parent / "built")
    return layer.file


def test_certificates_are_written_as_they_were_read(pack: Path, pems: list[bytes]) -> None:
    (pack / "ca").mkdir()
    (pack / "ca/b.crt").write_bytes(b"# two of them\r\n" + pems[0] + pems[1].replace(b"\n", b"\r\n") + pems[0])
    (pack / "a.pem").write_bytes(pems[1])
    layer = built(pack, "certificates: [ca/b.crt, a.pem]")
    with tarfile.open(layer) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert files == {f"{SITE}/a.pem": pems[1], f"{SITE}/b.pem": pems[0] + pems[1]}
    assert [path for path, _ in marks_of(layer, "it").certificates] == [f"{SITE}/a.pem", f"{SITE}/b.pem"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "has no certificate in it"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "1 of its entries are not certificates"),
        (b"-----BEGIN EC PRIVATE KEY-----\n", "has a private key in it"),
    ],
)
def test_what_is_no_certificate_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(PackRefused, match=f"place: {sentence}"):
        normalised(data, "place")


def test_a_broken_file_is_named(pack: Path) -> None:
    (pack / "site.pem").write_bytes(b"nothing")
    with pytest.raises(PackRefused, match=r"p/pack.yaml: certificates: site.pem: has no certificate"):
        built(pack, "certificates: site.pem")


def test_members_of_a_layer_that_gives_way_say_so(pack: Path) -> None:
    (pack / "bin").mkdir()
    (pack / "bin/bash").write_bytes(b"bash")
    (pack / "bin/sh").symlink_to("bash")
    layer = built(pack, "layers: [{directory: bin, to: /bin, keep: existing}]")
    assert marks_of(layer, "it") == Marks(
        directories=frozenset({"bin"}), kept=frozenset({"bin/bash", "bin/sh"}), has_others=False
    )
    assert marks_of(built(pack, "layers: [{directory: bin, to: /bin}]"), "it").kept == frozenset()
