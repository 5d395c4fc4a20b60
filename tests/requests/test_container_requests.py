"""Container requests at a running daemon: pending, ready, failed; restarts, and eviction."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import re
import time
from collections.abc import Callable
from typing import Any

from doubles.registry import Registry, small_layer
from lab.daemon import Daemon
from lab.http import Answer, request
from lab.images import Layer

SUBMIT = "/v1alpha2/container"
WRITTEN_SECONDS = 10.0


async def ask(daemon: Daemon, method: str, path: str, body: Any = None) -> Answer:
    data = b"" if body is None else json.dumps(body).encode()
    return await asyncio.to_thread(request, method, daemon.url + path, body=data)


async def submit(daemon: Daemon, image: str, **members: Any) -> Any:
    answer = await ask(daemon, "POST", SUBMIT, {"containerImage": image} | members)
    assert answer.status == 200, answer.body
    return answer.json()


async def status(daemon: Daemon, token: str) -> Any:
    return (await ask(daemon, "GET", f"{SUBMIT}/{token}/status")).json()


async def until(daemon: Daemon, token: str, seconds: float = 15) -> Any:
    """Return the status once the request is decided."""
    async with asyncio.timeout(seconds):
        while (found := await status(daemon, token))["status"] != "DONE":
            await asyncio.sleep(0.05)
    return found


async def test_an_upstream_that_takes_its_time_is_pending_first(registry: Registry, daemon: Daemon) -> None:
    fault = registry.fault("/manifests/", delay=3.0, times=1)
    asked = await submit(daemon, f"{registry.host}/lab/tool:1")
    assert asked.get("succeeded") is None
    assert (await status(daemon, asked["requestId"]))["status"] != "DONE"
    found = await until(daemon, asked["requestId"])
    assert found["succeeded"] is True
    assert fault.hits
    again = await submit(daemon, f"{registry.host}/lab/tool:1")
    assert (again["succeeded"], again["targetImage"]) == (True, asked["targetImage"])


async def test_a_definite_no_is_an_answer_at_once(registry: Registry, daemon: Daemon) -> None:
    answer = await ask(daemon, "POST", SUBMIT, {"containerImage": f"{registry.host}/lab/absent:1"})
    assert answer.status == 404
    assert "lab/absent" in answer.json()["message"]
    assert registry.host in answer.json()["message"]


async def test_an_upstream_that_is_busy_is_pending_and_never_a_5xx(registry: Registry, daemon: Daemon) -> None:
    """Fault A4: what may pass is tried again, and the status says so."""
    registry.fault("/manifests/", status=503)
    asked = await submit(daemon, f"{registry.host}/lab/tool:1")
    assert asked.get("succeeded") is None
    found = await status(daemon, asked["requestId"])
    assert found["status"] == "PENDING"
    assert "answers 503, not now; it is tried again for " in found["reason"]
    assert "upstream.patience" in found["reason"]
    registry.clear_faults()
    assert (await until(daemon, asked["requestId"]))["succeeded"] is True


async def test_a_registry_that_nobody_runs_is_a_failure_at_once(
    registry: Registry, start_daemon: Callable[..., Daemon]
) -> None:
    """Fault A4: a refused connection and a name that nobody has are not waited for, by any route and no 5xx."""
    daemon = start_daemon()
    await registry.stop()
    for host, route in itertools.product((registry.host, "no-such-host.invalid"), (SUBMIT, "/container-token")):
        started = time.monotonic()
        answer = await ask(daemon, "POST", route, {"containerImage": f"{host}/lab/tool:1"})
        assert answer.status == 200
        asked = answer.json()
        token = asked.get("requestId") or asked["containerToken"]
        found = await status(daemon, token)
        assert (found["status"], found["succeeded"]) == ("DONE", False)
        assert f"cannot reach {host}" in found["reason"]
        name = asked["targetImage"].partition("/")[2].rpartition(":")[0]
        pulled = await ask(daemon, "GET", f"/v2/{name}/manifests/1")
        assert pulled.status == 502
        assert f"cannot reach {host}" in pulled.json()["errors"][0]["message"]
        assert time.monotonic() - started < 5
    await registry.start()
    async with asyncio.timeout(15):  # a failure of an upstream answers for some seconds
        while (await submit(daemon, f"{registry.host}/lab/tool:1")).get("succeeded") is not True:
            await asyncio.sleep(0.2)


async def test_a_pull_of_what_is_not_decided_waits_as_the_status_does(registry: Registry, daemon: Daemon) -> None:
    """Fault A4: Nextflow up to 23.10 asks for no status: its engine pulls at once, by the same bound."""
    fault = registry.fault("/manifests/", status=503, times=4)
    asked = (await ask(daemon, "POST", "/container-token", {"containerImage": f"{registry.host}/lab/tool:1"})).json()
    name = asked["targetImage"].partition("/")[2].rpartition(":")[0]
    pulled = await ask(daemon, "GET", f"/v2/{name}/manifests/1")
    assert (pulled.status, fault.hits) == (200, 4)


async def test_no_patience_is_a_setting(registry: Registry, start_daemon: Callable[..., Daemon]) -> None:
    """Fault A4: the bound is the site's."""
    daemon = start_daemon(settings={"upstream": {"patience": 0}})
    registry.fault("/manifests/", status=503)
    asked = await submit(daemon, f"{registry.host}/lab/tool:1")
    found = await until(daemon, asked["requestId"])
    assert (found["succeeded"], "answers 503, not now" in found["reason"]) == (False, True)
    assert float(found["duration"]) < 5


