"""`wavelet doctor`: what facts mean, fact by fact; and one report of a real machine with a real daemon."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from doubles.registry import Registry
from lab.conda_channel import ChannelServer
from lab.private import Private, parse
from wavelet.cli.commands import doctor
from wavelet.cli.doctor import checks, site
from wavelet.cli.doctor.checks import Finding
from wavelet.cli.doctor.engines import Docker, Engines, Podman, Sif, podman
from wavelet.cli.doctor.facts import AuthFile, Daemon, Disk, Jobs, Server, SharedDirectory, Socket, credentials, server
from wavelet.cli.user_daemon.batch_system import batch_job, job_of_group
from wavelet.config import Settings
from wavelet.daemon_status import DaemonStatus, RulesStatus

STATUS = {"version": "1", "pid": 7, "uid": 5, "address": "127.0.0.1:21005"}
GB = 1000**3
ROOMY = Disk("/s", "ext4", 100 * GB, 50 * GB, 10**6, in_memory=False, shared=False, writable=True)
PODMAN = Podman("5.0", "127.0.0.1:9090", insecure=True)
OLD = Sif("singularity", "3.8", (3, 8), "SINGULARITY_NOHTTPS", plain_http=False)
RULES: RulesStatus = {"count": 3, "directory": "/etc/wavelet/rules.d", "problems": [], "closed": False}
REACHED = Server("a", "https://a/", 0.01, skew=1.0)
AWAY = Server("b", "https://b/", error="no route")


def levels(findings: Iterable[Finding]) -> list[str]:
    found = list(findings)
    assert all(finding.remedy for finding in found if finding.level != "ok")
    return [finding.level for finding in found]


shared = functools.partial(checks.shared, "sif files", "sif.directory")


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        (checks.daemon(Daemon(STATUS, ("x",), (), 5, "1")), ["ok"]),
        (checks.daemon(Daemon(STATUS, ("x",), (), 5, "2")), ["ok", "warning"]),
        (checks.daemon(Daemon(None, ("x", "y"), (), 5, "1")), ["problem"]),
        (checks.socket(Socket("/s", "")), ["ok"]),
        (checks.socket(Socket("/s", "absent")), ["warning"]),
        (checks.socket(Socket("/s", "Permission denied")), ["problem"]),
        (checks.disk(ROOMY), ["ok"]),
        (checks.disk(dataclasses.replace(ROOMY, free=10 * GB)), ["warning"]),
        (checks.disk(dataclasses.replace(ROOMY, free=GB)), ["problem"]),
        (checks.disk(dataclasses.replace(ROOMY, files=10)), ["problem"]),
        (checks.disk(dataclasses.replace(ROOMY, in_memory=True)), ["warning"]),
        (checks.disk(dataclasses.replace(ROOMY, shared=True)), ["problem"]),
        (checks.disk(dataclasses.replace(ROOMY, writable=False)), ["problem"]),
        (checks.engines(Engines(None, None, ())), ["warning"]),
        (checks.engines(Engines(Docker("27"), None, ())), ["ok"]),
        (checks.docker(Docker(error="permission denied while trying to connect")), ["warning"]),
        (checks.docker(Docker("27", dead_mirrors=("http://127.0.0.1:1",))), ["ok", "warning"]),
        (checks.podman(PODMAN), ["ok"]),
        (checks.podman(dataclasses.replace(PODMAN, insecure=False)), ["warning"]),
        (checks.podman(dataclasses.replace(PODMAN, unreadable=(("/f", "not TOML"),))), ["problem", "ok"]),
        (checks.sif([OLD]), ["warning"]),
        (checks.sif([dataclasses.replace(OLD, plain_http=True)]), ["ok"]),
        # Fault F1: it was said to speak http with 127.0.0.1 by itself.
        (checks.sif([dataclasses.replace(OLD, name="apptainer", release=(1, 6))]), ["warning"]),
        (checks.sif([dataclasses.replace(OLD, name="apptainer", release=(1, 6), insecure=True)]), ["ok"]),
        (checks.sif([dataclasses.replace(OLD, release=(4, 1), dead_mirror="cache:5000")]), ["ok", "problem"]),
        (checks.rules(None), []),
        (checks.rules(RULES), ["ok"]),
        (checks.rules({**RULES, "problems": ["a", "b"]}), ["problem", "problem"]),
        (checks.rules({**RULES, "count": 0, "problems": ["a"], "closed": True}), ["problem", "problem"]),
        (checks.packs({"count": 2, "problems": []}), ["ok"]),
        (checks.packs({"count": 2, "problems": ["packs/a/pack.yaml: is not there"]}), ["problem"]),
        (checks.credentials([]), ["ok"]),
        (checks.credentials([AuthFile("/f", 2, open=True)]), ["warning"]),
        (checks.credentials([AuthFile("/f", missing_helpers=("ecr",))]), ["ok", "problem"]),
        (checks.credentials([AuthFile("/f", error="not JSON"), AuthFile("/g", foreign=True)]), ["problem", "problem"]),
        (checks.upstream([REACHED, AWAY]), ["ok", "problem"]),
        (checks.upstream([AWAY]), ["warning"]),
        (checks.upstream([REACHED, dataclasses.replace(AWAY, mirrored=True)]), ["ok", "warning"]),
        (checks.clock([AWAY]), ["ok"]),
        (checks.clock([dataclasses.replace(REACHED, skew=900.0), REACHED]), ["ok"]),
        (checks.clock([dataclasses.replace(REACHED, skew=-90.0)]), ["warning"]),
        (checks.clock([dataclasses.replace(REACHED, skew=900.0)]), ["problem"]),
        (checks.jobs(Jobs(True, "Slurm job 7", "", manager=False, lingers=False)), ["warning"]),
        (checks.jobs(Jobs(False, "", "Slurm job 7", manager=False, lingers=False)), ["warning"]),
        (checks.jobs(Jobs(False, "", "Slurm job 7", manager=True, lingers=True)), ["ok"]),
        (checks.jobs(Jobs(True, "", "", manager=True, lingers=False)), ["warning"]),
        (shared(None), []),
        (shared(SharedDirectory("/r", "nfs4", shared=True, error="")), ["ok"]),
        (shared(SharedDirectory("/r", "ext4", shared=False, error="")), ["warning"]),
        (shared(SharedDirectory("/r", "nfs4", shared=True, error="this user cannot write to it")), ["problem"]),
    ],
)
def test_what_facts_mean(findings: Iterable[Finding], expected: list[str]) -> None:
    assert levels(findings) == expected


def test_what_is_to_be_run_names_the_settings_that_were_named() -> None:
    """Without them the command would read the rules of another directory."""
    found = list(checks.rules({**RULES, "problems": ["a"]}, "/srv/a b.yaml"))
    assert [each.remedy for each in found] == ["wavelet rules check --config '/srv/a b.yaml'"]


def test_batch_jobs_are_known_by_variables_and_control_groups() -> None:
    assert batch_job({"SLURM_JOB_ID": "12"}) == "Slurm job 12"
    assert batch_job({"PBS_JOBID": "9.head"}) == "PBS job 9.head"
    assert batch_job({"JOB_ID": "none"}) == ""
    first = "12:memory:/slurm/uid_1000/job_55/step_0/task_0\n"
    second = "0::/system.slice/slurmstepd.scope/job_66/step_batch/user/task_0\n"
    named = "0::/system.slice/node7_slurmstepd.scope/job_67/step_0\n"
    jobs = ["Slurm job 55", "Slurm job 66", "Slurm job 67", ""]
    assert [job_of_group(text) for text in (first, second, named, "0::/user.slice/job_1\n")] == jobs


def test_login_files_and_registries_conf_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = tmp_path / ".docker" / "config.json"
    docker.parent.mkdir()
    docker.write_text('{"auths": {"r.example": {"auth": "YTpi"}}, "credHelpers": {"q.example": "no-such"}}')
    docker.chmod(0o644)
    environment = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "none")}
    assert credentials(environment) == [AuthFile(str(docker), 1, open=True, missing_helpers=("no-such",))]

    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "podman").write_text("#!/bin/sh\necho podman version 5.4.1\n")
    (programs / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    conf = tmp_path / "registries.conf"
    environment["CONTAINERS_REGISTRIES_CONF"] = str(conf)
    conf.write_text('[[registry]]\nlocation = "127.0.0.1:21005"\ninsecure = true\n')
    seen = podman(environment, "127.0.0.1:21005")
    assert seen is not None
    assert (seen.version, seen.insecure) == ("5.4.1", True)
    conf.write_text("[[registry]\n")
    broken = podman(environment, "127.0.0.1:21005")
    assert broken is not None
    assert (broken.insecure, broken.unreadable[0][0]) == (False, str(conf))


async def test_servers_are_asked_as_the_daemon_asks_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault B1: the report follows the same rules for proxies as the daemon."""
    async with Registry() as registry:
        monkeypatch.setenv("HTTP_PROXY", registry.url)
        seen = await asyncio.to_thread(server, "a", "http://10.99.0.1/v2/", "")
        assert (seen.error, registry.requests[0].headers["Host"]) == ("", "10.99.0.1")
        assert abs(seen.skew or 99) < 5
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        away = await asyncio.to_thread(server, "a", "http://10.99.0.1/v2/", "")
        assert away.error == "its proxy: connection refused"
        monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
        direct = await asyncio.to_thread(server, "a", registry.url, "")
        assert direct.error == ""


