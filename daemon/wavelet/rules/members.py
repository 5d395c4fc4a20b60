"""The members of a rule as they are written, read one by one; what is wrong with them is gathered. Pure."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from wavelet.bounded_yaml import Value
from wavelet.errors import CallerError, InvalidRequest

VALUES_LIMIT = 1000
"""Values of one member of a rule."""

FAULT_LIMIT = 1000
"""Characters of what is said of one fault: some of it is out of the file."""

_NOWHERE: Mapping[str, str] = {}

_NEAR = 0.7
"""From which likeness on a word is taken for a misspelt one (`difflib`)."""

Read = TypeVar("Read")
Word = TypeVar("Word", bound=str)


class RulesBroken(InvalidRequest):
    """Files of rules cannot be read; the message has a line for each fault."""

    reason = "RULES_BROKEN"

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each fault, with the file and the rule."""
        return tuple(self.message.split("\n"))


@dataclass(slots=True)
class Faults:
    """What is wrong with one rule, which is called `place`."""

    place: str
    found: list[str] = field(default_factory=list)

    def add(self, member: str, what: str) -> None:
        """Note a fault of a member, e.g. `when.image`; empty: of the rule itself. It stays one line, and short."""
        place = (self.place, member if len(member) <= FAULT_LIMIT else f"{member[:80]}…", what[:FAULT_LIMIT])
        self.found.append(printable(": ".join(filter(None, place))))

    def add_error(self, member: str, error: CallerError) -> None:
        """Note a fault that has been raised of a value."""
        self.add(member, error.message.removeprefix(f"{member}: "))


class Members:
    """A mapping of a rule. A member that is wrong is noted, and read as if it were not there."""

    def __init__(
        self, value: Value, name: str, known: Sequence[str], faults: Faults, elsewhere: Mapping[str, str] = _NOWHERE
    ) -> None:
        """`known` are the members that it may have, `elsewhere` says of others where they belong."""
        self.name = name
        self.faults = faults
        self._known = known
        self._values: dict[str, Value] = {}
        if isinstance(value, dict):
            self._values = value
        else:
            faults.add(name, f"is {kind_of(value)}; it takes a mapping of {', '.join(known)}")
        for each in self._values:
            if each not in known:
                belongs = f"it belongs below `{elsewhere[each]}`" if each in elsewhere else self._meant(each)
                faults.add(self.at(each), f"is not known here; {belongs}")

    def __contains__(self, member: str) -> bool:
        return member in self._values

    def at(self, member: str) -> str:
        """Return a member's name for messages."""
        return f"{self.name}.{member}" if self.name else member

    def value(self, member: str) -> Value:
        """Return a member as it is written; empty if it is not there."""
        return self._values.get(member, "")

    def text(self, member: str) -> str:
        """Return a text; empty if it is not there."""
        value = self.value(member)
        if member in self and not (isinstance(value, str) and value.strip()):
            self.faults.add(self.at(member), f"is {kind_of(value)}; it takes a text")
        return value.strip() if isinstance(value, str) else ""

    def texts(self, member: str) -> tuple[str, ...]:
        """Return a list of texts; one text alone is a list of one."""
        value = self.value(member)
        values = value if isinstance(value, list) else [value] if member in self else []
        texts = tuple(each.strip() for each in values if isinstance(each, str) and each.strip())
        if member in self and (len(texts) < len(values) or not texts):
            wrong = next((each for each in values if not (isinstance(each, str) and each.strip())), value)
            said = (
                f"is {kind_of(value)}" if wrong is value else f"holds {kind_of(wrong) if wrong else 'an empty value'}"
            )
            self.faults.add(self.at(member), f"{said}; it takes a text, or a list of texts")
            return ()
        if len(texts) > VALUES_LIMIT:
            self.faults.add(self.at(member), f"has {len(texts)} values; {VALUES_LIMIT} are the most")
            return ()
        return texts

    def each(self, member: str, read: Callable[[str], Read]) -> tuple[Read, ...]:
        """Return the values of a list of texts, each of them once."""
        found: dict[Read, None] = {}
        for text in self.texts(member):
            try:
                found[read(text)] = None
            except CallerError as error:
                self.faults.add_error(self.at(member), error)
        return tuple(found)

    def words(self, member: str, among: Sequence[Word]) -> tuple[Word, ...]:
        """Return a list of words that are among some."""
        texts = self.texts(member)
        for text in texts:
            if text not in among:
                self.faults.add(self.at(member), f"is {text[:80]!r}; it takes {' or '.join(among)}{_hint(text, among)}")
        return tuple(each for each in among if each in texts)

    def word(self, member: str, among: Sequence[Word], default: Word) -> Word:
        """Return one word that is among some."""
        words = self.words(member, among)
        if len(words) > 1:
            self.faults.add(self.at(member), f"takes one of them alone: {' or '.join(among)}")
        return words[0] if words else default

    def pairs(self, member: str) -> tuple[tuple[str, str], ...]:
        """Return names and texts of a mapping."""
        value = self.value(member)
        if member not in self:
            return ()
        if not isinstance(value, dict) or not value:
            self.faults.add(self.at(member), f"is {kind_of(value)}; it takes a mapping of names to texts")
            return ()
        if len(value) > VALUES_LIMIT:
            self.faults.add(self.at(member), f"has {len(value)} values; {VALUES_LIMIT} are the most")
            return ()
        for name, each in value.items():
            if not isinstance(each, str):
                self.faults.add(f"{self.at(member)}.{name[:80]}", f"is {kind_of(each)}; it takes a text")
        return tuple((name, each) for name, each in value.items() if isinstance(each, str))

    def _meant(self, member: str) -> str:
        hint = _hint(member, self._known)
        return hint.removeprefix("; ") if hint else f"known are {', '.join(self._known)}"


def has_control(text: str) -> bool:
    """Tell whether a text has control characters (Unicode's Cc), or halves of others, which no encoding has."""
    return any(unicodedata.category(each) in ("Cc", "Cs") for each in text)


def printable(text: str) -> str:
    """Return a text of one line, with escapes in place of control characters."""
    if not has_control(text):
        return text
    return "".join(each.encode("unicode_escape").decode() if has_control(each) else each for each in text)


def kind_of(value: Value) -> str:
    """Return what a value is, for messages."""
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return f"the text {value[:80]!r}" if value.strip() else "empty"


def _hint(word: str, among: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, among, 1, _NEAR)
    return f"; did you mean `{near[0]}`?" if near else ""
