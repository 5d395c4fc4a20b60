"""Auth files, helpers, the site's logins; and that another user's files are read as that user, and never a link."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.config import Settings
from wavelet.image.reference import Repository
from wavelet.plan.tokens import NOBODY, Identity, Login
from wavelet.upstream import auth_files, credential_sources, credentials, helpers, read_auth_files
from wavelet.upstream.auth_files import AskHelper, AuthFileError
from wavelet.upstream.credentials import Logins

ME = Identity(uid=os.geteuid())
QUAY = Repository("quay.io", "org/team/tool")


def entry(name: str, secret: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{name}:{secret}".encode()).decode()}


def logins(**upstream: object) -> Logins:
    return Logins(msgspec.convert({"upstream": upstream}, Settings))


async def offered(own: Logins, repository: Repository, identity: Identity) -> list[tuple[Login | None, bool]]:
    """Return the logins for a repository, and whether they are for all."""
    return [(each.login, each.granted.public) async for each in own.offers(repository, identity)]


def look_up(document: object, repository: Repository) -> Login | AskHelper | None:
    return auth_files.parse(json.dumps(document)).look_up(repository)


def test_longest_path_wins() -> None:
    auths = {key: entry(key, "x") for key in ("quay.io", "quay.io/org", "quay.io/org/team", "quay.io/org/te", "quay.i")}
    assert look_up({"auths": auths}, QUAY) == Login("quay.io/org/team", "x")
    assert look_up({"auths": auths}, Repository("quay.io", "org/teams")) == Login("quay.io/org", "x")
    assert look_up({"auths": auths}, Repository("quay.io", "other/x")) == Login("quay.io", "x")
    assert look_up({"auths": auths}, Repository("quay.io.evil", "org/team/x")) is None


@pytest.mark.parametrize(
    "key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "docker.io/library", "https://docker.io/v2/"]
)
def test_names_of_docker_hub(key: str) -> None:
    assert look_up({"auths": {key: entry("a", "b")}}, Repository("docker.io", "library/busybox")) == Login("a", "b")


@pytest.mark.parametrize("key", ["localhost:5000", "http://localhost:5000", "https://localhost:5000/v1/"])
def test_forms_of_a_host(key: str) -> None:
    assert look_up({"auths": {key: entry("a", "b")}}, Repository("localhost:5000", "x")) == Login("a", "b")


def test_forms_of_an_entry() -> None:
    repository = Repository("r.example", "x")
    for written, expected in (
        ({"username": "a", "password": "b:c"}, Login("a", "b:c")),
        ({**entry("a", "b:c\0\0")}, Login("a", "b:c")),
        ({**entry("a", "b"), "identitytoken": "t"}, Login("", "t")),
        ({"email": "x@y"}, None),
        ({}, None),
        (None, None),
    ):
        assert look_up({"auths": {"r.example": written}, "HttpHeaders": {}}, repository) == expected


def test_helpers_and_stores() -> None:
    document = {
        "auths": {"https://index.docker.io/v1/": {}, "quay.io": entry("a", "b"), "old.example": {}},
        "credHelpers": {"gcr.io": "gcloud"},
        "credsStore": "desktop",
    }
    assert look_up(document, Repository("gcr.io", "x")) == AskHelper("gcloud", "gcr.io")
    assert look_up(document, QUAY) == Login("a", "b")
    assert look_up(document, Repository("docker.io", "a/b")) == AskHelper("desktop", "https://index.docker.io/v1/")
    assert look_up(document, Repository("new.example", "a/b")) == AskHelper("desktop", "new.example")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"auths":[]}', '{"auths":{"a":{}}'])
def test_broken_files(text: str) -> None:
    with pytest.raises(AuthFileError):
        auth_files.parse(text)


@given(st.text())
def test_no_secret_in_the_message_of_a_broken_file(text: str) -> None:
    document = json.dumps({"auths": {"quay.io": {"auth": "c2VjcmV0LXNlY3JldA==", "username": 5, "password": text}}})
    found = auth_files.parse(document)
    assert not found.logins
    assert found.wrong == ("its entry for 'quay.io' is left out: it is not an object with texts",)


@pytest.mark.parametrize("other", [None, {"auth": None}, {"auth": "%%"}, {"auth": 1}, [], "text", {"username": None}])
def test_an_entry_that_is_wrong_or_null_is_lost_alone(other: object) -> None:
    """Fault B9: null means absent in the JSON of others, and one bad entry voids itself only."""
    auths = {"r.example": other, "quay.io": entry("a", "b") | {"identitytoken": None, "email": None}}
    document = {"auths": auths, "credHelpers": {"gcr.io": "gcloud", "x.example": other}, "credsStore": None}
    assert look_up(document, QUAY) == Login("a", "b")
    assert look_up(document, Repository("gcr.io", "x")) == AskHelper("gcloud", "gcr.io")
    assert look_up(document, Repository("r.example", "x")) is None


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Return a function that puts `docker-credential-NAME` on the path."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def make(name: str, script: str) -> None:
        file = tmp_path / f"docker-credential-{name}"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    return make


@pytest.mark.process
def test_helper_protocol(helper: Callable[[str, str], None], tmp_path: Path) -> None:
    helper("good", f'cat > {tmp_path}/asked; echo "$1" >> {tmp_path}/asked; echo \'{{"Username":"a","Secret":"b"}}\'')
    assert helpers.ask("good", "quay.io") == Login("a", "b")
    assert (tmp_path / "asked").read_text() == "quay.ioget\n"
    helper("token", 'echo \'{"ServerURL":"x","Username":"<token>","Secret":"t"}\'')
    assert helpers.ask("token", "quay.io") == Login("", "t")
    helper("none", 'echo "credentials not found in native keychain"; exit 1')
    assert helpers.ask("none", "quay.io") is None


@pytest.mark.process
def test_helper_failures(helper: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers, "HELPER_TIMEOUT", 0.3)
    helper("fails", "echo my-secret; exit 3")
    helper("odd", "echo my-secret")
    helper("slow", "sleep 30 & sleep 30")
    started = time.monotonic()
    for name in ("fails", "odd", "slow", "missing", "../x", ""):
        with pytest.raises(helpers.HelperError) as caught:
            helpers.ask(name, "quay.io")
        assert "my-secret" not in str(caught.value)
    assert time.monotonic() - started < 5


@pytest.mark.process
def test_what_helpers_print_is_bounded(helper: Callable[[str, str], None]) -> None:
    """Fault C3: one that prints without end would fill the daemon's memory until its time is over."""
    helper("endless", "yes $$")
    started = time.monotonic()
    with pytest.raises(helpers.HelperError, match=f"answers more than {helpers.ANSWER_LIMIT} bytes"):
        helpers.ask("endless", "quay.io")
    assert time.monotonic() - started < helpers.HELPER_TIMEOUT


