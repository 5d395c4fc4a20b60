"""Drop-ins, where each value came from, what can be shown, and what a change means."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from wavelet.cli.commands.settings import reference
from wavelet.config import ConfigError, Settings, Source, load, settings_yaml
from wavelet.config.changes import changed, is_live
from wavelet.config.keys import doubtful_variables, leaf_keys, live_keys, words_of
from wavelet.config.source import usual_file
from wavelet.reload.trial import check


class Place:
    """A directory with settings."""

    def __init__(self, root: Path) -> None:
        self.file = root / "config.yaml"
        self.drop_ins = root / "config.d"

    def write(self, text: str, drop_in: str = "") -> Path:
        path = self.drop_ins / drop_in if drop_in else self.file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def source(self, **environment: str) -> Source:
        return Source(self.file, environment, {"state": "/s"})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_drop_ins_are_joined_in_the_order_of_their_names(place: Place) -> None:
    place.write("store: {limit: 1GB, lease: 1}\nhosts: [a, b]\nupstream: {registries: {one: {concurrency: 1}}}\n")
    place.write("store: {limit: 3GB}\n", "20.yaml")
    place.write(
        "store: {limit: 2GB, retention: 2}\nhosts: [c]\nupstream:\n  registries:\n    two: {concurrency: 2}\n"
        "    one: {plain_http: true}\n",
        "10.yaml",
    )
    for ignored in ("notes.txt", ".hidden.yaml", "30.yaml~"):
        place.write("no: settings", ignored)
    settings = place.source().read()
    assert (settings.store.limit, settings.store.lease, settings.store.retention) == ("3GB", 1, 2)
    assert settings.hosts == ("c",)
    registries = settings.upstream.registries
    assert (registries["one"].concurrency, registries["one"].plain_http, registries["two"].concurrency) == (1, True, 2)
    assert place.source(WAVELET_STORE_LIMIT="4GB").read().store.limit == "4GB"
    assert load(place.file, {"WAVELET_UPSTREAM_REGISTRIES": "{}"}, {}).upstream.registries == {}


def test_drop_ins_alone_are_enough_and_nothing_at_all_is_not(place: Place) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: cannot be read"):
        place.source().read()
    place.write("log_level: debug", "a.yaml")
    assert place.source().read().log_level == "debug"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stor: {}", "unknown key `stor`; did you mean `store`"),
        ("store: {limits: 1}", "unknown key `store.limits`; did you mean `store.limit`"),
        ("store: {lease: x}", "store.lease: expected a number, got a text"),
        ("store: {limit: x}", "store.limit: 'x' is not a size"),
        ("store: [1]", "store: holds no mapping of settings"),
        ("log_level: bogus", "log_level: 'bogus' is not one of debug, info, warning, error"),
        ("conda: {engine: lxc}", "conda.engine: 'lxc' is not one of auto, docker, podman, namespace, none"),
        (
            "upstream: {registries: {q.io: {credentials: no}}}",
            ".q.io.credentials: 'no' is not one of when-refused, always",
        ),
        ("upstream: {registries: {q: {concurrency: 0}}}", "upstream.registries.q.concurrency: expected a whole number"),
        ("[", "is not YAML"),
    ],
)
def test_what_is_wrong_in_a_drop_in_names_its_file(place: Place, text: str, says: str) -> None:
    place.write("store: {limit: 1GB, lease: 3}\nupstream: {registries: {q: {concurrency: 1}}}")
    path = place.write(text, "10.yaml")
    place.write("store: {retention: 5}", "20.yaml")
    with pytest.raises(ConfigError) as raised:
        place.source().read()
    assert raised.value.message.startswith(f"{path}: ")
    assert says in raised.value.message


def test_a_wrong_variable_is_named_and_a_doubtful_one_can_be(place: Place) -> None:
    place.write("")
    with pytest.raises(ConfigError, match=r"^WAVELET_STORE_LEASE: store\.lease: "):
        place.source(WAVELET_STORE_LEASE="-1").read()
    with pytest.raises(ConfigError, match=r"^WAVELET_LISTEN: listen: "):
        place.source(WAVELET_LISTEN="[::]:1").read()
    said = doubtful_variables(["WAVELET_STORE_LIMITS", "WAVELET_LISTEN", "WAVELET_CONFIG", "WAVELET_CI", "STORE"])
    assert said == ["WAVELET_STORE_LIMITS is not a setting and counts for nothing; did you mean WAVELET_STORE_LIMIT?"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("WAVELET_CONDA__X", ""),
        ("WAVELET_CONDA__ENGINE", "; did you mean WAVELET_CONDA_ENGINE?"),
        ("WAVELET_CONDA", ""),
        ("WAVELET_STORE_SIZE_OF_IT", ""),
        ("WAVELET_UPSTREAM_TAG_TLL", "; did you mean WAVELET_UPSTREAM_TAG_TTL?"),
    ],
)
def test_a_variable_that_looks_like_a_setting_is_warned_of(name: str, hint: str) -> None:
    assert doubtful_variables([name]) == [f"{name} is not a setting and counts for nothing{hint}"]


def test_variables_of_the_command_of_images_and_of_kubernetes_are_not_doubted() -> None:
    ours = ["SOCKET", "PRIVATE_DIRECTORY", "PRIVATE_PORT", "CONFIG", "PATH", "ACTIVATED", "CI", "SEED", "SHARED"]
    theirs = ["SERVICE_HOST", "SERVICE_PORT", "PORT", "PORT_9090_TCP_ADDR"]
    assert doubtful_variables([f"WAVELET_{name}" for name in (*ours, *theirs)]) == []


def test_each_value_knows_where_it_came_from(place: Place) -> None:
    place.write("store: {limit: 1GB, lease: 1}\nhosts: [a]\nconda:\n")
    drop_in = place.write("store: {lease: 2}\nupstream: {registries: {q: {mirrors: [m]}}}", "a.yaml")
    assert place.source(WAVELET_HOSTS="[]").origins() == {
        "hosts": "WAVELET_HOSTS",
        "state": "--state",
        "store.lease": str(drop_in),
        "store.limit": str(place.file),
        "upstream.registries.q.mirrors": str(drop_in),
    }


def test_the_usual_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert usual_file(environment | {"WAVELET_CONFIG": "/c.yaml"}) == Path("/c.yaml")
    (tmp_path / "wavelet" / "config.d").mkdir(parents=True)
    assert usual_file(environment) == tmp_path / "wavelet" / "config.yaml"
    assert Source(None, environment, {}).read() == Settings()


def test_what_is_shown_can_be_read_again_and_holds_no_login(place: Place) -> None:
    place.write(
        "conda:\n  channels: ['https://u:secret@a.example/c', 'https://b.example/t/tk-secret/c']\n"
        "  mirrors: {'https://u:secret@a.example': [x]}\nrecords: {directory: /shared}\n"
    )
    settings = place.source().read()
    shown = settings_yaml(settings)
    assert "secret" not in shown
    assert "https://***@a.example/c" in shown
    place.write(settings_yaml(Settings()))
    assert load(place.file, {}, {}) == Settings()
    assert list(yaml.safe_load(shown))[:2] == ["listen", "allow_remote"]


def test_changes_are_named_by_key() -> None:
    one = load(None, {}, {"store.limit": "1GB"})
    assert changed(one, one) == []
    tls = {"tls.listen": "127.0.0.1:1", "tls.certificate": "c", "tls.key": "k"}
    other = load(None, {}, {"hosts": ["a"], **tls})
    assert changed(one, other) == ["hosts", "store.limit", "tls.certificate", "tls.key", "tls.listen"]
    assert [key for key in changed(one, other) if not is_live(key)] == ["tls.listen"]


def test_which_keys_are_live() -> None:
    known = {".".join(key) for key in leaf_keys()}
    live = {".".join(key) for key in live_keys()}
    sections = ("store.", "hosted.", "upstream.", "conda.", "freeze.", "sif.", "rules.", "packs.")
    others = {"hosts", "engine_uids", "http_root", "tls.certificate", "tls.key", "log_format", "log_level"}
    assert live == {key for key in known if key.startswith(sections)} - {"conda.workers"} | others | {
        "grace_period",
        "records.lifetime",
    }
    assert all(is_live(key) == (key in live) for key in known)
    assert not any(is_live(key) for key in ("listen", "state", "authority", "records.directory", "conda.workers"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"upstream.registries": {"q": {"mirrors": ["not a url"]}}},
        {"upstream.registries": {"q": {"ca_file": "/nowhere"}}},
        {"conda.base_image": "NOT A REFERENCE"},
        {"conda.channel_alias": "ftp://x"},
        {"tls.listen": "127.0.0.1:1", "tls.certificate": "/nowhere", "tls.key": "/nowhere"},
    ],
)
def test_what_only_a_daemon_would_find_can_be_checked(wrong: dict[str, object]) -> None:
    check(Settings())
    with pytest.raises(ConfigError):
        check(load(None, {}, wrong))


def test_the_reference_has_every_key() -> None:
    page = reference()
    assert all(f"| `{'.'.join(key)}` |" in page for key in leaf_keys())
    assert "| `store.limit` | `WAVELET_STORE_LIMIT` |" in page


def test_the_reference_has_the_words_that_a_setting_takes() -> None:
    rows = {row.split("`")[1]: row for row in reference().splitlines() if row.startswith("| `")}
    for key in filter(words_of, leaf_keys()):
        assert all(f"`{word}`" in rows[".".join(key)] for word in words_of(key))
    assert "one of `debug`, `info`, `warning`, `error`" in rows["log_level"]
    assert "one of `when-refused`, `always`" in rows["credentials"]
