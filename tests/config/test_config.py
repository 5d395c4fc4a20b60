"""Settings: the file, the environment over it, the command line over both; what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.config import ConfigError, Settings, join_address, load, parse_size, split_address


def from_file(tmp_path: Path, text: str, **environment: str) -> Settings:
    path = tmp_path / "wavelet.yaml"
    path.write_text(text)
    return load(path, environment, {})


def test_without_anything_the_defaults_hold() -> None:
    settings = load(None, {}, {})
    assert settings.listen == "127.0.0.1:9090"
    assert settings.name_authority == settings.listen
    assert settings.listens_on_loopback()
    assert settings.upstream.tag_ttl == 300
    assert settings.upstream.aliases[0].instead == "quay.io/biocontainers"


def test_the_environment_is_over_the_file_and_the_command_line_over_both(tmp_path: Path) -> None:
    path = tmp_path / "wavelet.yaml"
    path.write_text("listen: 127.0.0.1:1\nstate: /file\nstore: {limit: 1GB, lease: 5}\n")
    environment = {"WAVELET_LISTEN": "127.0.0.1:2", "WAVELET_STORE_LIMIT": "2GB", "OTHER": "x", "WAVELET_CI": "1"}
    settings = load(path, environment, {"listen": "127.0.0.1:3"})
    assert settings.listen == "127.0.0.1:3"
    assert settings.state_directory == Path("/file")
    assert settings.store.limit == "2GB"
    assert settings.store.lease == 5


def test_the_environments_forms() -> None:
    environment = {
        "WAVELET_UPSTREAM_TAG_TTL": "0.5",
        "WAVELET_RESERVED_NAMES": "false",
        "WAVELET_ENGINE_UIDS": "[1, 2]",
        "WAVELET_LISTEN": "[::1]:9090",
        "WAVELET_STATE": "",
        "WAVELET_UPSTREAM_REGISTRIES": '{"quay.io": {"mirrors": ["http://cache:5000"]}}',
        "WAVELET_TLS_LISTEN": "127.0.0.1:9443",
        "WAVELET_TLS_CERTIFICATE": "/c",
        "WAVELET_TLS_KEY": "/k",
    }
    settings = load(None, environment, {})
    assert settings.upstream.tag_ttl == 0.5
    assert settings.reserved_names is False
    assert settings.engine_uids == (1, 2)
    assert settings.listen == "[::1]:9090"
    assert settings.upstream.registries["quay.io"].mirrors == ("http://cache:5000",)
    assert settings.tls is not None
    assert settings.tls.key == "/k"


def size_of(settings: Settings) -> int:
    return parse_size(settings.store.limit, "store.limit")


@pytest.mark.parametrize("limit", ["1000000", "1 MB"])
def test_a_size_may_be_a_plain_number(limit: str, tmp_path: Path) -> None:
    assert size_of(load(None, {"WAVELET_STORE_LIMIT": limit}, {})) == 1_000_000
    assert size_of(from_file(tmp_path, f"store: {{limit: {limit}}}")) == 1_000_000


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("lisen: x", "listen"),
        ("store: {limits: 1GB}", "store.limit"),
        ("upstream: {tag_tll: 1}", "upstream.tag_ttl"),
        ("tag_ttl: 1", "upstream.tag_ttl"),
        ("tls: {listen: '127.0.0.1:1', certificat: c, key: k}", "tls.certificate"),
        ("upstream: {registries: {quay.io: {mirors: []}}}", "upstream.registries.quay.io.mirrors"),
        ("upstream: {credentials: [{registry: a, usrname: b}]}", "upstream.credentials.*.username"),
        ("upstream: {credential: []}", "upstream.credentials"),
    ],
)
def test_an_unknown_key_suggests_a_near_one(tmp_path: Path, text: str, near: str) -> None:
    with pytest.raises(ConfigError, match=rf"wavelet\.yaml: .*did you mean `{near}`\?"):
        from_file(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "wavelet.yaml: line 2: is not YAML"),
        ("a: &x 1\nb: *x", "line 2: aliases"),
        ("a: &x [1]\n<<: *x", "aliases"),
        ("hosts: " + "[" * 50, "nested"),
        ("listen: 127.0.0.1:1\nlisten: 127.0.0.1:2", "is there twice"),
        ("- a", "holds no mapping"),
        ("text", "holds no mapping"),
        ("zzzz: 1", "unknown key `zzzz`$"),
        ("sif: {directory: sif}", r"sif.directory: 'sif' is not an absolute path"),
        ("sif: {limit: much}", r"sif.limit: 'much' is not a size"),
        ("sif: {codec: xz}", r"sif.codec"),
        ("engine_uids: 5", r"engine_uids: expected a list"),
        ("engine_uids: [-5]", r"engine_uids: a uid"),
        ("engine_uids: [4294967295]", r"engine_uids: a uid"),
        (
            "upstream: {credentials: [{registry: a, helper: b, users: [-1]}]}",
            r"upstream\.credentials\[0\]\.users: a uid",
        ),
        (
            "grpc: {tls: {listen: '127.0.0.1:1', certificate: c, key: k, client_ca: a, uid: 4294967295}}",
            r"grpc\.tls\.uid: a uid",
        ),
        ("reserved_names: maybe", r"reserved_names: expected true or false"),
        ("grace_period: inf", r"grace_period: has to be a finite number"),
        ("authority: http://x", r"authority: 'http://x' is not HOST:PORT"),
        ("hosts: [a/b]", r"hosts: 'a/b' is not a host name"),
        ("store: {lease: -1}", r"store\.lease: expected a number >"),
        ("store: {limit: much}", r"store\.limit: 'much' is not a size"),
        ("log_level: loud", r"log_level"),
        ("listen: here", r"listen: 'here' is not ADDRESS:PORT"),
        ("tls: {listen: x, certificate: c, key: k}", r"tls\.listen"),
        ("tls: {listen: '127.0.0.1:1'}", "certificate"),
        ("upstream: {layer_limit: x}", r"upstream\.layer_limit"),
        ("upstream: {inflated_limit: -1}", r"upstream\.inflated_limit"),
        ("upstream: {inflated_limit: 1GB}", r"upstream\.inflated_limit: is less than upstream\.layer_limit"),
        ("upstream: {credentials: [{registry: a}]}", r"upstream\.credentials\[0\]: needs either"),
        ("tls: {listen: '127.0.0.1:9090', certificate: c, key: k}", r"tls\.listen: is the address of `listen`"),
        ("tls: {listen: '127.0.0.1:1', certificate: '', key: k}", r"tls\.certificate: names no file"),
        ("listen: 0.0.0.0:1", r"wavelet\.yaml: listen: other machines reach.*allow_remote: true"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        from_file(tmp_path, text)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "absent.yaml", {}, {})
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "binary", {}, {})


@pytest.mark.parametrize("text", ["", "store:\n", "store:\nlisten: 127.0.0.1:1\n"])
def test_an_empty_file_or_section_is_filled_by_the_environment(tmp_path: Path, text: str) -> None:
    assert from_file(tmp_path, text, WAVELET_STORE_LIMIT="3GB").store.limit == "3GB"


def test_the_environment_over_something_that_is_no_section_is_an_error_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="store"):
        from_file(tmp_path, "store: [1]", WAVELET_STORE_LIMIT="3GB")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("5", 5),
        ("5B", 5),
        ("1.5k", 1500),
        ("1 KiB", 1024),
        ("2GB", 2 * 1000**3),
        ("2gib", 2 * 1024**3),
        ("1Ti", 1024**4),
        (" 1M ", 1000**2),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text, "k") == size


@given(st.text(max_size=8))
def test_any_text_is_a_size_or_refused_with_its_key(text: str) -> None:
    try:
        assert parse_size(text, "the.key") >= 0
    except ConfigError as error:
        assert error.field == "the.key"
        assert error.message.startswith("the.key: ")


@given(st.ip_addresses(), st.integers(0, 65535))
def test_an_address_is_written_as_it_is_read(address: object, port: int) -> None:
    assert split_address(join_address(str(address), port), "k") == (str(address), port)


@pytest.mark.parametrize(
    "text", ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "::1", "host:1", ":1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match="k: "):
        split_address(text, "k")


@pytest.mark.parametrize(
    ("listen", "local"),
    [("127.0.0.1:1", True), ("127.1.2.3:1", True), ("[::1]:1", True), ("localhost:1", True), ("0.0.0.0:1", False)],
)
def test_who_can_reach_the_listener(listen: str, local: bool) -> None:
    assert load(None, {}, {"listen": listen, "allow_remote": not local}).listens_on_loopback() is local


def test_a_listener_with_tls_may_be_anywhere(tmp_path: Path) -> None:
    settings = from_file(tmp_path, "tls: {listen: '0.0.0.0:1', certificate: c, key: k}")
    assert settings.tls is not None


def test_where_state_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert load(None, {}, {}).state_directory == tmp_path / "wavelet"
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert load(None, {}, {}).state_directory == Path("/var/lib/wavelet")
    assert load(None, {}, {"state": str(tmp_path)}).state_directory == tmp_path