@pytest.mark.process
def test_a_helper_that_has_ended_has_answered(helper: Callable[[str, str], None], tmp_path: Path) -> None:
    """Fault C3: what it leaves running (an agent) may hold its output open."""
    helper("agent", f'sleep 30 & echo $! > {tmp_path}/agent; echo \'{{"Username":"a","Secret":"b"}}\'')
    started = time.monotonic()
    try:
        assert helpers.ask("agent", "quay.io") == Login("a", "b")
        assert time.monotonic() - started < helpers.HELPER_TIMEOUT
    finally:
        os.kill(int((tmp_path / "agent").read_text()), signal.SIGKILL)


@pytest.mark.process
async def test_site_logins(tmp_path: Path, helper: Callable[[str, str], None]) -> None:
    helper("cloud", 'echo \'{"Username":"h","Secret":"s"}\'')
    for name in ("all", "team", "listed"):
        (tmp_path / name).write_text(f"secret of {name}\n")
    site = logins(
        credentials=[
            {"registry": "quay.io", "username": "all", "password_file": str(tmp_path / "all")},
            {"registry": "quay.io/org/team", "username": "team", "password_file": str(tmp_path / "team")},
            {"registry": "quay.io", "username": "listed", "password_file": str(tmp_path / "listed"), "users": [7]},
            {"registry": "https://index.docker.io/v1/", "helper": "cloud"},
            {"registry": "gone.example", "username": "x", "password_file": str(tmp_path / "gone")},
        ]
    )
    team, other = Login("team", "secret of team"), Login("all", "secret of all")
    assert await offered(site, QUAY, NOBODY) == [(team, True)]
    assert await offered(site, Repository("quay.io", "x"), NOBODY) == [(other, True)]
    assert await offered(site, QUAY, Identity(uid=7)) == [(team, True), (Login("listed", "secret of listed"), False)]
    assert await offered(site, Repository("docker.io", "a/b"), NOBODY) == [(Login("h", "s"), True)]
    assert await offered(site, Repository("gone.example", "x"), NOBODY) == []
    assert await offered(site, Repository("quay.io.evil", "org/team/x"), NOBODY) == []


