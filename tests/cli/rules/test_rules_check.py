"""`wavelet rules check`, which needs no daemon."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lab.command import Wavelet, in_process

RULES = """
- name: hub
  when: {image: docker.io/**, not: "**:latest"}
  do: {redirect: harbor.example/hub}
- name: no-latest
  when: {image: "**:latest", door: wave}
  do: {refuse: Name a version.}
- name: genomics
  when: {labels: {team: "gen*"}}
  do: {env: {A: b}}
- name: other-users
  when: {user: 4711}
  do: {refuse: Not you.}
"""
INSPECTED = {
    "processes": [
        {"name": "ALIGN", "container": "busybox:1.36"},
        {"name": "SORT", "container": "docker://busybox:1.36"},
        {"name": "CALL", "container": "quay.io/org/tool:1"},
        {"name": "LOCAL"},
    ]
}


@pytest.fixture
def wavelet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Wavelet:
    return in_process(monkeypatch, capsys)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    directory = tmp_path / "rules.d"
    directory.mkdir()
    directory.chmod(0o755)
    (directory / "10-site.yaml").write_text(RULES)
    (directory / "notes.txt").write_text("not a rule")
    return directory


def test_files_that_are_right(wavelet: Wavelet, rules: Path) -> None:
    said = wavelet("rules", "check", str(rules))
    assert (said.code, said.out, said.err) == (0, "4 rules in 1 files\n", "")
    assert wavelet("rules", "check", str(rules / "10-site.yaml")).code == 0


def test_all_faults_of_all_files_are_told(wavelet: Wavelet, rules: Path) -> None:
    (rules / "20.yaml").write_text("- {do: {refuse: x}, whne: {}}\n- {do: {}}\n")
    (rules / "30.yaml").write_text("a: [\n")
    said = wavelet("rules", "check", str(rules), "-o", "json")
    assert said.code == 1
    errors = json.loads(said.out)["errors"]
    assert len(errors) == 3
    for error, part in zip(
        errors, ("rules.d/20.yaml: rule 1", "rules.d/20.yaml: rule 2", "rules.d/30.yaml"), strict=True
    ):
        assert part in error
        assert error in said.err


def test_a_file_that_is_not_there(wavelet: Wavelet, tmp_path: Path) -> None:
    said = wavelet("rules", "check", str(tmp_path / "absent.yaml"))
    assert (said.code, "absent.yaml" in said.err) == (1, True)


def test_the_directory_of_the_settings(
    wavelet: Wavelet, rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVELET_RULES_DIRECTORY", str(rules))
    assert wavelet("rules", "check").out == "4 rules in 1 files\n"
    (rules / "10-site.yaml").chmod(0o666)
    said = wavelet("rules", "check")
    assert (said.code, "chmod go-w" in said.err) == (1, True)
    monkeypatch.setenv("WAVELET_RULES_DIRECTORY", str(tmp_path / "absent"))
    said = wavelet("rules", "check")
    assert (said.code, "absent is not there" in said.err) == (1, True)
    (tmp_path / "absent").mkdir(mode=0o755)
    assert wavelet("rules", "check").out == "no files of rules\n"


def test_without_the_usual_directory_there_are_no_rules(
    wavelet: Wavelet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    said = wavelet("rules", "check")
    assert (said.code, said.out, said.err) == (0, "no files of rules\n", "")


def test_packs_that_are_not_there_are_warnings(
    wavelet: Wavelet, rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = tmp_path / "packs" / "site-ca"
    pack.mkdir(parents=True)
    pack.chmod(0o755)
    (pack / "pack.yaml").write_text("env: {A: b}\n")
    monkeypatch.setenv("WAVELET_PACKS_DIRECTORY", str(pack.parent))
    (rules / "90.yaml").write_text("- {name: everywhere, do: {packs: [site-ca, sit-ca]}}\n")
    said = wavelet("rules", "check", str(rules))
    assert said.code == 0
    why = f"there is none of this name in {pack.parent}"
    begins = "the pack sit-ca cannot be used, and what the rule is for is refused"
    assert said.err == f"wavelet: warning: rules.d/90.yaml: rule 1 (everywhere): {begins}: {why}\n"
    assert wavelet("rules", "check", "--strict", str(rules)).code == 1
    images = "rules", "check", "--images", "-"
    asked = json.dumps(INSPECTED)
    assert wavelet(*images, str(rules), stdin=asked).code == 0
    monkeypatch.setenv("WAVELET_RULES_DIRECTORY", str(rules))
    said = wavelet(*images, stdin=asked)
    assert (said.code, why in said.out) == (1, True)


def test_a_rule_that_can_never_apply_is_a_warning(wavelet: Wavelet, rules: Path) -> None:
    (rules / "95.yaml").write_text("- {name: late, when: {form: conda, labels: {a: b}}, do: {env: {A: b}}}\n")
    said = wavelet("rules", "check", str(rules))
    assert said.code == 0
    assert said.err.startswith("wavelet: warning: rules.d/95.yaml: rule 1 (late): never applies: ")
    assert wavelet("rules", "check", "--strict", str(rules)).code == 1


def test_the_containers_of_a_pipeline(wavelet: Wavelet, rules: Path) -> None:
    said = wavelet("rules", "check", str(rules), "--images", "-", stdin=json.dumps(INSPECTED))
    assert said.code == 0, said.err
    assert said.out.splitlines() == [
        "4 rules in 1 files",
        "changed    busybox:1.36 -> harbor.example/hub/library/busybox:1.36  (ALIGN)",
        "    hub (rules.d/10-site.yaml: rule 1): taken from harbor.example/hub/library/busybox:1.36",
        "changed    docker://busybox:1.36 -> harbor.example/hub/library/busybox:1.36  (SORT)",
        "    hub (rules.d/10-site.yaml: rule 1): taken from harbor.example/hub/library/busybox:1.36",
        "unchanged  quay.io/org/tool:1  (CALL)",
    ]


def test_an_image_that_is_refused_is_an_exit_code(wavelet: Wavelet, rules: Path, tmp_path: Path) -> None:
    inspected = tmp_path / "inspect.json"
    inspected.write_text('{"processes": [{"name": "A", "container": "quay.io/org/tool:latest"}]}')
    asked = "rules", "check", str(rules), "--images", str(inspected)
    said = wavelet(*asked, "-o", "json")
    assert said.code == 1
    [image] = json.loads(said.out)["images"]
    assert (image["verdict"], image["image"], image["processes"]) == ("refused", "", ["A"])
    assert image["refusal"].startswith("Name a version.")
    assert image["effects"] == [{"rule": "no-latest", "place": "rules.d/10-site.yaml: rule 2", "effect": "refused"}]
    assert "    Name a version." in wavelet(*asked).out
    assert wavelet(*asked, "--door", "registry").code == 0


def test_who_asks_and_how(wavelet: Wavelet, rules: Path, tmp_path: Path) -> None:
    inspected = tmp_path / "inspect.json"
    inspected.write_text('{"processes": [{"name": "A", "container": "quay.io/org/tool:1"}]}')
    asked = "rules", "check", str(rules), "--images", str(inspected)
    assert "Not you." in wavelet(*asked, "--as", "4711").out
    [image] = wavelet(*asked, "--label", "team=genomics", "-o", "json").json()["images"]
    assert (image["verdict"], image["effects"][0]["rule"]) == ("changed", "genomics")


def test_what_is_no_inspection(wavelet: Wavelet, rules: Path) -> None:
    said = wavelet("rules", "check", str(rules), "--images", "-", stdin="[]")
    assert (said.code, "nextflow inspect" in said.err) == (2, True)
