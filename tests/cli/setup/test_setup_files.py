"""`wavelet setup docker` and `containerd`: their files below a root directory, and all of it taken back to the byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from wavelet.cli.main import main

AT = ("--authority", "127.0.0.1:21005")
URL = "http://127.0.0.1:21005"
DAEMON_JSON = '{\n    "data-root": "/srv/docker"\n}\n'
HOSTS = 'server = "https://quay.io"\n\n[host."https://cache.site.example"]\n  capabilities = ["pull"]\n'
CONFIG_2 = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/srv/certs.d:/etc/x"\n'

Setup = Callable[..., tuple[int, str, str]]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return what stands for `/`, with nothing in it, and nothing in PATH."""
    for name in ("XDG_CONFIG_HOME", "WAVELET_SOCKET", "WAVELET_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.fixture
def setup(root: Path, capsys: pytest.CaptureFixture[str]) -> Setup:
    """Return a function that runs `wavelet setup ENGINE` and returns its exit code, output and errors."""

    def run(engine: str, *arguments: str) -> tuple[int, str, str]:
        code = main(["setup", engine, "--root", str(root), *([] if "--undo" in arguments else AT), *arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def tree(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() if path.is_file() else "" for path in root.rglob("*")}


def test_docker_keeps_what_is_there_with_its_mode_behind_a_link(root: Path, setup: Setup) -> None:
    theirs = put(root / "site/daemon.json", DAEMON_JSON)
    theirs.chmod(0o600)
    link = root / "etc/docker/daemon.json"
    link.parent.mkdir(parents=True)
    link.symlink_to(theirs)
    before = tree(root)

    code, shown, _ = setup("docker", "--dry-run")
    assert code == 0
    assert f'+  "registry-mirrors": [ "{URL}" ],\n' in shown
    assert "docker.registry = '127.0.0.1:21005/quay.io'" in shown
    assert tree(root) == before

    code, said, _ = setup("docker")
    assert (code, f"{link}\n" in said) == (0, True)
    assert "Docker reads it when it starts; one that runs, by: systemctl reload docker" in said
    assert json.loads(theirs.read_text()) == {"registry-mirrors": [URL], "data-root": "/srv/docker"}
    assert (link.is_symlink(), theirs.stat().st_mode & 0o777) == (True, 0o600)
    written = theirs.stat().st_ino
    assert setup("docker")[0] == 0
    assert theirs.stat().st_ino == written, "it is not written again"
    assert f"# {link} is as it should be\n" in setup("docker", "--dry-run")[1]
    assert setup("docker", "--undo")[0] == 0
    assert tree(root) == before
    assert "nothing to remove" in setup("docker", "--undo")[1]


def test_docker_has_mirrors_for_one_registry(root: Path, setup: Setup) -> None:
    code, _, error = setup("docker", "--registry", "quay.io")
    assert (code, "Docker has mirrors for docker.io alone" in error) == (2, True)
    assert tree(root) == {}


def test_a_rootless_docker_has_a_file_of_its_user(root: Path, setup: Setup, tmp_path: Path) -> None:
    assert setup("docker", "--user")[0] == 0
    own = tmp_path / "home/.config/docker/daemon.json"
    assert json.loads(own.read_text()) == {"registry-mirrors": [URL]}
    assert setup("docker", "--user", "--undo")[0] == 0
    assert not own.exists()


@pytest.mark.parametrize(
    ("path", "engine", "said"),
    [
        ("etc/docker/daemon.json", "docker", "is not a JSON object"),
        ("etc/containerd/config.toml", "containerd", "is no TOML, and containerd does not start with it"),
        ("etc/containerd/certs.d/quay.io/hosts.toml", "containerd", "is no TOML, and containerd fails on it"),
    ],
)
def test_what_is_not_understood_is_not_touched(root: Path, setup: Setup, path: str, engine: str, said: str) -> None:
    put(root / path, "[[[")
    before = tree(root)
    code, _, error = setup(engine)
    assert (code, said in error) == (1, True)
    assert tree(root) == before


def test_containerd_has_a_file_for_each_registry_beside_what_others_have_set(root: Path, setup: Setup) -> None:
    base = root / "etc/containerd/certs.d"
    theirs = put(base / "quay.io/hosts.toml", HOSTS)
    put(base / "ghcr.io/ca.crt", "certificate")
    before = tree(root)
    asked = (
        "--registry",
        "docker.io",
        "--registry",
        "quay.io",
        "--registry",
        "ghcr.io",
        "--registry",
        "r.example:5000",
    )
    code, said, _ = setup("containerd", *asked)
    assert code == 0
    assert f"{base}/ghcr.io has ca.crt, which containerd reads only beside no hosts.toml: ghcr.io is left" in said
    written = {path.parent.name for path in base.rglob("hosts.toml") if URL in path.read_text()}
    assert written == {"docker.io", "quay.io", "r.example_5000_"}
    assert theirs.read_text().index(URL) < theirs.read_text().index("cache.site.example")
    assert setup("containerd", "--registry", "docker.io")[0] == 0
    assert {path.parent.name for path in base.rglob("hosts.toml") if URL in path.read_text()} == {"docker.io"}
    assert (theirs.read_text(), (base / "r.example_5000_").exists()) == (HOSTS, False)
    assert setup("containerd", "--undo")[0] == 0
    assert tree(root) == before


def test_the_file_for_all_registries_is_put_in_front_of_only_when_that_is_asked_for(root: Path, setup: Setup) -> None:
    base = root / "etc/containerd/certs.d"
    default = put(base / "_default/hosts.toml", HOSTS)
    _, said, _ = setup("containerd", "--registry", "quay.io")
    assert f"{default} is for every registry without a directory of its own: quay.io is left as it is" in said
    assert default.read_text() == HOSTS
    assert setup("containerd", "--registry", "_default")[0] == 0
    assert URL in default.read_text()
    assert setup("containerd", "--undo")[0] == 0
    assert tree(base) == {"_default": "", "_default/hosts.toml": HOSTS}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, '[plugins."io.containerd.cri.v1.images".registry]\n  config_path = "/etc/containerd/certs.d"\n'),
        (
            "version = 2\n",
            '[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/etc/containerd/certs.d"\n',
        ),
        (CONFIG_2, ""),
        (
            'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\nendpoint = ["https://m"]\n',
            "sets registries by mirrors, beside which containerd takes no config_path",
        ),
    ],
    ids=["none", "version 2", "set", "mirrors"],
)
def test_what_containerds_configuration_lacks_is_said(
    root: Path, setup: Setup, config: str | None, expected: str
) -> None:
    if config is not None:
        put(root / "etc/containerd/config.toml", config)
    if config == CONFIG_2:
        code, _, error = setup("containerd", "--registry", "quay.io")
        assert (code, f"{root}/srv is not there" in error) == (1, True)
        (root / "srv").mkdir()
    code, said, _ = setup("containerd", "--registry", "quay.io")
    assert code == 0
    assert expected in said
    if config == CONFIG_2:
        assert "config_path" not in said
        assert (root / "srv/certs.d/quay.io/hosts.toml").exists()


@pytest.mark.parametrize("engine", ["docker", "containerd"])
def test_whoever_may_not_write_is_told_who_may(
    root: Path, setup: Setup, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> tuple[int, str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("wavelet.cli.setup.files.tempfile.mkstemp", refused)
    code, _, error = setup(engine)
    assert code == 1
    assert "cannot be written: Permission denied; files of the node need root, and --user is for" in error


def test_the_pages_rules_are_rules(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[3] / "docs/interception.md").read_text()
    (text,) = (part.partition("\n```")[0] for part in page.split("```yaml\n")[1:])
    assert main(["rules", "check", str(put(root / "50-site.yaml", text + "\n"))]) == 0
    assert "2 rules in 1 file" in capsys.readouterr().out
