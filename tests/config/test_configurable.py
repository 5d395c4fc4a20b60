"""Every service that has settings is built with them, and reached by a reload: nothing keeps the old ones."""

from __future__ import annotations

import ast
import importlib
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from wavelet.config import Apply, Settings
from wavelet.reload.reloader import Reloader
from wavelet.wiring.services import build_services
from wavelet.wiring.state import open_state

PACKAGE = Path(__file__).parents[2] / "daemon" / "wavelet"

ELSEWHERE = {
    "Listening": "the application adds it when its doors are open",
    "DirectoryBackend": "of two backends a node has one",
    "NodeBackend": "of two backends a node has one",
}
"""Classes that the services of one node need not have."""


@cache
def configurable() -> tuple[type, ...]:
    """Return the classes of the package that have a method `configure(self, settings)` of their own."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.ClassDef) or any(getattr(base, "id", "") == "Protocol" for base in node.bases):
                continue
            if any(isinstance(each, ast.FunctionDef) and each.name == "configure" for each in node.body):
                module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
                found.append(getattr(importlib.import_module(module), node.name))
    return tuple(found)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the names of the classes whose `configure` is called, and what it returns too, from now on."""
    called: set[str] = set()

    def spied(cls: type, configure: Any) -> Any:
        def spy(self: Any, settings: Settings) -> Apply:
            apply = configure(self, settings)

            def applied() -> None:
                apply()
                called.add(cls.__name__)

            return applied

        return spy

    for cls in configurable():
        monkeypatch.setattr(cls, "configure", spied(cls, vars(cls)["configure"]))
    return called


@pytest.mark.parametrize("shared", [False, True])
async def test_a_reload_reaches_every_service_that_has_settings(tmp_path: Path, calls: set[str], shared: bool) -> None:
    records = {"directory": str(tmp_path / "shared")} if shared else {}
    settings = msgspec.convert({"state": str(tmp_path / "state"), "records": records}, Settings)
    settings.state_directory.mkdir()
    async with AsyncExitStack() as stack:
        reloader = Reloader(None, settings, settings)
        state = await open_state(settings, stack)
        await build_services(web.Application(), state, reloader, stack)
        calls.clear()
        assert await reloader.reload() == []
    assert {cls.__name__ for cls in configurable()} - calls <= set(ELSEWHERE)
    assert ("DirectoryBackend" if shared else "NodeBackend") in calls
    assert len(configurable()) > 20
