"""The members of what goes over HTTP, and of what is kept as JSON; and the settings, by their keys and types."""

from __future__ import annotations

from typing import Any

import pytest

from documented.wire import golden
from documented.wire.shapes import shape_of
from wavelet.cli.doctor_checks import Finding
from wavelet.config import Settings
from wavelet.front.operations import State
from wavelet.front.wave import models
from wavelet.resolve.audit import Line
from wavelet.resolve.history import Entry, Outcome
from wavelet.resolve.known import About

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
    "wave: build status": models.BuildStatusAnswer,
    "wave: service-info": models.ServiceInfoAnswer,
    "statusz": State,
    "doctor: finding": Finding,
    "audit log": Line,
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
