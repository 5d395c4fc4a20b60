"""The directory of the site's certificates, as packs take it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wavelet.host.ownership import UnsafeOwner
from wavelet.packs.directories import ABSENT, SHIPPED, find_packs
from wavelet.packs.model import PackRefused
from wavelet.packs.reading import read_pack
from wavelet.packs.site_certificates import with_site_certificates
from wavelet.packs.spec import CertificatesSource

OWN = frozenset({0, os.geteuid()})
SPEC = read_pack("certificates: {directory: site}", "ca/pack.yaml", "ca")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "certificates.d").mkdir(mode=0o755)
    return tmp_path / "certificates.d"


def test_its_pem_files_in_the_order_of_their_names(directory: Path) -> None:
    for name in ("b.crt", "a.pem", ".hidden.pem", "notes.txt"):
        (directory / name).write_text(name)
    spec, said = with_site_certificates(SPEC, directory, OWN)
    assert [layer.source for layer in spec.layers] == [CertificatesSource(("a.pem", "b.crt"), True, str(directory))]
    (directory / "a.pem").write_text("changed")
    assert with_site_certificates(SPEC, directory, OWN)[1] not in ("", said)


def test_an_empty_directory_and_none_have_no_files(directory: Path) -> None:
    assert with_site_certificates(SPEC, directory, OWN)[1] == ""
    assert with_site_certificates(SPEC, directory / "none", OWN)[1] == ""


def test_two_files_of_one_name_are_refused(directory: Path) -> None:
    for name in ("a.crt", "a.pem"):
        (directory / name).write_text(name)
    with pytest.raises(PackRefused, match=r"certificates.d: a.pem and a.crt would be one file"):
        with_site_certificates(SPEC, directory, OWN)


def test_what_others_could_change_is_refused(directory: Path) -> None:
    (directory / "a.pem").write_text("a")
    (directory / "a.pem").chmod(0o664)
    with pytest.raises(UnsafeOwner, match=r"whom programs in everybody's containers trust; run: chmod g-w"):
        with_site_certificates(SPEC, directory, OWN)


def test_what_wavelet_comes_with_is_listed_and_says_what_it_takes(tmp_path: Path) -> None:
    found = {pack.name: pack for pack in find_packs(tmp_path / "packs")}
    assert found["ca"].unused.endswith(f"PEM files into {tmp_path}/certificates.d")
    if not (SHIPPED / "trace").exists():
        assert found["trace"].unused == ABSENT["trace"].format(site=tmp_path / "packs")
    assert {pack.problem for pack in found.values()} == {""}
