"""`wavelet doctor` on interception: what is set up, what counts instead, and who is not reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from wavelet.cli.doctor import checks
from wavelet.cli.doctor.engines import Docker
from wavelet.cli.doctor.interception import (
    Interception,
    Overridden,
    of_containerd,
    of_docker,
    of_registries_conf,
)
from wavelet.cli.main import main
from wavelet.cli.setup.plan import Asked

AT = "127.0.0.1:21005"
URL = f"http://{AT}"
SET_UP = Interception("podman", ("quay.io",))


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Return whose files are looked at: those of a home and a root of the test's."""
    for name in ("XDG_CONFIG_HOME", "CONTAINERS_REGISTRIES_CONF", "WAVELET_SOCKET", "WAVELET_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "root").mkdir()
    return Asked(AT, (), of_node=True, root=tmp_path / "root", environment={"HOME": str(tmp_path / "home")})


@pytest.fixture
def setup(asked: Asked) -> Callable[..., None]:
    """Return a function that runs `wavelet setup` there."""

    def run(engine: str, *arguments: str) -> None:
        assert main(["setup", engine, "--root", str(asked.root), "--authority", AT, *arguments]) == 0

    return run


@pytest.mark.parametrize(
    ("seen", "levels", "said"),
    [
        (Interception("podman"), [], ""),
        (SET_UP, ["ok"], "asks wavelet first for images of quay.io"),
        (replace(SET_UP, reached=False), ["warning"], "nobody answers there, and it asks the registries"),
        (replace(SET_UP, engine="apptainer", falls_back=False), ["ok"], "they fail while it is down"),
        (replace(SET_UP, falls_back=False, reached=False), ["problem"], "it cannot pull them"),
        (replace(SET_UP, overridden=(Overridden("docker.io", "/f"),)), ["warning", "ok"], "set up: /f counts"),
        (Interception("docker", pending="systemctl reload docker"), ["warning"], "not yet: systemctl reload docker"),
    ],
)
def test_what_it_means(seen: Interception, levels: list[str], said: str) -> None:
    found = list(checks.interception([seen], AT))
    assert [each.level for each in found] == levels
    assert said in "\n".join(each.message for each in found)
    assert all(each.remedy for each in found if each.level != "ok")


def test_podman_is_judged_by_the_entry_that_counts(asked: Asked, setup: Callable[..., None], tmp_path: Path) -> None:
    def seen() -> Interception:
        return of_registries_conf("podman", asked, reached=True)

    assert seen() == Interception("podman")
    setup("podman", "--registry", "docker.io", "--registry", "quay.io")
    assert seen() == Interception("podman", ("docker.io", "quay.io"))
    later = tmp_path / "home/.config/containers/registries.conf.d/zz-site.conf"
    later.write_text(
        '[[registry]]\nlocation = "docker.io"\n[[registry]]\nprefix = "quay.io/lab"\nlocation = "lab.example"\n'
    )
    others = (Overridden("docker.io", str(later)), Overridden("quay.io/lab", str(later)))
    assert seen() == Interception("podman", ("quay.io",), others)


def test_a_users_own_setup_takes_the_place_of_the_nodes(asked: Asked, setup: Callable[..., None]) -> None:
    setup("podman", "--system", "--registry", "quay.io")
    setup("podman", "--authority", "127.0.0.2:21005", "--registry", "quay.io")
    assert of_registries_conf("podman", replace(asked, authority="127.0.0.2:21005"), reached=True) == Interception(
        "podman", ("quay.io",)
    )


def test_a_users_main_file_hides_what_the_node_has(asked: Asked, setup: Callable[..., None], tmp_path: Path) -> None:
    setup("podman", "--system", "--registry", "quay.io")
    own = tmp_path / "home/.config/containers/registries.conf"
    own.parent.mkdir(parents=True)
    own.write_text("")
    found = of_registries_conf("podman", asked, reached=True)
    assert found == Interception("podman", overridden=(Overridden("quay.io", str(own)),))


def test_docker_is_judged_by_what_it_has_now(asked: Asked) -> None:
    assert of_docker(asked, Docker("27", mirrors=(f"{URL}/", "https://m/")), reached=True).registries == ("docker.io",)
    behind = of_docker(asked, Docker("27", mirrors=("https://m/", f"{URL}/")), reached=True)
    assert behind.overridden == (Overridden("docker.io", "the mirror https://m before it"),)


def test_a_docker_that_has_not_read_its_file_is_told_to(asked: Asked, setup: Callable[..., None]) -> None:
    setup("docker")
    found = of_docker(asked, Docker("27"), reached=True)
    assert (found.registries, found.pending) == ((), "systemctl reload docker")


def test_containerd_is_judged_by_the_first_host_and_its_configuration(asked: Asked, setup: Callable[..., None]) -> None:
    setup("containerd", "--registry", "docker.io", "--registry", "quay.io")
    first = asked.root / "etc/containerd/certs.d/docker.io/hosts.toml"
    first.write_text('[host."https://m"]\n' + first.read_text())
    found = of_containerd(asked, reached=True)
    assert found.registries == ("quay.io",)
    assert found.overridden == (Overridden("docker.io", f"{first}, which has https://m before it"),)
    assert "does not say where these files lie" in found.pending
    (asked.root / "etc/containerd/config.toml").write_text(
        'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n'
    )
    assert of_containerd(asked, reached=True).pending == ""