@pytest.mark.process
async def test_a_source_is_asked_when_its_turn_has_come(
    tmp_path: Path, helper: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is let in by the first login waits for no helper of a later one."""
    for name in ("first", "own", "last"):
        helper(name, f'echo {name} >> {tmp_path}/ran; echo \'{{"Username":"{name}","Secret":"s"}}\'')
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"credsStore": "own"}))
    monkeypatch.setattr(credential_sources, "paths_of", lambda uid: [str(file)])
    chain = logins(
        credentials=[
            {"registry": "quay.io", "helper": "first"},
            {"registry": "quay.io", "helper": "last", "users": [ME.uid]},
        ]
    )
    ran: list[str] = []
    async for each in chain.offers(QUAY, ME):
        assert each.login is not None
        ran.append(each.login.username)
        assert (tmp_path / "ran").read_text().split() == ran
    assert ran == ["first", "own", "last"]
    assert [each.granted.by async for each in chain.offers(QUAY, ME, personal=False)] == [
        "site login for quay.io",
        f"site login for quay.io, for uid {ME.uid}",
    ]
    chain.close()


async def test_what_the_client_sent_is_its_own() -> None:
    login = Login("a", "b")
    identity = Identity(uid=os.geteuid(), login=login, login_key="k")
    assert await logins().own(QUAY, identity) == [login]
    assert await logins().knows(QUAY, identity)
    assert not await logins().knows(QUAY, NOBODY)
    assert await logins().version(identity) == ""


@pytest.mark.process
async def test_all_files_count_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helper: Callable[[str, str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    helper("own", 'echo \'{"Username":"h","Secret":"s"}\'')
    files = [tmp_path / str(number) for number in range(5)]
    monkeypatch.setattr(credential_sources, "paths_of", lambda uid: [str(file) for file in files])
    own = logins()
    assert (await own.own(QUAY, ME), await own.version(ME)) == ([], "")
    files[0].write_text(json.dumps({"auths": {"quay.io": entry("a", "b")}}))
    files[1].write_text("{broken my-secret")
    files[2].write_text(json.dumps({"auths": {"quay.io/org": entry("c", "d")}, "credHelpers": {"gcr.io": "own"}}))
    files[3].symlink_to(files[0])
    os.mkfifo(files[4])
    assert await own.own(QUAY, ME) == [Login("a", "b"), Login("c", "d")]
    assert await own.own(Repository("gcr.io", "x"), ME) == [Login("h", "s")]
    first = await own.version(ME)
    assert first and first == await own.version(ME)
    files[2].unlink()
    assert await own.own(QUAY, ME) == [Login("a", "b")]
    assert await own.version(ME) != first
    logged = capsys.readouterr().out
    warnings = [line for line in logged.splitlines() if "warning" in line]
    assert len(warnings) == 2 and "my-secret" not in logged
    problems = await own.problems(QUAY, ME)
    assert len(problems) == 2 and problems[0].startswith(f"{files[1]}: it is not an auth file")
    assert problems[1] == f"{files[4]}: it is not a regular file"


async def test_a_mounted_secret_is_read_and_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C1: Kubernetes mounts a secret as a link to `..data/config.json`, and renews it by moving `..data`."""
    monkeypatch.setattr(credential_sources, "paths_of", PATHS_OF)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "mount"))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"auths": {"quay.io": entry(name, "s")}}))
    (tmp_path / "mount").mkdir()
    (tmp_path / "mount" / "config.json").symlink_to("..data/config.json")
    data = tmp_path / "mount" / "..data"
    data.symlink_to("../first")
    own = logins()
    assert Login("first", "s") in await own.own(QUAY, ME)
    before = await own.version(ME)
    data.unlink()
    data.symlink_to("../second")
    assert await own.version(ME) != before
    assert Login("second", "s") in await own.own(QUAY, ME)
    data.unlink()
    assert not {Login("first", "s"), Login("second", "s")} & set(await own.own(QUAY, ME))
    assert any("link to a file that is not there" in problem for problem in await own.problems(QUAY, ME))


