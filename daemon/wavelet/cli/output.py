"""The output of commands: plain values as text, JSON or YAML. Text is for people; the other two are for programs.

Messages become values whose keys are the members' JSON names, and numbers stay numbers. Nothing here has colours.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from wavelet.cli.on_demand import yaml

FORMS = ("text", "json", "yaml")

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def emit(value: object, form: str, text: Iterable[str] | None = None) -> None:
    """Print a value to standard output.

    Args:
        value: made of dictionaries, lists, strings, numbers, booleans and None.
        form: one of FORMS.
        text: the lines to print as text; None: the value's own keys and members.
    """
    if form == "json":
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    elif form == "yaml":
        sys.stdout.write(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
    else:
        sys.stdout.writelines(f"{visible(line)}\n" for line in (lines(value) if text is None else text))


def visible(text: str) -> str:
    """Return a text without what steers a terminal: logs and errors have words of registries and packages in them."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def lines(value: object) -> list[str]:
    """Return a value as lines for people: a member each, with what is inside it indented below, and no empty ones."""
    if isinstance(value, dict):
        said = {key: member for key, member in value.items() if member not in ("", None, [], {})}
        width = max((len(key) for key, member in said.items() if not _nested(member)), default=0)
        found: list[str] = []
        for key, member in said.items():
            if _nested(member):
                found += [key, *(f"  {line}" for line in lines(member))]
            else:
                found.append(f"{key:{width}}  " + _word(member).replace("\n", "\n" + " " * (width + 2)))
        return found
    if isinstance(value, list):
        return _listed(value)
    return _word(value).splitlines()


def _listed(members: list[object]) -> list[str]:
    """Return a list as lines. One of mappings has a line for each, below a head; where that cannot be, a dash for each.

    It cannot be where members have lines of their own, or mappings.
    """
    mappings = [each for each in members if isinstance(each, dict)]
    if not members or len(mappings) < len(members):
        return [line for member in members for line in lines(member)]
    rows = [{key: _word(word) for key, word in each.items() if word not in ("", None, [], {})} for each in mappings]
    if not any(_nested(word) or "\n" in str(word) for each in mappings for word in each.values()):
        heads = list(dict.fromkeys(key for row in rows for key in row))
        return table(heads, [[row.get(head, "") for head in heads] for row in rows if row])
    return [f"{'  ' if index else '- '}{line}" for each in mappings for index, line in enumerate(lines(each))]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return aligned columns. Without rows there is no head either."""
    every = [heads, *rows]
    if len(every) == 1:
        return []
    widths = [max(len(row[column]) for row in every) for column in range(len(heads))]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in every]


def plain(message: Message, *, whole: bool = True) -> dict[str, object]:
    """Return a message as a plain value.

    Args:
        message: any message of `wavelet.v1`.
        whole: members that have their default value are there too, but for messages and optional ones.
    """
    found = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if not message.HasField(field.name) if field.has_presence else not (whole or value):
            continue
        names = (
            {number: each.name for number, each in field.enum_type.values_by_number.items()} if field.enum_type else {}
        )
        found[field.json_name] = [_plain(each, names) for each in value] if field.is_repeated else _plain(value, names)
    return found


def _plain(value: object, names: Mapping[int, str]) -> object:
    """Return a member as a plain value; `names` are those of its enum, if it is of one."""
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if isinstance(value, Duration):
        return value.ToNanoseconds() / 1e9
    if isinstance(value, Message):
        return plain(value, whole=False)
    if names and isinstance(value, int):
        return names[value].removeprefix(names[0].removesuffix("UNSPECIFIED")).lower()
    return f"({len(value)} bytes)" if isinstance(value, bytes) else value


def _nested(value: object) -> bool:
    return isinstance(value, (dict, list))


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