async def test_a_site_with_mirrors_for_all_has_no_problems() -> None:
    """Fault D11: with `mirrors_only` only the mirrors are asked; without, what they stand in for is no problem."""
    with ChannelServer({"forge": Path("/nonexistent")}) as channel:
        async with Registry() as mirror:
            hosts = ("docker.io", "quay.io", "no-such-host.invalid")
            registries = {host: {"mirrors": [mirror.url]} for host in hosts}
            channels = ["https://no-such-host.invalid/forge"]
            conda = {"channels": channels, "mirrors": {channels[0]: [channel.channel("forge")]}}
            for only, expected in ((True, set()), (False, {"warning"})):
                given = {"upstream": {"registries": registries, "mirrors_only": only}, "conda": conda}
                settings = msgspec.convert(given, Settings)
                found = list(checks.upstream(await asyncio.to_thread(doctor._servers, settings)))
                assert {finding.level for finding in found} - {"ok"} == expected
                assert sum(finding.level == "ok" for finding in found) == 4, found


def test_a_machine_with_a_daemon_and_without_a_network(tmp_path: Path) -> None:
    private = Private(tmp_path / "node")
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        'conda: {base_image: "127.0.0.1:9/a/b:1", channels: ["http://127.0.0.1:9/channel"]}\n'
        'upstream: {aliases: []}\nlisten: "127.0.0.1:9"\n'
    )
    missing = private.call("doctor", "--config", str(settings), "--output", "json")
    assert missing.returncode == 1
    found = {finding["check"]: finding for finding in parse(missing.stdout)}
    assert found["daemon"]["level"] == "problem"
    assert found["upstream"]["level"] == "warning"
    assert "offline" in found["upstream"]["message"]
    try:
        private.ensure()
        done = private.call("doctor", "--config", str(settings))
    finally:
        private.end()
    assert done.returncode == 0, done.stdout
    assert f"serves http://127.0.0.1:{private.port}" in done.stdout
    assert f"for {private.directory}/state" in done.stdout


