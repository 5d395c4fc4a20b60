"""Channels that want a login: the daemon's user has it in rattler's file, and nobody reads it anywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab import conda_asks
from lab.conda_asks import CondaSite, ask, build_log, credentials_file, done, files, layers, lock
from lab.daemon import Daemon
from lab.written import contents

pytestmark = pytest.mark.registry

SECRET = "a-very-secret-word"


def basic(site: CondaSite) -> dict[str, object]:
    site.server.login = ("ann", SECRET)
    return {"BasicHTTP": {"username": "ann", "password": SECRET}}


def token(site: CondaSite) -> dict[str, object]:
    site.server.token = SECRET
    return {"CondaToken": SECRET}


def bearer(site: CondaSite) -> dict[str, object]:
    site.server.bearer = SECRET
    return {"BearerToken": SECRET}


def told(node: Daemon, answer: dict[str, str]) -> str:
    """Return everything that can be read about a request, and the daemon's log."""
    build = answer["buildId"]
    paths = (f"/view/builds/{build}", f"/v1alpha1/builds/{build}", f"/view/containers/{answer['requestId']}")
    forms = [lock(node, build, form) for form in ("explicit", "pixi", "conda-lock")]
    return "\n".join([build_log(node, build), node.log(), *(node.get(path).body.decode() for path in paths), *forms])


@pytest.mark.parametrize("kind", [basic, token, bearer])
def test_with_the_login(
    start_daemon: Callable[..., Daemon],
    own_site: CondaSite,
    tmp_path: Path,
    kind: Callable[[CondaSite], dict[str, object]],
) -> None:
    path = credentials_file(tmp_path / "auth.json", own_site.server.host, kind(own_site))
    node = start_daemon(settings=own_site.settings(more={"log_level": "debug"}), RATTLER_AUTH_FILE=path)
    answer = ask(node, "samtools=1.17")
    assert done(node, answer["requestId"])["succeeded"] is True
    inside = files(layers(node, answer["targetImage"]))
    assert inside["opt/conda/share/samtools/version.txt"] == b"1.17\n"
    assert SECRET not in told(node, answer)
    assert not [path for path, content in inside.items() if SECRET.encode() in content]
    assert not [path for path, content in contents(node.state) if SECRET.encode() in content]


def test_with_a_wrong_login(start_daemon: Callable[..., Daemon], own_site: CondaSite, tmp_path: Path) -> None:
    basic(own_site)
    entry = {"BasicHTTP": {"username": "ann", "password": "wrong-" + SECRET}}
    path = credentials_file(tmp_path / "auth.json", own_site.server.host, entry)
    node = start_daemon(settings=own_site.settings(more={"log_level": "debug"}), RATTLER_AUTH_FILE=path)
    message = conda_asks.why_not(node, conda_asks.post(node, "samtools=1.17"))
    assert own_site.server.host in message
    assert "refuses" in message
    assert SECRET not in message + node.log()


def test_a_login_for_another_server_is_not_shown(
    start_daemon: Callable[..., Daemon], own_site: CondaSite, tmp_path: Path
) -> None:
    path = credentials_file(tmp_path / "auth.json", "elsewhere.example", basic(own_site))
    node = start_daemon(settings=own_site.settings(), RATTLER_AUTH_FILE=path)
    answer = conda_asks.post(node, "samtools=1.17")
    assert answer.status == 403
    assert not [seen for seen in own_site.server.requests if "authorization" in seen.headers]
