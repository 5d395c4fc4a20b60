"""`wavelet login` and `logout`, against a registry that wants one."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from lab.command import Wavelet
from lab.grpc_site import Site
from lab.registry import PASSWORDS

pytestmark = [pytest.mark.registry, pytest.mark.conda]


@pytest.fixture(autouse=True)
def nobody_is_logged_in(wavelet: Wavelet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with no login handed over and no auth file; DOCKER_CONFIG is a new directory."""
    wavelet("logout", "--all")
    for name in ("DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)


def test_a_password_from_standard_input(wavelet: Wavelet, site: Site) -> None:
    secret = f"{site.private.host}/lab/secret:1"
    refused = wavelet("inspect", secret)
    assert refused.code == 4
    assert f"wavelet login {site.private.host}" in refused.err
    login = "login", site.private.host, "-u", "ann", "--password-stdin"
    assert wavelet(*login, stdin="wrong\n").code == 4
    said = wavelet(*login, "--lifetime", "10m", stdin=PASSWORDS["ann"] + "\n")
    assert said.code == 0
    assert PASSWORDS["ann"] not in said.out + said.err
    assert site.private.host in wavelet("login", "--list").out
    assert wavelet("inspect", secret).code == 0
    assert wavelet("logout", site.private.host).code == 0
    assert wavelet("logout", site.private.host).code == 1
    assert wavelet("login", "--list", "-o", "json").json() == []


def test_what_the_users_engines_are_logged_in_with(wavelet: Wavelet, site: Site, tmp_path: Path) -> None:
    none = wavelet("login", site.private.host)
    assert (none.code, "you have no login" in none.err) == (2, True)
    auth = base64.b64encode(f"ann:{PASSWORDS['ann']}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {site.private.host: {"auth": auth}}}))
    found = wavelet("login", site.private.host, "-o", "json").json()
    assert (found["username"], found["registry"]) == ("ann", site.private.host)
    assert wavelet("inspect", f"{site.private.host}/lab/secret:1").code == 0


def test_a_credential_helper_of_the_user(
    wavelet: Wavelet, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "docker-credential-lab"
    helper.write_text(f"#!/bin/sh\necho '{json.dumps({'Username': 'ann', 'Secret': PASSWORDS['ann']})}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {site.private.host: "lab"}}))
    assert wavelet("login", site.private.host).code == 0
    assert wavelet("inspect", f"{site.private.host}/lab/secret:1").code == 0
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {site.private.host: "absent"}}))
    said = wavelet("login", site.private.host)
    assert (said.code, "docker-credential-absent" in said.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["login"], "REGISTRY: is missing"),
        (["login", "r.example", "--password-stdin"], "--username"),
        (["login", "r.example", "-u", "ann"], "no terminal"),
        (["login", "r.example", "-u", "ann", "--password-stdin"], "the password is empty"),
        (["logout"], "--all"),
    ],
)
def test_what_is_missing_is_said(wavelet: Wavelet, arguments: list[str], words: str) -> None:
    said = wavelet(*arguments)
    assert said.code == 2
    assert words in said.err