@pytest.mark.parametrize(
    ("codec", "kernel", "fits"),
    [
        ("zstd", "4.13.9-el7", False),
        ("zstd", "3.10.0-1160.el7.x86_64", False),
        ("zstd", "4.14.0", True),
        ("zstd", "6.1.0-18-amd64", True),
        ("zstd", "unknown", True),
        ("gzip", "3.10.0-1160.el7.x86_64", True),
    ],
)
def test_a_codec_that_the_kernel_does_not_know(codec: str, kernel: str, fits: bool) -> None:
    found = list(checks.codec(codec, kernel))
    assert (found == []) is fits
    assert all(kernel in finding.message and "sif.codec: gzip" in finding.remedy for finding in found)


def test_without_a_daemon_files_are_looked_at(tmp_path: Path) -> None:
    rules, pack = tmp_path / "rules.d", tmp_path / "packs" / "broken"
    rules.mkdir(mode=0o755)
    pack.mkdir(parents=True, mode=0o755)
    settings = msgspec.convert({"rules": {"directory": str(rules)}, "packs": {"directory": str(pack.parent)}}, Settings)
    (rules / "10.yaml").write_text("- {do: {env: {A: b}}}\n")
    assert site.rules_of(None, settings) == {**RULES, "count": 1, "directory": str(rules)}
    (rules / "10.yaml").write_text("- {}\n")
    said = site.rules_of(None, settings)
    assert said is not None
    assert (said["count"], said["closed"], len(said["problems"])) == (0, True, 1)
    [problem] = site.packs_of(None, settings)["problems"]  # type: ignore[index]
    assert "packs/broken/pack.yaml: is not there" in problem


def test_the_daemons_own_words_count(tmp_path: Path) -> None:
    older: DaemonStatus = {**STATUS, "packs": {"count": 3, "problems": []}}  # type: ignore[typeddict-item]
    assert site.packs_of(older, Settings()) == {"count": 3, "problems": []}
    assert site.rules_of(older, Settings()) is None
