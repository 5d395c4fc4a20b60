"""Every call, by both Python clients, against a running daemon."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
import yaml

from lab import images, nextflow
from lab.grpc_site import Run, Site
from lab.ports import free_port
from lab.processes import wait_for
from lab.registry import PASSWORDS
from wavelet.client import Client, WaveletRpcError
from wavelet.v1 import conda_pb2
from wavelet.v1.containers_pb2 import (
    CONTAINER_STATE_READY,
    PHASE_MAKING,
    PHASE_SOLVING,
    STEP_AFTER,
    STEP_STATE_DONE,
    AuthConfig,
    ContainerConfig,
    Packages,
    ResolveRequest,
)

pytestmark = [pytest.mark.registry, pytest.mark.conda]

SAMTOOLS = Packages(entries=["samtools=1.17"], channels=["conda-forge"])


def refused(run: Run, do: Any, target: str, **settings: Any) -> WaveletRpcError:
    """Make a call that has to fail and return its error."""
    with pytest.raises(WaveletRpcError) as caught:
        run(do, target, **settings)
    return caught.value


def manifest_of(site: Site, name: str) -> bytes:
    """Pull the manifest of a name, as an engine does."""
    answer = site.node.get(nextflow.manifest_path(name), Accept=", ".join(images.MANIFEST_TYPES))
    assert answer.status == 200, answer.body
    return answer.body


def test_an_image_with_something_added(site: Site, run: Run) -> None:
    config = ContainerConfig(env=["GREETING=hello"])
    made = run(lambda c: c.resolve(container_image=site.image, container_config=config), site.user)
    assert made.target_image.startswith(f"{site.node.authority}/wt/{made.token}/")
    assert made.container_image == site.image
    ready = run(lambda c: c.wait(made.token), site.user)
    assert ready.state == CONTAINER_STATE_READY
    assert ready.source_digest == site.busybox.digest
    digest = images.sha256(manifest_of(site, made.target_image))
    told = run(lambda c: c.describe(made.token), site.user)
    assert told.container.target_digest == digest
    assert told.container.target_image == made.target_image
    assert told.request.container_image == site.image
    assert told.request.container_config == config


def test_packages_from_asking_to_the_log(site: Site, run: Run) -> None:
    name = f"new-{run.__name__}"
    made = run(lambda c: c.resolve(packages=[name, "htslib"], wait=0.0), site.user)
    events = run(lambda c: c.watch(made.token), site.user)
    kinds = [event.WhichOneof("event") for event in events]
    phases = [event.phase for event in events if event.WhichOneof("event") == "phase"]
    # What has ended before the call to watch comes is told by nobody any more: two packages are solved for at once.
    if PHASE_SOLVING in phases:
        assert phases.index(PHASE_SOLVING) < phases.index(PHASE_MAKING)
    assert kinds.index("ready") == len(kinds) - 1
    counts = [(event.packages.done, event.packages.total) for event in events if event.HasField("packages")]
    assert counts[-1:] in ([(2, 2)], [])
    assert events[-1].ready.target_image == made.target_image
    assert json.loads(manifest_of(site, made.target_image))["layers"]
    assert name in run(lambda c: c.log(made.token), site.user).text
    assert f"/{name}-1.0-h0_0.conda" in run(lambda c: c.lock(token=made.token), site.user).text


def test_names_and_platforms_that_only_plans_have(site: Site, run: Run) -> None:
    made = run(lambda c: c.resolve(name="conda/samtools:1.17"), site.user)
    assert made.target_image == f"{site.node.authority}/conda/samtools:1.17"
    dry = run(lambda c: c.resolve(container_image=site.image, platforms=["linux/amd64"], dry_run=True), site.user)
    assert dry.token


def test_a_token_is_evicted(site: Site, run: Run) -> None:
    made = run(lambda c: c.resolve(container_image=site.image, container_config=ContainerConfig(cmd=["x"])), site.user)
    run(lambda c: c.evict_token(made.token), site.user)
    error = refused(run, lambda c: c.describe(made.token), site.user)
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "TOKEN_NOT_FOUND")


def test_errors_say_whose_fault_it_is(site: Site, run: Run) -> None:
    error = refused(run, lambda c: c.resolve(container_image="UPPER/Case"), site.user)
    assert (error.code, error.fault) == (grpc.StatusCode.INVALID_ARGUMENT, "caller")
    assert error.field == "containerImage"
    error = refused(
        run, lambda c: c.resolve(ResolveRequest(container_image=site.image, scan_mode="required")), site.user
    )
    assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED")
    error = refused(run, lambda c: c.inspect(f"{site.registry.host}/lab/absent:1"), site.user)
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "IMAGE_NOT_FOUND")
    error = refused(run, lambda c: c.inspect(f"127.0.0.1:{free_port()}/lab/busybox:1"), site.user)
    assert (error.code, error.fault) == (grpc.StatusCode.UNAVAILABLE, "upstream")
    error = refused(run, lambda c: c.solve(["no-such-package"]), site.user)
    assert (error.reason, error.fault) == ("UNSOLVABLE", "caller")
    assert "no-such-package" in error.message


def test_inspecting(site: Site, run: Run) -> None:
    found = run(lambda c: c.inspect(site.image), site.user)
    assert found.digest == site.busybox.digest == images.sha256(found.manifest)
    assert json.loads(found.config)["os"] == "linux"
    assert found.size >= sum(layer["size"] for layer in site.busybox.json()["layers"])


def test_watching_what_goes_to_a_registry(site: Site, run: Run) -> None:
    config = ContainerConfig(env=[f"A={run.__name__}"])
    asked = ResolveRequest(freeze=True, build_repository=f"{site.registry.host}/kept", container_config=config)
    made = run(lambda c: c.resolve(asked, packages=["samtools=1.17"], wait=0.0), site.user)
    assert made.remote and made.target_image.startswith(f"{site.registry.host}/kept:")
    events = run(lambda c: c.watch(made.token), site.user)
    after = [event.step.state for event in events if event.step.step == STEP_AFTER]
    assert after[-1] == STEP_STATE_DONE  # that it ran may have been between two looks
    sent = [event.sent for event in events if event.HasField("sent")]
    assert sent[-1].done == sent[-1].total > 0
    assert events[-1].ready.remote


def test_mirroring_says_what_would_be_sent_and_sends_it(site: Site, run: Run) -> None:
    to = f"{site.registry.host}/{run.__name__}"
    absent = f"{site.registry.host}/lab/absent:1"
    planned = run(lambda c: c.mirror([site.image], target=to, dry_run=True), site.user)[-1]
    assert (planned.done, planned.bytes.done, planned.manifests) == (True, 0, 1)
    events = run(lambda c: c.mirror([absent, site.image], target=to), site.user)
    ended = {event.index: event for event in events if event.done or event.HasField("error")}
    assert (ended[0].error.fault, ended[0].error.field) == ("caller", "")
    assert ended[1].target_image == f"{to}/lab/busybox:1"
    assert ended[1].digest == site.busybox.digest
    assert ended[1].bytes.done == ended[1].bytes.total
    error = refused(run, lambda c: c.mirror([site.image], target=f"{to}:1"), site.user)
    assert (error.code, error.field) == (grpc.StatusCode.INVALID_ARGUMENT, "target")


def test_prefetching_goes_on_after_an_image_that_fails(site: Site, run: Run) -> None:
    absent = f"{site.registry.host}/lab/absent:1"
    events = run(lambda c: c.prefetch([absent, site.image], lease=60), site.user)
    last = {event.index: event for event in events}
    assert [last[0].image, last[1].image] == [absent, site.image]
    assert last[0].error.fault == "caller"
    assert last[0].error.code == 5
    assert last[1].done
    assert last[1].digest == site.busybox.digest
    assert last[1].bytes.done == last[1].bytes.total > 0


def test_solving_and_locks(site: Site, run: Run) -> None:
    solved = run(lambda c: c.solve(SAMTOOLS), site.user)
    assert [(package.name, package.version) for package in solved.packages] == [
        ("htslib", "1.17"),
        ("samtools", "1.17"),
    ]
    assert solved.subdir == "linux-64"
    assert all(package.url.startswith(site.channel.url) and package.sha256 for package in solved.packages)
    pixi = run(lambda c: c.lock(packages=SAMTOOLS, format=conda_pb2.LOCK_FORMAT_PIXI), site.user)
    assert yaml.safe_load(pixi.text)["environments"]


def test_the_store(site: Site, run: Run) -> None:
    run(lambda c: c.prefetch([site.image]), site.user)
    listed = {image.digest: image for image in run(lambda c: c.cache_list(), site.admin)}
    assert listed[site.busybox.digest].size > 0
    blobs = run(lambda c: c.cache_list(blobs=True), site.admin)
    stats = run(lambda c: c.cache_stats(), site.user)
    assert stats.blobs == len(blobs)
    assert stats.size == sum(blob.size for blob in blobs)
    pinned = run(lambda c: c.pin(site.image), site.admin)
    assert pinned.blobs >= 3
    assert run(lambda c: c.cache_stats(), site.admin).pinned == pinned.size
    run(lambda c: c.collect(site.image), site.admin)
    assert site.busybox.digest in {image.digest for image in run(lambda c: c.cache_list(), site.admin)}
    assert run(lambda c: c.unpin(site.image), site.admin).blobs == pinned.blobs
    assert run(lambda c: c.collect(site.image), site.admin).blobs > 0


@pytest.mark.parametrize("name", ["cache_list", "pin", "unpin", "collect", "reload"])
def test_the_users_socket_is_not_for_administration(site: Site, name: str) -> None:
    with Client(site.user) as client, pytest.raises(WaveletRpcError, match="admin") as caught:
        answer = getattr(client, name)(*([["x"]] if name in ("pin", "unpin") else []))
        list(answer)
    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED


def test_the_daemon_itself(site: Site, run: Run) -> None:
    status = run(lambda c: c.status(), site.user)
    assert (status.pid, status.authority, status.admin) == (site.node.pid, site.node.authority, False)
    assert status.HasField("caller")
    assert run(lambda c: c.status(), site.admin).admin
    settings = yaml.safe_load(run(lambda c: c.settings(), site.admin).yaml)
    assert settings["conda"]["channel_alias"] == site.channel.url
    assert list(run(lambda c: c.reload(), site.admin).changed) == []


def test_a_login_opens_what_is_private(site: Site, run: Run) -> None:
    secret = f"{site.private.host}/lab/{run.__name__}:1"
    error = refused(run, lambda c: c.inspect(secret), site.user)
    assert error.fault == "caller"
    error = refused(run, lambda c: c.login(site.private.host, "ann", "wrong"), site.user)
    assert error.code is grpc.StatusCode.PERMISSION_DENIED
    assert run(lambda c: c.login(site.private.host, "ann", PASSWORDS["ann"], lifetime=60), site.user).HasField(
        "expiration"
    )
    try:
        assert run(lambda c: c.inspect(secret), site.user).digest == site.busybox.digest
        held = run(lambda c: c.logins(), site.user).logins
        assert [(login.registry, login.username) for login in held] == [(site.private.host, "ann")]
    finally:
        assert run(lambda c: c.logout(site.private.host), site.user).count == 1
    assert not run(lambda c: c.logins(), site.user).logins
    auth = AuthConfig(username="ann", password=PASSWORDS["ann"])
    try:
        assert run(lambda c: c.inspect(secret, auth=auth), site.user).digest == site.busybox.digest
    finally:
        run(lambda c: c.logout(), site.user)


def test_a_deadline_leaves_the_work_running(site: Site, run: Run) -> None:
    fault = site.channel.fault(r"slow-.*\.conda", stall=100)
    made = run(lambda c: c.resolve(packages=[f"slow-{run.__name__}"], wait=0.0), site.user)
    error = refused(run, lambda c: c.wait(made.token), site.user, timeout=1.0)
    assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert fault.hits == 1
    site.channel.clear_faults()
    assert run(lambda c: c.wait(made.token), site.user, timeout=20).state == CONTAINER_STATE_READY


def test_who_goes_away_ends_what_nobody_else_wants(site: Site) -> None:
    fault = site.channel.fault(r"unwanted-.*\.conda", stall=100)
    with Client(site.user) as client:
        token = client.resolve(packages=["unwanted-blocking"], wait=0.0).token
        events = client.watch(token)
        wait_for(lambda: next(events) is not None and fault.hits == 1, "the fetch", 10)
        assert client.status().jobs > 0
        events.close()
        wait_for(lambda: client.status().jobs == 0, "the end of the work", 10)
    site.channel.clear_faults()