def test_paths_of_a_uid_without_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C2: what the environment says counts, whether or not the user database knows the uid."""
    for name in ("XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert PATHS_OF(54321) == ["/run/user/54321/containers/auth.json"]
    monkeypatch.setenv("DOCKER_CONFIG", "/d")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", "/r/auth.json")
    assert PATHS_OF(54321)[:2] == ["/r/auth.json", "/d/config.json"]
    monkeypatch.delenv("DOCKER_CONFIG")
    monkeypatch.setenv("HOME", "/h")
    assert "/h/.docker/config.json" in PATHS_OF(54321)
    assert PATHS_OF(54320) == []


@pytest.mark.users
@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, to act as another user")
@pytest.mark.parametrize("variable", ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE"])
def test_a_uid_without_an_entry_has_logins(variable: str) -> None:
    """Fault C2: as a container runs with a uid of no name."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    program = (
        "import asyncio;from wavelet.config import Settings;from wavelet.image.reference import Repository;"
        "from wavelet.plan.tokens import Identity;from wavelet.upstream.credentials import Logins;"
        "print(asyncio.run(Logins(Settings()).own(Repository('quay.io','x'),Identity(uid=54321)))[0].username)"
    )
    try:
        file = folder / "config.json"
        file.write_text(json.dumps({"auths": {"quay.io": entry("found", "s")}}))
        for path in (folder, file):
            os.chown(path, 54321, 54321)
        environment = {variable: str(folder if variable == "DOCKER_CONFIG" else file), "PATH": os.environ["PATH"]}
        command = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "--inh-caps=+dac_read_search"]
        command += ["--ambient-caps=+dac_read_search", sys.executable, "-c", program]  # the interpreter may be root's
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment, check=False)
        assert done.stdout == "found\n", done.stderr
    finally:
        shutil.rmtree(folder)


@pytest.mark.process
async def test_a_helper_that_sleeps_holds_up_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helper: Callable[[str, str], None]
) -> None:
    """Fault C3: it is run once for all who wait, not again for a while, and named; others' files are read meanwhile."""
    monkeypatch.setattr(helpers, "HELPER_TIMEOUT", 1.0)
    monkeypatch.setattr(credentials, "HELPER_PATIENCE", 0.1)
    helper("slow", f"echo x >> {tmp_path}/runs; sleep 30")
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"credsStore": "slow", "auths": {"quay.io/org": entry("a", "b")}}))
    monkeypatch.setattr(credential_sources, "paths_of", lambda uid: [str(file)])
    own = logins()
    slow = Repository("slow.example", "x")
    waiting = [asyncio.create_task(own.own(slow, ME)) for _ in range(40)]
    started = time.monotonic()
    assert await own.knows(slow, ME), "there may be a login"
    assert await own.own(QUAY, ME) == [Login("a", "b")]
    assert time.monotonic() - started < 0.9
    assert await asyncio.gather(*waiting) == [[]] * 40
    started = time.monotonic()
    assert await own.own(slow, ME) == []
    for repository in (slow, Repository("other.example", "x")):
        assert await own.problems(repository, ME) == ["docker-credential-slow does not answer within 1 s"]
    assert time.monotonic() - started < 0.5
    assert (tmp_path / "runs").read_text() == "x\n"
    own.close()


@pytest.mark.process
async def test_a_helper_that_failed_is_asked_again_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helper: Callable[[str, str], None]
) -> None:
    monkeypatch.setattr(helpers, "FAILURE_LIFETIME", 0.0)
    helper("cloud", "exit 1")
    asking = helpers.Helpers()
    with pytest.raises(helpers.HelperError, match="exit 1"):
        await asking.ask("cloud", "quay.io")
    helper("cloud", 'echo \'{"Username":"h","Secret":"s"}\'')
    assert await asking.ask("cloud", "quay.io") == Login("h", "s")
    asking.close()