async def test_after_a_restart_a_known_name_starts_its_work_again(
    registry: Registry, start_daemon: Callable[..., Daemon]
) -> None:
    daemon = start_daemon()
    slow = registry.fault("/manifests/", delay=30)
    blob = small_layer({"added": b"bytes"})
    layer = Layer(gzip.decompress(blob), blob).in_request()
    asked = await submit(daemon, f"{registry.host}/lab/tool:1", containerConfig={"layers": [layer], "env": ["A=1"]})
    await asyncio.to_thread(daemon.kill)
    slow.times = 0
    await asyncio.to_thread(daemon.start)
    assert (await until(daemon, asked["requestId"]))["succeeded"] is True
    name = asked["targetImage"].partition("/")[2].rpartition(":")[0]
    pulled = await ask(daemon, "GET", f"/v2/{name}/manifests/1")
    assert pulled.status == 200
    assert pulled.json()["layers"][-1]["digest"] == layer["gzipDigest"]
    got = await ask(daemon, "GET", f"/v2/{name}/blobs/{layer['gzipDigest']}")
    assert got.body == blob


async def test_an_evicted_request_is_unknown_until_it_is_made_again(registry: Registry, daemon: Daemon) -> None:
    asked = await submit(daemon, f"{registry.host}/lab/tool:1")
    token = asked["requestId"]
    name = asked["targetImage"].partition("/")[2].rpartition(":")[0]
    assert (await ask(daemon, "GET", f"/v2/{name}/manifests/1")).status == 200
    assert (await ask(daemon, "DELETE", f"/container-token/{token}")).status == 200
    for path in (f"{SUBMIT}/{token}", f"{SUBMIT}/{token}/status", f"/container-token/{token}"):
        assert (await ask(daemon, "GET", path)).status == 404
    assert (await ask(daemon, "GET", f"/v2/{name}/manifests/1")).status == 404
    assert (await ask(daemon, "DELETE", f"/container-token/{token}")).status == 404
    assert (await submit(daemon, f"{registry.host}/lab/tool:1"))["requestId"] == token


async def test_a_dry_run_makes_nothing(registry: Registry, daemon: Daemon) -> None:
    asked = await submit(daemon, f"{registry.host}/lab/tool:1", dryRun=True)
    assert registry.count("GET", "/blobs/") == 0
    real = await submit(daemon, f"{registry.host}/lab/tool:1")
    assert real["targetImage"] == asked["targetImage"]


