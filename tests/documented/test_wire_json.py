"""The members of what goes over HTTP, and of what is kept as JSON; the settings by keys and types; the variables."""

from __future__ import annotations

from typing import Any

import pytest

from documented.wire import golden
from documented.wire.shapes import shape_of
from wavelet.cli.doctor.checks import Finding
from wavelet.cli.user_daemon.daemon import location_of
from wavelet.cli.user_daemon.exports import exported_variables
from wavelet.config import Settings
from wavelet.config.keys import variables
from wavelet.daemon_status import DaemonStatus
from wavelet.front.wave import models
from wavelet.kinds.conda.link.layer_info import LayerInfo
from wavelet.paths import find_socket
from wavelet.requests.audit import Line
from wavelet.requests.history import Entry, Outcome
from wavelet.requests.request import About

_PLACES = ("WAVELET_SOCKET", "WAVELET_PRIVATE_DIRECTORY", "WAVELET_PRIVATE_PORT")

DOCUMENTS: dict[str, Any] = {
    "wave: submit": models.SubmitBody,
    "wave: submit, answer": models.SubmitAnswer,
    "wave: inspect": models.InspectBody,
    "wave: validate-creds": models.CredentialsBody,
    "wave: error": models.MessageAnswer,
    "wave: status": models.StatusAnswer,
    "wave: container": models.ContainerAnswer,
    "wave: token": models.TokenAnswer,
    "wave: build": models.BuildAnswer,
    "wave: mirror": models.MirrorAnswer,
    "wave: build status": models.BuildStatusAnswer,
    "wave: service-info": models.ServiceInfoAnswer,
    "statusz": DaemonStatus,
    "doctor: finding": Finding,
    "audit log": Line,
    "layer of packages": LayerInfo,
    "node.db: entries.entry": Entry,
    "node.db: outcomes.outcome": Outcome,
    "node.db: requests.about": About,
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_members_of_a_document(name: str) -> None:
    assert shape_of(DOCUMENTS[name]) == golden("json")[name]


def test_no_document_is_forgotten() -> None:
    assert golden("json").keys() == DOCUMENTS.keys()


def test_settings() -> None:
    """Defaults and variables are on the page of the settings, which a test holds to the code."""
    assert shape_of(Settings) == golden("settings")


def test_variables_that_are_read() -> None:
    """Each setting's, and those that say where a user's own daemon is."""
    read = {*variables(), "WAVELET_CONFIG", *_PLACES}
    assert sorted(read) == golden("variables")["read"]
    location = location_of({"WAVELET_PRIVATE_DIRECTORY": "/absent/own", "WAVELET_PRIVATE_PORT": "23000"})
    assert (location.directory, location.port) == ("/absent/own", 23000)
    assert find_socket({"WAVELET_SOCKET": "/absent/wavelet.sock"}) == "/absent/wavelet.sock"


def test_variables_that_a_pipeline_gets() -> None:
    location = location_of({}, "/absent/own", 23000)
    assert sorted(exported_variables(location, "/absent/images", {})) == golden("variables")["exported"]