def test_paths_of_the_own_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"):
        monkeypatch.delenv(name, raising=False)
    home = pwd.getpwuid(os.geteuid()).pw_dir
    monkeypatch.setenv("HOME", home)
    usual = PATHS_OF(os.geteuid())
    assert usual == [
        f"{home}/.docker/config.json",
        f"/run/user/{os.geteuid()}/containers/auth.json",
        f"{home}/.config/containers/auth.json",
        f"{home}/.apptainer/docker-config.json",
        f"{home}/.singularity/docker-config.json",
    ]
    monkeypatch.setenv("DOCKER_CONFIG", "/d")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", "/r/auth.json")
    assert PATHS_OF(os.geteuid())[:2] == ["/r/auth.json", "/d/config.json"]
    assert PATHS_OF(54321) == []


PATHS_OF = credential_sources.paths_of
"""The real one: a fixture of this folder hides the files of whoever runs the tests."""


def test_large_and_foreign_files_are_refused(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b" " * (read_auth_files.SIZE_LIMIT + 1))
    assert read_auth_files.read(str(large), os.geteuid()) == {"path": str(large), "error": "it is too large"}
    os.truncate(large, 2)
    if os.geteuid() == 0:
        os.chown(large, 1234, -1)
    assert "another user" in (read_auth_files.read(str(large), os.geteuid() + 1) or {})["error"]
    os.chown(large, os.geteuid(), -1)
    assert "regular" in (read_auth_files.read(str(tmp_path), os.geteuid()) or {})["error"]
    large.write_bytes(b"\xff")
    assert "text" in (read_auth_files.read(str(large), os.geteuid()) or {})["error"]
    assert read_auth_files.read(str(tmp_path / "none"), os.geteuid()) is None


USER = pwd.getpwnam("nobody")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that only the user `nobody` can look into, with that user's docker configuration as its only file."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    file = folder / "config.json"
    file.write_text(json.dumps({"auths": {"quay.io": entry("theirs", "s")}, "credHelpers": {"gcr.io": "theirs"}}))
    file.chmod(0o600)
    for path in (folder, file):
        os.chown(path, USER.pw_uid, USER.pw_gid)
    monkeypatch.setattr(credential_sources, "paths_of", lambda uid: [str(file)] if uid == USER.pw_uid else [])
    yield folder
    shutil.rmtree(folder)


