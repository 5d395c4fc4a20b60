"""YAML that strangers wrote, as mappings, lists and strings. Pure.

Read from the parser's events, not by its own composer: that one recurses as deep as the text is nested, and an alias
makes of a small text a large value. Scalars stay strings: a version is no number, and a date no date.
"""

from __future__ import annotations

import yaml

from wavelet.errors import InvalidRequest, TooLarge

TEXT_LIMIT = 8 * 1024 * 1024
"""Characters of a document; the lock files of large projects have one or two millions."""

_DEPTH_LIMIT = 32
_TOO_DEEP = f"is nested more than {_DEPTH_LIMIT} deep"
_LOADER: type[yaml.BaseLoader | yaml.CBaseLoader] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

Value = str | list["Value"] | dict[str, "Value"]
"""What a document holds."""


def read_yaml(text: str, field: str) -> Value:
    """Return the one document of a text.

    Raises:
        InvalidRequest: it is not YAML, has aliases, a second document or a mapping with a key that is none, or is
            nested too deeply.
        TooLarge: more than `TEXT_LIMIT` characters.
    """
    if len(text) > TEXT_LIMIT:
        raise TooLarge(f"{field}: {len(text)} characters of YAML; {TEXT_LIMIT} are the most", field=field)
    try:
        return _read(text, field)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        problem = error.problem or "it breaks YAML's grammar"
        if "nesting" in problem:  # newer parsers have a limit of their own, and look ahead
            raise InvalidRequest(f"{field}: {line}{_TOO_DEEP}", field=field) from None
        quotes = "; a value that begins with * belongs in quotes" if "alias" in (error.context or "") else ""
        raise InvalidRequest(f"{field}: {line}is not YAML: {problem}{quotes}", field=field) from None
    except yaml.YAMLError as error:
        raise InvalidRequest(f"{field}: is not YAML: {str(error)[:200]}", field=field) from None


def _read(text: str, field: str) -> Value:
    top: list[Value] = []
    open_values: list[_Open] = [_Open(top)]
    ended = False
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.DocumentEndEvent):
            ended = True
        elif ended:
            _check_behind(event, field)
        elif isinstance(event, yaml.AliasEvent):
            raise _refuse(field, event, "aliases (*name) are not read; write the value out")
        elif isinstance(event, yaml.ScalarEvent):
            open_values[-1].put(event.value, event, field)
        elif isinstance(event, yaml.CollectionStartEvent):
            value: Value = [] if isinstance(event, yaml.SequenceStartEvent) else {}
            open_values[-1].put(value, event, field)
            if len(open_values) > _DEPTH_LIMIT:
                raise _refuse(field, event, _TOO_DEEP)
            open_values.append(_Open(value))
        elif isinstance(event, yaml.CollectionEndEvent):
            open_values.pop()
    return top[0] if top else ""


def _check_behind(event: yaml.Event, field: str) -> None:
    """Check that what follows a document says nothing; a `---` alone at the end does not."""
    if isinstance(event, yaml.NodeEvent) and getattr(event, "value", None) != "":
        raise _refuse(field, event, "a second document (behind `---` or `...`) is not read; put all into one")


class _Open:
    """A value that is being read."""

    def __init__(self, value: Value) -> None:
        self._value = value
        self._key: str | None = None

    def put(self, value: Value, event: yaml.Event, field: str) -> None:
        """Add what comes next: an item, a key, or a key's value."""
        if isinstance(self._value, list):
            self._value.append(value)
        elif self._key is not None:
            assert isinstance(self._value, dict)
            self._value[self._key] = value
            self._key = None
        elif isinstance(value, str):
            assert isinstance(self._value, dict)
            if value in self._value:
                raise _refuse(field, event, f"the key {value[:80]!r} is there twice")
            self._key = value
        else:
            raise _refuse(field, event, "a mapping's key is not a text")


def _refuse(field: str, event: yaml.Event, why: str) -> InvalidRequest:
    line = "" if event.start_mark is None else f"line {event.start_mark.line + 1}: "
    return InvalidRequest(f"{field}: {line}{why}", field=field)
