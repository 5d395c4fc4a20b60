"""The directory of the rules: what is read of it and when, and which rules are in force where it cannot be used."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from wavelet.config import Settings
from wavelet.config.site import Rules
from wavelet.host import watch
from wavelet.rules.directory import RulesDirectory
from wavelet.rules.files import FILE_LIMIT

SEEN = 5.0
"""Seconds within which a change has to be seen."""

REFUSAL = "- do: {refuse: x}\n"
BROKEN = "- do: {refues: x}\n"
FAULT = "rules.d/10-site.yaml: rule 1: do.refues: is not known here; did you mean `refuse`?"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "rules.d"
    path.mkdir(0o755)
    return path


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o644)


def settings(directory: Path | str) -> Settings:
    return Settings(rules=Rules(directory=str(directory)))


def names(rules: RulesDirectory) -> list[str]:
    return [rule.name for rule in rules.current.rules]


def read_again(rules: RulesDirectory, directory: Path) -> None:
    rules.configure(settings(directory))()


def test_files_are_read_in_the_order_of_their_names(directory: Path) -> None:
    write(directory / "20-b.yml", "- {name: b, do: {refuse: x}}")
    write(directory / "10-a.yaml", REFUSAL * 2)
    for other in (".10-a.yaml.swp", ".hidden.yaml", "10-a.yaml~", "README"):
        write(directory / other, "not: rules")
    rules = RulesDirectory(settings(directory))
    assert names(rules) == ["10-a.yaml#1", "10-a.yaml#2", "b"]
    assert rules.current.rules[1].place == "rules.d/10-a.yaml: rule 2"
    assert (rules.current.directory, rules.current.problems) == (str(directory), ())
    assert rules.current.read_at > 1e9


def test_an_empty_directory_and_the_usual_one_that_is_not_there(
    directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not RulesDirectory(settings(directory)).current.is_closed
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    current = RulesDirectory(settings("")).current
    assert (current.rules, current.problems, current.is_closed) == ((), (), False)
    assert current.directory == str(tmp_path / "wavelet" / "rules.d")


def test_a_directory_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    current = RulesDirectory(settings(tmp_path / "missing")).current
    assert current.is_closed
    assert current.problems == (f"rules.directory: {tmp_path}/missing is not there; make it, or name another",)


def test_without_good_rules_everything_is_closed_until_there_are(directory: Path) -> None:
    write(directory / "10-site.yaml", BROKEN)
    with capture_logs() as logs:
        rules = RulesDirectory(settings(directory))
    assert rules.current.is_closed
    assert rules.current.problems == (FAULT,)
    assert [(each["log_level"], each["event"]) for each in logs] == [
        ("error", "the site's rules cannot be used, and everything is refused")
    ]
    assert REGISTRY.get_sample_value("wavelet_rules_problems") == 1
    write(directory / "10-site.yaml", REFUSAL)
    read_again(rules, directory)
    assert names(rules) == ["10-site.yaml#1"]
    assert (rules.current.is_closed, rules.current.problems) == (False, ())
    assert REGISTRY.get_sample_value("wavelet_rules") == 1
    assert REGISTRY.get_sample_value("wavelet_rules_problems") == 0


def test_the_last_good_rules_stay_all_of_them(directory: Path) -> None:
    write(directory / "10-site.yaml", REFUSAL)
    write(directory / "20-site.yaml", REFUSAL)
    rules = RulesDirectory(settings(directory))
    good = rules.current
    write(directory / "10-site.yaml", BROKEN)
    write(directory / "20-site.yaml", "[]")
    with capture_logs() as logs:
        read_again(rules, directory)
        read_again(rules, directory)
    assert rules.current.rules == good.rules
    assert (rules.current.read_at, rules.current.is_closed) == (good.read_at, False)
    assert rules.current.problems == (FAULT,)
    assert [each["event"] for each in logs] == ["the site's rules cannot be used, and the last good ones stay"]


def test_new_rules_are_told_once(directory: Path) -> None:
    rules = RulesDirectory(settings(directory))
    write(directory / "10-site.yaml", REFUSAL)
    with capture_logs() as logs:
        read_again(rules, directory)
        read_again(rules, directory)
    assert [(each["event"], each["rules"]) for each in logs] == [("the site's rules were read", 1)]


def test_another_directory(directory: Path, tmp_path: Path) -> None:
    write(directory / "10-site.yaml", REFUSAL)
    rules = RulesDirectory(settings(directory))
    other = tmp_path / "other"
    other.mkdir(0o755)
    write(other / "a.yaml", REFUSAL)
    apply = rules.configure(settings(other))
    assert names(rules) == ["10-site.yaml#1"]
    apply()
    assert (names(rules), rules.current.directory) == (["a.yaml#1"], str(other))
    write(directory / "10-site.yaml", BROKEN)
    read_again(rules, directory)
    assert (names(rules), rules.current.directory) == (["a.yaml#1"], str(other))


def test_what_was_read_earlier_does_not_take_the_place_of_what_was_read_later(directory: Path) -> None:
    rules = RulesDirectory(settings(directory))
    earlier = rules.configure(settings(directory))
    write(directory / "10-site.yaml", REFUSAL)
    read_again(rules, directory)
    earlier()
    assert names(rules) == ["10-site.yaml#1"]


def test_two_rules_of_one_name(directory: Path) -> None:
    write(directory / "10-a.yaml", "- {name: hub, do: {refuse: x}}")
    write(directory / "20-b.yaml", REFUSAL + "- {name: hub, do: {refuse: x}}")
    assert RulesDirectory(settings(directory)).current.problems == (
        "rules.d/20-b.yaml: rule 2 (hub): name: is that of rules.d/10-a.yaml: rule 1 too; give each a name of its own",
    )


def test_too_many_rules_in_all(directory: Path) -> None:
    write(directory / "10-a.yaml", REFUSAL * 1500)
    write(directory / "20-b.yaml", REFUSAL * 1500)
    problems = RulesDirectory(settings(directory)).current.problems
    assert problems == ("3000 rules in all files together; 2000 are the most",)


def _large(path: Path) -> None:
    path.write_bytes(b" " * (FILE_LIMIT + 1))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: path.mkdir(), "rules.d/x.yaml: cannot be read: it is a directory, not a regular file"),
        (os.mkfifo, "rules.d/x.yaml: cannot be read: it is a named pipe, not a regular file"),
        (_large, f"rules.d/x.yaml: cannot be read: it has more than {FILE_LIMIT} bytes"),
        (lambda path: path.write_bytes(b"\xff"), "rules.d/x.yaml: cannot be read: it is not UTF-8"),
        (lambda path: path.symlink_to("nowhere"), "rules.d/x.yaml: cannot be read: No such file or directory"),
    ],
    ids=["directory", "pipe", "large", "bytes", "link"],
)
def test_what_is_no_file(directory: Path, make: Callable[[Path], object], problem: str) -> None:
    make(directory / "x.yaml")
    assert RulesDirectory(settings(directory)).current.problems == (problem,)


def test_others_can_write_to_a_file_or_to_the_directory(directory: Path) -> None:
    path = directory / "10-site.yaml"
    write(path, REFUSAL)
    path.chmod(0o666)
    (problem,) = RulesDirectory(settings(directory)).current.problems
    assert problem == (
        f"rules.d/10-site.yaml: {path} can be written by anybody, who could change the rules for everybody's"
        f" containers; run: chmod go-w {path}"
    )
    path.chmod(0o644)
    directory.chmod(0o1777)
    (problem,) = RulesDirectory(settings(directory)).current.problems
    assert problem.startswith(f"{directory} can be written by anybody")


def test_a_config_map_of_kubernetes(directory: Path) -> None:
    (directory / "..2026").mkdir(0o755)
    write(directory / "..2026" / "10-site.yaml", REFUSAL)
    (directory / "..data").symlink_to("..2026")
    (directory / "10-site.yaml").symlink_to("..data/10-site.yaml")
    assert names(RulesDirectory(settings(directory))) == ["10-site.yaml#1"]


def test_users_and_groups_of_this_node(directory: Path) -> None:
    write(directory / "10-site.yaml", "- {when: {user: root, group: root}, do: {refuse: x}}")
    (rule,) = RulesDirectory(settings(directory)).current.rules
    assert (rule.when.uids, rule.when.gids) == ({0}, {0})
    write(directory / "10-site.yaml", '- {when: {user: "no\\0body"}, do: {refuse: x}}')
    assert RulesDirectory(settings(directory)).current.is_closed


def test_the_own_registry_is_no_place_to_redirect_to(directory: Path) -> None:
    write(directory / "a.yaml", "- {when: {image: quay.io/**}, do: {redirect: 'node.example:5000/quay.io'}}")
    asked = Settings(rules=Rules(directory=str(directory)), authority="node.example:5000")
    (problem,) = RulesDirectory(asked).current.problems
    assert "is this node's own registry" in problem


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(watch, "QUIET", 0.05)
    yield


@pytest.fixture
async def watched(directory: Path, quick: None) -> AsyncIterator[RulesDirectory]:
    rules = RulesDirectory(settings(directory))
    async with rules.watched():
        yield rules


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SEEN):
        while not condition():
            await asyncio.sleep(0.02)


async def test_changes_are_seen(watched: RulesDirectory, directory: Path, tmp_path: Path) -> None:
    write(directory / "10-site.yaml", REFUSAL)
    await until(lambda: names(watched) == ["10-site.yaml#1"])
    write(directory / "10-site.yaml", BROKEN)
    await until(lambda: watched.current.problems == (FAULT,))
    (directory / "10-site.yaml").chmod(0o664)
    await until(lambda: "can be written by its group" in watched.current.problems[0])
    (directory / "10-site.yaml").rename(directory / "20-site.yaml")
    (directory / "20-site.yaml").chmod(0o644)
    write(directory / "20-site.yaml", REFUSAL)
    await until(lambda: names(watched) == ["20-site.yaml#1"])
    (directory / "20-site.yaml").unlink()
    await until(lambda: names(watched) == [])
    directory.rename(tmp_path / "gone")
    await until(lambda: len(watched.current.problems) == 1)
    (tmp_path / "gone").rename(directory)
    await until(lambda: watched.current.problems == ())


async def test_a_directory_that_the_settings_name_later_is_watched(watched: RulesDirectory, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir(0o755)
    read_again(watched, other)
    write(other / "a.yaml", REFUSAL)
    await until(lambda: names(watched) == ["a.yaml#1"])
    write(other / "a.yaml", REFUSAL * 2)
    await until(lambda: len(names(watched)) == 2)


async def test_what_changes_before_the_watch_begins_is_read(directory: Path, quick: None) -> None:
    rules = RulesDirectory(settings(directory))
    write(directory / "10-site.yaml", REFUSAL)
    async with rules.watched():
        await until(lambda: names(rules) == ["10-site.yaml#1"])


@pytest.mark.parametrize(
    "name", ["a,b.yaml", "a\nb.yaml", "a\udcff.yaml", "a b.yaml"], ids=["comma", "line", "bytes", "space"]
)
def test_a_file_whose_name_no_answer_can_have_is_not_read(directory: Path, name: str) -> None:
    write(directory / name, REFUSAL)
    (problem,) = RulesDirectory(settings(directory)).current.problems
    assert "rename it" in problem
    assert problem.isascii()