@pytest.mark.users
@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, to act as another user")
class TestAnotherUser:
    identity = Identity(uid=USER.pw_uid)

    async def test_files_are_read(self, home: Path) -> None:
        own = logins()
        assert await own.own(QUAY, self.identity) == [Login("theirs", "s")]
        before = await own.version(self.identity)
        (home / "config.json").write_text("{}")
        assert await own.own(QUAY, self.identity) == []
        assert before != await own.version(self.identity) != ""
        assert await own.own(QUAY, ME) == []

    async def test_their_helper_is_not_run(
        self, home: Path, helper: Callable[[str, str], None], tmp_path: Path
    ) -> None:
        helper("theirs", f'touch {tmp_path}/ran; echo \'{{"Username":"x","Secret":"y"}}\'')
        assert await logins().own(Repository("gcr.io", "x"), self.identity) == []
        assert not (tmp_path / "ran").exists()

    async def test_links_to_roots_files_give_nothing(self, home: Path, tmp_path: Path) -> None:
        secret = tmp_path / "roots"
        secret.write_text(json.dumps({"auths": {"quay.io": entry("root", "s")}}))
        secret.chmod(0o600)
        file = home / "config.json"
        for make in (file.symlink_to, file.hardlink_to):
            file.unlink()
            make(secret)
            own = logins()
            assert await own.own(QUAY, self.identity) == []
            assert await own.problems(QUAY, self.identity) == [f"{file}: Permission denied"]

    async def test_links_are_followed_with_the_users_rights(self, home: Path) -> None:
        """Fault C1: to the user's own files and to root's, which Kubernetes mounts; never to another user's."""
        file, target = home / "config.json", home / "..data"
        file.rename(target)
        file.symlink_to("..data")
        own = logins()
        before = await own.version(self.identity)
        assert await own.own(QUAY, self.identity) == [Login("theirs", "s")]
        target.write_text(json.dumps({"auths": {"quay.io": entry("new", "s")}}))
        assert await own.version(self.identity) != before
        assert await own.own(QUAY, self.identity) == [Login("new", "s")]
        os.chown(target, 0, USER.pw_gid)
        target.chmod(0o640)
        assert await logins().own(QUAY, self.identity) == [Login("new", "s")]
        os.chown(target, 1234, USER.pw_gid)
        own = logins()
        assert await own.own(QUAY, self.identity) == []
        assert await own.problems(QUAY, self.identity) == [f"{file}: it belongs to another user"]

    async def test_link_above_the_file_opens_nothing_new(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        roots = Path(tempfile.mkdtemp(dir="/tmp"))
        try:
            (roots / "config.json").write_text(json.dumps({"auths": {"quay.io": entry("root", "s")}}))
            (home / "d").symlink_to(roots)
            monkeypatch.setattr(credential_sources, "paths_of", lambda uid: [str(home / "d" / "config.json")])
            assert await logins().own(QUAY, self.identity) == []
        finally:
            shutil.rmtree(roots)

    def test_the_process_is_that_user_alone(self, tmp_path: Path) -> None:
        program = "import runpy,sys,os;m=runpy.run_path(sys.argv[1]);m['become'](65534,65534);"
        program += "print(os.getresuid(),os.getresgid(),os.getgroups())"
        command = [sys.executable, "-I", "-S", "-c", program, read_auth_files.__file__]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        assert done.stdout.split() == ["(65534,", "65534,", "65534)", "(65534,", "65534,", "65534)", "[]"]

    async def test_reader_that_fails_is_an_absent_file(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(credential_sources, "READ_TIMEOUT", 0.0001)
        assert await logins().own(QUAY, self.identity) == []


async def test_home_that_hangs_holds_up_nobody(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def hang(uid: int) -> str:
        asked.append(uid)
        time.sleep(0.5)
        return "late"

    monkeypatch.setattr(credential_sources, "READ_TIMEOUT", 0.1)
    monkeypatch.setattr(credential_sources, "fingerprint", hang)
    own = logins()
    assert await asyncio.gather(*(own.own(QUAY, ME) for _ in range(20))) == [[]] * 20
    assert asked == [ME.uid]


async def test_daemon_of_a_user_reads_nobody_elses(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stat.S_IMODE((home / "config.json").stat().st_mode) == 0o600
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    own = logins()
    identity = Identity(uid=USER.pw_uid)
    assert (await own.own(QUAY, identity), await own.version(identity)) == ([], "")


async def test_the_sites_login_for_all_writes_nothing_that_the_site_does_not_mean(tmp_path: Path) -> None:
    """A mirror could put any image under any tag that it can write."""
    password = tmp_path / "password"
    password.write_text("s")
    site = Login("robot", "s")
    somebody, frozen = Identity(uid=60_001), Repository("quay.io", "frozen/samtools")

    def with_push(push: bool) -> Logins:
        entry = {"registry": "quay.io", "username": "robot", "password_file": str(password), "push": push}
        sections = {"upstream": {"credentials": [entry]}, "freeze": {"repository": "quay.io/frozen"}}
        return Logins(msgspec.convert(sections, Settings))

    async def pushing(own: Logins, repository: Repository, identity: Identity) -> list[Login | None]:
        return [each.login async for each in own.offers(repository, identity, for_push=True)]

    own = with_push(False)
    assert await offered(own, QUAY, somebody) == [(site, True)]
    assert await pushing(own, QUAY, somebody) == await pushing(own, QUAY, NOBODY) == []
    [problem] = await own.problems(QUAY, somebody, for_push=True)
    assert "upstream.credentials says `push: true`" in problem
    assert await own.problems(QUAY, somebody) == []
    for repository, identity in ((frozen, NOBODY), (QUAY, ME), (QUAY, Identity(uid=0))):
        assert site in await pushing(own, repository, identity)
    assert await pushing(own, Repository("quay.io", "frozen-not/x"), somebody) == []
    assert await pushing(with_push(True), QUAY, somebody) == [site]