async def test_a_layer_fails_its_request_and_the_status_says_why(registry: Registry, daemon: Daemon) -> None:
    blob = small_layer({"slow": b"bytes"})
    digest = registry.add_blob("lab/tool", blob)
    registry.fault(digest, delay=2.5)
    layer = Layer(b"another tar", blob).in_request(f"{registry.url}/v2/lab/tool/blobs/{digest}")
    asked = await submit(daemon, f"{registry.host}/lab/tool:1", containerConfig={"layers": [layer]})
    found = await until(daemon, asked["requestId"])
    assert found["succeeded"] is False
    assert "tarDigest" in found["reason"]


async def test_an_absent_image_is_said_at_once_though_a_layer_stalls(registry: Registry, daemon: Daemon) -> None:
    """Fault A5: the definite no of one part stands, whatever the others are still waiting for."""
    blob = small_layer({"slow": b"bytes"})
    digest = registry.add_blob("lab/tool", blob)
    stall = registry.fault(digest, delay=30)
    registry.fault("/lab/absent/", delay=0.3)  # the layer is asked for by then
    layer = Layer(gzip.decompress(blob), blob).in_request(f"{registry.url}/v2/lab/tool/blobs/{digest}")
    body = {"containerImage": f"{registry.host}/lab/absent:1", "containerConfig": {"layers": [layer]}}
    answer = await ask(daemon, "POST", SUBMIT, body)
    assert answer.status == 404, answer.body
    assert "lab/absent" in answer.json()["message"]
    assert stall.hits


async def test_the_reason_of_a_failure_is_there_afterwards(
    registry: Registry, start_daemon: Callable[..., Daemon]
) -> None:
    """Faults A3 and A7: the last outcome and its reason stand until it is asked for again, after a restart too."""
    daemon = start_daemon()
    ready = (await submit(daemon, f"{registry.host}/lab/tool:1"))["requestId"]
    slow = registry.fault("/lab/absent/", delay=2.2)
    failed = (await submit(daemon, f"{registry.host}/lab/absent:1"))["requestId"]
    reason = (await until(daemon, failed))["reason"]
    assert "lab/absent" in reason
    await asyncio.to_thread(daemon.stop)
    await asyncio.to_thread(daemon.start)
    hits = slow.hits
    page = (await ask(daemon, "GET", f"/view/containers/{failed}")).body.decode()
    assert "status:  failed" in page
    assert reason in page
    found = await status(daemon, failed)
    assert (found["status"], found["succeeded"], found["reason"]) == ("DONE", False, reason)
    assert slow.hits == hits  # a definite no is asked for again by a request alone
    assert "status:  ready" in (await ask(daemon, "GET", f"/view/containers/{ready}")).body.decode()
    registry.add_image("lab/absent", "1")
    slow.times = 0
    again = await submit(daemon, f"{registry.host}/lab/absent:1")
    assert again["succeeded"] is True
    assert "status:  ready" in (await ask(daemon, "GET", f"/view/containers/{again['requestId']}")).body.decode()


async def test_a_refusal_is_in_the_log_and_found_by_its_token(registry: Registry, daemon: Daemon) -> None:
    """Fault D14: one line at info for what was refused, with the token and the sentence."""
    answer = await ask(daemon, "POST", SUBMIT, {"containerImage": f"{registry.host}/lab/absent:1"})
    assert answer.status == 404
    line = next(line for line in daemon.log().splitlines() if "lab/absent" in line and "refused" in line)
    found = re.search(r"wt/([0-9a-f]{32})/lab/absent", line)
    assert found is not None, line
    assert answer.json()["message"] in line
    async with asyncio.timeout(WRITTEN_SECONDS):  # it is written down soon after it was answered
        while True:
            later = await ask(daemon, "GET", f"{SUBMIT}/{found[1]}/status")
            assert later.status == 404
            if answer.json()["message"] in later.json()["message"]:
                break
            await asyncio.sleep(0.05)
