"""What `pack.yaml` says: all that it may, and a sentence with its place for all that it may not."""

from __future__ import annotations

import pytest

from wavelet.image.certificate_paths import ENVIRONMENT
from wavelet.image.reference import Digest, Reference
from wavelet.packs.model import Needs, PackRefused
from wavelet.packs.reading import read_pack
from wavelet.packs.spec import (
    CertificatesSource,
    DirectorySource,
    FilesSource,
    ImageSource,
    LayerSpec,
    PackSpec,
    TarSource,
    UrlSource,
)

PLACE = "packs/trace/pack.yaml"
DIGEST = "sha256:" + "a" * 64
WHOLE = f"""
name: s3
version: "1.2"
layers:
  - directory: files
  - {{directory: ./more/, to: /opt/x, architecture: x86_64}}
  - files: {{/usr/bin/ps: bin/ps-arm64, /usr/bin/bash: bin//bash}}
    mode: "0755"
    architecture: linux/arm64
  - tar: layer.tar.zst
  - image: quay.io/x/y@{DIGEST}
  - {{url: "https://host.example/x.tar.gz", digest: "{DIGEST}"}}
env: {{A: b, EMPTY: ""}}
entrypoint: [/usr/bin/launcher, --now]
needs: {{devices: [/dev/fuse], capabilities: [CAP_SYS_ADMIN]}}
allow: [setuid]
certificates: [ca/site.pem]
"""


def read(document: str) -> PackSpec:
    return read_pack(document, PLACE, "trace")


def test_all_of_it() -> None:
    at = f"{PLACE}: layers"
    assert read(WHOLE) == PackSpec(
        "s3",
        "1.2",
        (
            LayerSpec(f"{at}[0]", DirectorySource("files")),
            LayerSpec(f"{at}[1]", DirectorySource("more", "opt/x"), "amd64"),
            LayerSpec(
                f"{at}[2]",
                FilesSource((("usr/bin/bash", "bin/bash"), ("usr/bin/ps", "bin/ps-arm64")), 0o755),
                "arm64",
            ),
            LayerSpec(f"{at}[3]", TarSource("layer.tar.zst")),
            LayerSpec(f"{at}[4]", ImageSource(Reference.parse(f"quay.io/x/y@{DIGEST}"))),
            LayerSpec(f"{at}[5]", UrlSource("https://host.example/x.tar.gz", Digest(DIGEST))),
            LayerSpec(f"{PLACE}: certificates", CertificatesSource(("ca/site.pem",))),
        ),
        (*ENVIRONMENT, "A=b", "EMPTY="),
        ("/usr/bin/launcher", "--now"),
        Needs(("/dev/fuse",), ("SYS_ADMIN",)),
        frozenset({"setuid"}),
    )
    assert read(WHOLE).architectures == {"amd64", "arm64"}


def test_certificates_of_the_site() -> None:
    spec = read("certificates: {directory: site}\nenv: {SSL_CERT_FILE: /own}")
    assert spec.layers == (LayerSpec(f"{PLACE}: certificates", CertificatesSource(is_site=True)),)
    assert spec.env == ("SSL_CERT_FILE=/own", *ENVIRONMENT[1:])


def test_a_layer_that_gives_way() -> None:
    assert read("layers: [{tar: a, keep: existing}, {tar: a}]").layers == (
        LayerSpec(f"{PLACE}: layers[0]", TarSource("a"), keeps_existing=True),
        LayerSpec(f"{PLACE}: layers[1]", TarSource("a")),
    )


