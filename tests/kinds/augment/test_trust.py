"""Certificates in PEM bundles and in Java's stores."""

from __future__ import annotations

import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    pkcs12,
)

from lab.certificates import Authority
from lab.tls_server import serving
from wavelet.kinds.augment.trust import Broken, joined, read_java, read_pem, write_java, write_pem

keytool = pytest.mark.skipif(shutil.which("keytool") is None, reason="needs keytool (apt-get install default-jre)")


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    directory = tmp_path_factory.mktemp("authorities")
    return [Authority(directory, name).certificate.read_bytes() for name in ("one", "two")]


@pytest.fixture(scope="module")
def ders(pems: list[bytes]) -> list[bytes]:
    return [x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER) for pem in pems]


def test_a_bundle_is_normalised(pems: list[bytes], ders: list[bytes]) -> None:
    odd = b"# first\n" + pems[0].replace(b"\n", b"\r\n") + b"\n# again\n" + pems[0] + pems[1].strip()
    assert read_pem(odd).certificates == tuple(ders)
    assert write_pem(read_pem(odd).certificates) == pems[0] + pems[1]


def test_one_certificate_may_be_der(ders: list[bytes]) -> None:
    assert read_pem(ders[0]).certificates == (ders[0],)


@pytest.mark.parametrize(
    "broken",
    [
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nMIIB",
    ],
)
def test_broken_entries_are_counted_and_left_out(pems: list[bytes], ders: list[bytes], broken: bytes) -> None:
    found = read_pem(pems[0] + broken + pems[1])
    assert found.certificates == tuple(ders)
    assert found.broken == 1


def test_what_is_no_certificate_has_none() -> None:
    assert read_pem(b"").certificates == read_pem(b"0\x03abc").certificates == ()


def test_certificates_are_joined_at_their_first_place() -> None:
    assert joined([b"a", b"b"], [b"b", b"c"], [b"a"]) == (b"a", b"b", b"c")


def test_a_store_is_read_as_it_was_written(ders: list[bytes]) -> None:
    store = write_java(ders, {ders[0]: "first"})
    found = read_java(store)
    assert found.certificates == tuple(ders)
    assert found.aliases[ders[0]] == "first"
    assert write_java(found.certificates, found.aliases) == store


@pytest.mark.parametrize(
    "data", [b"", b"text", b"\xfe\xed\xfe\xed", b"\xfe\xed\xfe\xed\0\0\0\2\xff\xff\xff\xff", b"0\x80"]
)
def test_other_stores_are_broken(data: bytes) -> None:
    with pytest.raises(Broken):
        read_java(data)


def test_a_store_with_a_key_is_not_one_of_certificates() -> None:
    with pytest.raises(Broken, match="more than certificates"):
        read_java(b"\xfe\xed\xfe\xed\0\0\0\2\0\0\0\1\0\0\0\1\0\1a")


@keytool
@pytest.mark.process
def test_java_lists_what_was_written(tmp_path: Path, ders: list[bytes]) -> None:
    (tmp_path / "store").write_bytes(write_java(ders, {ders[0]: "first"}))
    command = ["keytool", "-J-Xshare:auto", "-list", "-keystore", str(tmp_path / "store"), "-storepass", "changeit"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "contains 2 entries" in listed
    assert "first, " in listed


CLIENT = """\
import java.net.URL;
class Client {
    public static void main(String[] ports) throws Exception {
        for (String port : ports) {
            try (var in = new URL("https://127.0.0.1:" + port + "/").openStream()) {
                System.out.println(new String(in.readAllBytes()));
            } catch (javax.net.ssl.SSLHandshakeException error) {
                System.out.println("refused");
            }
        }
    }
}
"""


@pytest.mark.skipif(shutil.which("javac") is None, reason="needs javac (apt-get install default-jdk-headless)")
@pytest.mark.process
def test_java_trusts_what_was_written_and_no_others(tmp_path: Path) -> None:
    known, stranger = Authority(tmp_path, "known"), Authority(tmp_path, "stranger")
    store = tmp_path / "store"
    store.write_bytes(write_java(read_pem(known.certificate.read_bytes()).certificates, {}))
    (tmp_path / "Client.java").write_text(CLIENT)
    with serving(known) as port, serving(stranger) as other:
        options = ["-XX:TieredStopAtLevel=1", f"-Djavax.net.ssl.trustStore={store}"]
        command = ["java", *options, str(tmp_path / "Client.java"), str(port), str(other)]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.split() == ["hello", "refused"]


@keytool
@pytest.mark.process
def test_a_store_without_a_password_is_read(tmp_path: Path, pems: list[bytes], ders: list[bytes]) -> None:
    (tmp_path / "one.pem").write_bytes(pems[0])
    own = ["-J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE", "-J-Dkeystore.pkcs12.macAlgorithm=NONE"]
    command = ["keytool", *own, "-importcert", "-noprompt", "-alias", "one", "-file", str(tmp_path / "one.pem")]
    command += ["-storetype", "pkcs12", "-storepass", "changeit", "-keystore", str(tmp_path / "store")]
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert read_java((tmp_path / "store").read_bytes()).certificates == (ders[0],)


def test_certificates_that_are_said_to_overlap_are_not_taken_apart() -> None:
    bag = bytes.fromhex("060a2a864886f70d01091601a0830fffff04830ffff0")
    with pytest.raises(Broken):
        read_java(b"\x30" + bag * 50_000)


@pytest.mark.parametrize(
    "encryption", [NoEncryption(), BestAvailableEncryption(b"changeit")], ids=["plain", "encrypted"]
)
def test_a_pkcs12_file_with_a_key_is_left_as_it_is(tmp_path: Path, encryption: KeySerializationEncryption) -> None:
    """A store that is written again has certificates alone, and the key would be lost."""
    certificate, key = Authority(tmp_path, "one").certificate, ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "key")])
    own = x509.CertificateBuilder(name, name, key.public_key(), 5, datetime(2020, 1, 1), datetime(2040, 1, 1))
    signed = own.sign(key, hashes.SHA256())
    others = [x509.load_pem_x509_certificate(certificate.read_bytes())]
    store = pkcs12.serialize_key_and_certificates(b"x", key, signed, others, encryption)
    with pytest.raises(Broken, match="with keys, or with parts that need a password"):
        read_java(store)
