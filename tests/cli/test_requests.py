"""`wavelet requests`, and what `wavelet show` says of a request afterwards."""

from __future__ import annotations

import json

from lab.command import Wavelet
from lab.grpc_site import Site
from lab.http import request
from lab.processes import wait_for

WRITTEN_SECONDS = 10.0


def post(site: Site, **body: object) -> dict[str, str]:
    answer = request("POST", f"{site.node.url}/v1alpha2/container", body=json.dumps(body).encode())
    told: dict[str, str] = answer.json()
    return told | {"status": str(answer.status)}


def test_what_was_asked_and_why_it_is_not_there(site: Site, wavelet: Wavelet) -> None:
    """What was asked, by whom, its state and reason; and fault E10: what has no effect is in the request's log."""
    image = site.image
    made = post(site, containerImage=image, buildRepository="registry.example/team")
    assert made["status"] == "200", made
    assert post(site, containerImage=image, scanMode="required")["status"] == "501"
    # What was asked is written down soon after it was answered.
    wait_for(lambda: "(scanMode): " in wavelet("requests").out, "the list of requests", WRITTEN_SECONDS)
    said = wavelet("requests")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    mine = next(number for number, line in enumerate(lines) if made["requestId"] in line)
    assert "ready" in lines[mine]
    assert "root" in lines[mine]
    assert "wave.build.repository (buildRepository): registry.example/team is not used" in lines[mine + 1]
    refused = next(number for number, line in enumerate(lines) if " refused " in line)
    assert "(scanMode): " in lines[refused + 1]
    entries = json.loads(wavelet("requests", "--output", "json", "--limit", "2").out)
    assert [each["state"] for each in entries] == ["failed", "ready"]
    assert [each["refused"] for each in entries] == [True, False]
    assert entries[1]["token"] == made["requestId"]
    shown = wavelet("show", made["requestId"])
    assert "note: wave.build.repository (buildRepository): registry.example/team is not used" in shown.out
    page = request("GET", f"{site.node.url}/view/containers/{made['requestId']}").body.decode()
    assert "note:    wave.build.repository (buildRepository): registry.example/team is not used" in page


def test_numbers_and_everybodys(site: Site, wavelet: Wavelet) -> None:
    assert wavelet("requests", "--limit", "0").code == 2
    assert wavelet("requests", "--limit", "x").code == 2
    post(site, containerImage="UPPER")
    assert len(json.loads(wavelet("requests", "--all", "-n", "1", "-o", "json").out)) == 1
