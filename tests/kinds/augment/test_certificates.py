"""The layer with merged certificates: whose bundles, where, and that equal images get equal bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from augment_bench import Bench, tar

from lab.certificates import Authority
from wavelet.errors import InvalidRequest
from wavelet.kinds.augment.certificates import candidates, java_options, java_variable
from wavelet.kinds.augment.trust import read_java, read_pem, write_java

SITE = "usr/local/share/wavelet/ca"
DEBIAN = "etc/ssl/certs/ca-certificates.crt"


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("authorities")
    return {name: Authority(directory, name).certificate.read_bytes() for name in ("site", "image", "other")}


@pytest.fixture
def own(authorities: dict[str, bytes]) -> bytes:
    return tar({f"{SITE}/site.pem": authorities["site"]})


def made(bench: Bench, layers: list[bytes], own: bytes, env: dict[str, str] | None = None) -> dict[str, bytes]:
    """Return the files of the merged layer, once it has been seen to be the same each time."""
    first, again = (bench.fit(layers, [bench.added(own)], env) for _ in range(2))
    assert first.layers == again.layers
    assert first.has_certificates
    assert len(first.layers) == 2
    files = bench.contents(first.layers[-1][1])
    return {path: data for path, data in files.items() if isinstance(data, bytes)}


def names(authorities: dict[str, bytes], data: bytes) -> list[str]:
    by_certificate = {read_pem(pem).certificates[0]: name for name, pem in authorities.items()}
    read = read_java if data.startswith(b"\xfe\xed") else read_pem
    return [by_certificate[each] for each in read(data).certificates]


def test_the_images_bundle_and_then_the_sites(bench: Bench, own: bytes, authorities: dict[str, bytes]) -> None:
    files = made(bench, [tar({DEBIAN: b"# comment\n" + authorities["image"]})], own)
    assert sorted(files) == [DEBIAN, f"{SITE}/bundle.pem", f"{SITE}/truststore.jks"]
    assert {path: names(authorities, data) for path, data in files.items()} == {key: ["image", "site"] for key in files}


def test_a_certificate_that_the_image_has_is_not_there_twice(
    bench: Bench, own: bytes, authorities: dict[str, bytes]
) -> None:
    files = made(bench, [tar({DEBIAN: authorities["site"] + authorities["image"]})], own)
    assert names(authorities, files[DEBIAN]) == ["site", "image"]


def test_a_bundle_is_replaced_where_links_lead(bench: Bench, own: bytes, authorities: dict[str, bytes]) -> None:
    extracted = "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"
    red_hat = {extracted: authorities["image"], "etc/pki/tls/certs/ca-bundle.crt": f"/{extracted}"}
    files = made(bench, [tar(red_hat), tar({"etc/pki/tls/cert.pem": "certs/ca-bundle.crt"})], own)
    assert sorted(files) == [extracted, f"{SITE}/bundle.pem", f"{SITE}/truststore.jks"]


def test_java_stores_are_found_wherever_they_are(bench: Bench, own: bytes, authorities: dict[str, bytes]) -> None:
    [image], [other] = (read_pem(authorities[name]).certificates for name in ("image", "other"))
    stores = {"opt/a/lib/security/cacerts": write_java([image], {image: "mine"}), "opt/b/lib/security/cacerts": b"?"}
    jdk = {"opt/jdk/lib/security/cacerts": write_java([other], {})}
    files = made(bench, [tar(stores), tar(jdk)], own, {"JAVA_HOME": "/opt/jdk"})
    assert names(authorities, files["opt/a/lib/security/cacerts"]) == ["image", "site"]
    assert read_java(files["opt/a/lib/security/cacerts"]).aliases[image] == "mine"
    assert names(authorities, files[f"{SITE}/truststore.jks"]) == ["other", "site"], "that of JAVA_HOME counts"
    assert "opt/b/lib/security/cacerts" not in files
    assert any("/opt/b/lib/security/cacerts is left as it is" in line for line in bench.lines)


def test_the_bundle_that_the_images_variable_names_counts(
    bench: Bench, own: bytes, authorities: dict[str, bytes]
) -> None:
    image = {"nix/bundle.crt": authorities["other"], DEBIAN: authorities["image"]}
    files = made(bench, [tar(image)], own, {"SSL_CERT_FILE": "/nix/bundle.crt"})
    assert names(authorities, files[f"{SITE}/bundle.pem"]) == ["other", "site"]
    assert names(authorities, files[DEBIAN]) == ["image", "site"]


def test_an_image_without_a_bundle_trusts_the_site_alone(
    bench: Bench, own: bytes, authorities: dict[str, bytes]
) -> None:
    files = made(bench, [tar({"data": b""})], own)
    assert {path: names(authorities, data) for path, data in files.items()} == {key: ["site"] for key in files}
    assert "the image has no bundle of certificates: it trusts the site's alone" in bench.lines


def test_a_broken_entry_of_the_image_is_left_out_and_noted(
    bench: Bench, own: bytes, authorities: dict[str, bytes]
) -> None:
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    files = made(bench, [tar({DEBIAN: broken + authorities["image"]})], own)
    assert names(authorities, files[DEBIAN]) == ["image", "site"]
    assert f"/{DEBIAN}: 1 entries are no certificates, and are left out" in bench.lines


@pytest.mark.parametrize("content", [b"not a bundle", b"x" * (4 * 1024 * 1024 + 1)], ids=["text", "large"])
def test_what_is_no_bundle_is_left_as_it_is(bench: Bench, own: bytes, content: bytes) -> None:
    files = made(bench, [tar({DEBIAN: content})], own)
    assert DEBIAN not in files
    assert any(f"/{DEBIAN} is left as it is" in line for line in bench.lines)


def test_a_broken_certificate_of_the_site_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidRequest, match=r"/usr/local/share/wavelet/ca/site.pem: it has no certificate"):
        bench.fit([], [bench.added(tar({f"{SITE}/site.pem": b"nothing"}))])


def test_certificates_of_several_layers_come_together(bench: Bench, authorities: dict[str, bytes]) -> None:
    layers = [bench.added(tar({f"{SITE}/{name}.pem": authorities[name]})) for name in ("site", "other")]
    fitting = bench.fit([tar({DEBIAN: authorities["image"]})], layers)
    assert names(authorities, bench.contents(fitting.layers[-1][1])[DEBIAN]) == [  # type: ignore[arg-type]
        "image",
        "site",
        "other",
    ]


@pytest.mark.parametrize(
    ("own", "asked", "expected"),
    [
        ("", "", "-Djavax.net.ssl.trustStore=/usr/local/share/wavelet/ca/truststore.jks"),
        ("-Xmx1g", "", "-Xmx1g -Djavax.net.ssl.trustStore=/usr/local/share/wavelet/ca/truststore.jks"),
        ("-Xmx1g", "-Da=b", "-Xmx1g -Da=b -Djavax.net.ssl.trustStore=/usr/local/share/wavelet/ca/truststore.jks"),
        ("-Da", "-Djavax.net.ssl.trustStore=/x", "-Da -Djavax.net.ssl.trustStore=/x"),
    ],
)
def test_options_of_java_are_kept(own: str, asked: str, expected: str) -> None:
    assert java_options(own, asked) == expected
    variable = java_variable({"JAVA_TOOL_OPTIONS": own}, {"JAVA_TOOL_OPTIONS": asked})
    assert variable == f"JAVA_TOOL_OPTIONS={expected}"


def test_candidates_are_paths_within_the_image() -> None:
    found = candidates({"SSL_CERT_FILE": "relative.pem", "CURL_CA_BUNDLE": "/opt/c.pem", "JAVA_HOME": "/opt/jdk/"})
    assert found.bundles[:2] == ("opt/c.pem", DEBIAN)
    assert found.java[0] == "opt/jdk/lib/security/cacerts"


def test_a_layer_of_the_lab_is_read_in_a_worker_if_it_is_large(bench: Bench, own: bytes, tmp_path: Path) -> None:
    bench.fit([tar({"data": bytes(300 * 1024)})], [bench.added(own)])
    assert bench.runs == ["part_of", "merge"]


@pytest.mark.parametrize("path", ["/", "//", "/x/../" + DEBIAN, "/../../" + DEBIAN, "/" + "a/" * 200_000, "relative"])
def test_odd_paths_in_variables(bench: Bench, own: bytes, authorities: dict[str, bytes], path: str) -> None:
    places = candidates({"SSL_CERT_FILE": path, "JAVA_HOME": path})
    assert all(each and ".." not in each and len(each) < 100 for each in (*places.bundles, *places.java))
    files = made(bench, [tar({DEBIAN: authorities["image"]})], own, {"SSL_CERT_FILE": path})
    assert names(authorities, files[f"{SITE}/bundle.pem"]) == ["image", "site"]


def test_a_store_whose_path_is_not_utf8_is_left(bench: Bench, own: bytes, authorities: dict[str, bytes]) -> None:
    path = "opt/caf\udce9/lib/security/cacerts"
    files = made(bench, [tar({path: write_java(read_pem(authorities["image"]).certificates, {})})], own)
    assert sorted(files) == [f"{SITE}/bundle.pem", f"{SITE}/truststore.jks"]
    assert "its path is not UTF-8" in bench.lines[0]


def test_a_bundle_that_cannot_be_read_is_not_said_to_be_absent(bench: Bench, own: bytes) -> None:
    made(bench, [tar({DEBIAN: b"no certificate"})], own)
    assert "none of the image's bundles can be read: it trusts the site's alone" in bench.lines