def test_what_is_left_out() -> None:
    spec = read("layers: [{directory: .}]\nenv: [A=b=c]\nentrypoint: /bin/x")
    assert spec == PackSpec(
        "trace", None, (LayerSpec(f"{PLACE}: layers[0]", DirectorySource("")),), ("A=b=c",), ("/bin/x",)
    )
    assert spec.is_offline
    assert not read(WHOLE).is_offline


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("", "is not a mapping; its keys are allow, certificates,"),
        ("a: b: c", "line 1: is not YAML"),
        ("a: &x [1]\nb: *x", "line 2: aliases (*name) are not read"),
        ("layer: []", "unknown key 'layer'; layers is meant?"),
        ("zzz: []", "unknown key 'zzz'; there are allow,"),
        ("name: Trace", "name: 'Trace' is not a name"),
        ("name: ../x", "name: '../x' is not a name"),
        ("version: [1]", "version: is not a text"),
        ("layers: {}", "layers: is not a list"),
        ("layers: [x]", "layers[0]: is not a mapping"),
        ("layers: [{}]", "layers[0]: needs one of directory, files, tar, image, url"),
        ("layers: [{tar: a, url: b}]", "layers[0]: needs one of directory, files, tar, image, url, not tar and url"),
        ("layers: [{tar: a, to: /b}]", "layers[0].to: has no meaning for tar"),
        ("layers: [{url: https://x.example/a}]", "layers[0].url: needs digest: sha256:…"),
        (f"layers: [{{url: 'ftp://x/a', digest: '{DIGEST}'}}]", "layers[0].url: 'ftp://x/a' is not a URL"),
        (f"layers: [{{url: 'https://u:p@x/a', digest: '{DIGEST}'}}]", "layers[0].url: 'https://u:p@x/a' is not a URL"),
        ("layers: [{url: https://x.example/a, digest: 'sha256:12'}]", "layers[0].digest: "),
        ("layers: [{directory: ../x}]", "layers[0].directory: '../x' leads out of the directory of the pack"),
        ("layers: [{directory: /etc}]", "layers[0].directory: '/etc' is absolute"),
        ("layers: [{tar: a/../../b}]", "layers[0].tar: 'a/../../b' leads out"),
        ("layers: [{directory: x, to: opt}]", "layers[0].to: 'opt' is not absolute"),
        ("layers: [{files: {/a/../b: x}}]", "layers[0].files: '/a/../b' has `..` in it"),
        ("layers: [{files: {/a/.wh.b: x}}]", "layers[0].files: '/a/.wh.b' has a name that begins with .wh."),
        ("layers: [{files: {/a: x, //a: y}}]", "layers[0].files: '//a' is there twice"),
        ("layers: [{files: {/: x}}]", "layers[0].files: '/' is no file"),
        ("layers: [{files: {}}]", "layers[0].files: is not a mapping"),
        ("layers: [{files: {/a: x}, mode: '0999'}]", "layers[0].mode: '0999' is not a mode"),
        ("layers: [{tar: x, architecture: pdp11}]", "layers[0].architecture: unsupported"),
        ("layers: [{image: 'X Y'}]", "layers[0].image: "),
        ("layers: [{image: x.example/y:1}]", "layers[0].image: needs a digest, NAME@sha256:…: by a tag each node"),
        (f"layers: [{', '.join(['{tar: x}'] * 128)}]", "layers: 128 layers; engines mount 127 at most"),
        ("env: [A]", "env[0]: is not NAME=VALUE"),
        ("env: {A: [b]}", "env.A: is not a text"),
        ("env: {'A B': c}", "env.A B: 'A B' is not the name of a variable"),
        ("env: {WAVE_ENTRY_CHAIN: x}", "env: WAVE_ENTRY_CHAIN is set by wavelet"),
        ("entrypoint: ['']", "entrypoint[0]: is not a text"),
        ("needs: {device: x}", "needs: unknown key 'device'; devices is meant?"),
        ("needs: {devices: [/etc/passwd]}", "needs.devices: '/etc/passwd' is not a device"),
        ("needs: {capabilities: [sys_admin]}", "needs.capabilities: 'sys_admin' is not a capability"),
        ("allow: [devices]", "allow: 'devices' is not one of setuid"),
        ("certificates: [a/x.pem, b/x.pem]", "certificates[1]: b/x.pem and a/x.pem would be one file"),
        ("certificates: {directory: other}", "certificates: is a list of files of the pack, or {directory: site}"),
        ("layers: [{tar: a, keep: all}]", "layers[0].keep: is existing or left out"),
        ("name: a\nname: b", "line 2: the key 'name' is there twice"),
    ],
)
def test_refused(document: str, sentence: str) -> None:
    with pytest.raises(PackRefused) as refused:
        read(document)
    place = f"{PLACE}: " + sentence
    assert refused.value.message.startswith(place), refused.value.message
