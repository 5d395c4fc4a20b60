"""The TLS listener: certificates on both sides, and one identity for all of its clients."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
from pathlib import Path

import grpc
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from doubles.grpc_door import open_door
from wavelet.client import AsyncClient, Tls, WaveletRpcError
from wavelet.config import ConfigError, GrpcTls

IMAGE = "quay.io/team/tool:1"
NO_LOGIN = "is not for callers without a uid"


class Authority:
    """Signs certificates for 127.0.0.1."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.path = directory / f"{name}.pem"
        self.path.write_bytes(_pem(self._sign(self.name, self.key, ca=True)))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return the files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate, private = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        certificate.write_bytes(_pem(self._sign(subject, key, ca=False)))
        form = serialization.PrivateFormat.PKCS8
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return certificate, private

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(names, critical=False)
            .sign(self.key, hashes.SHA256())
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def settings_of(authority: Authority, uid: int | None = None) -> GrpcTls:
    certificate, key = authority.issue("daemon")
    files = str(certificate), str(key), str(authority.path)
    return GrpcTls(listen="127.0.0.1:0", certificate=files[0], key=files[1], client_ca=files[2], uid=uid)


@pytest.mark.parametrize("uid", [None, 4242])
async def test_clients_are_one_identity(tmp_path: Path, uid: int | None) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("client")
    tls = Tls.read(ca=authority.path, certificate=certificate, key=key)
    async with contextlib.AsyncExitStack() as stack:
        door = await stack.enter_async_context(open_door(tmp_path, daemon_uid=0, tls=settings_of(authority, uid)))
        async with AsyncClient(door.serving.tls_address, tls=tls) as client:
            seen = await client.status()
            assert (seen.caller if seen.HasField("caller") else None, seen.admin) == (uid, False)
            answer = await client.resolve(container_image=IMAGE)
            assert (await client.describe(answer.token)).principal == ("anonymous" if uid is None else f"uid:{uid}")
            with pytest.raises(WaveletRpcError, match="is for administration"):
                await client.reload()
            if uid is None:
                with pytest.raises(WaveletRpcError, match=NO_LOGIN) as refused:
                    await client.login("quay.io", "ann", "secret")
                assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED


async def test_a_client_of_another_authority_gets_no_connection(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path, "authority"), Authority(tmp_path, "other")
    certificate, key = other.issue("stranger")
    tls = Tls.read(ca=authority.path, certificate=certificate, key=key)
    async with contextlib.AsyncExitStack() as stack:
        door = await stack.enter_async_context(open_door(tmp_path, tls=settings_of(authority)))
        async with AsyncClient(door.serving.tls_address, tls=tls, timeout=5.0) as client:
            with pytest.raises(WaveletRpcError) as refused:
                await client.status()
    assert refused.value.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


async def test_a_missing_file_and_a_wrong_key_are_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("daemon")
    usable = GrpcTls(listen="127.0.0.1:0", certificate=str(certificate), key=str(key), client_ca=str(authority.path))
    with pytest.raises(ConfigError, match=r"grpc\.tls\.key: .*nonesuch cannot be read"):
        async with open_door(tmp_path, tls=msgspec.structs.replace(usable, key=str(tmp_path / "nonesuch"))):
            pass
    key.write_text("no key")
    with pytest.raises(ConfigError, match=r"grpc\.tls: .* cannot be used"):
        async with open_door(tmp_path, tls=usable):
            pass
