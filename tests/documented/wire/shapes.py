"""The members of a document, written as plain values: `{"name": "string", "layers": [{"digest": "string?"}]}`."""

from __future__ import annotations

from typing import Any

from msgspec import inspect

_WORDS: dict[type[inspect.Type], str] = {
    inspect.StrType: "string",
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.BoolType: "boolean",
    inspect.RawType: "any",
    inspect.AnyType: "any",
}


def shape_of(kind: Any) -> Any:
    """Return the shape of a type's JSON: members by name, a list's items in a list; `?`: it may be null or absent."""
    return _shape(inspect.type_info(kind))


def _shape(info: inspect.Type) -> Any:
    match info:
        case inspect.Metadata():
            return _shape(info.type)
        case inspect.StructType() | inspect.TypedDictType() | inspect.DataclassType():
            return {field.encode_name: _shape(field.type) for field in info.fields}
        case inspect.ListType() | inspect.VarTupleType():
            return [_shape(info.item_type)]
        case inspect.DictType():
            return {"*": _shape(info.value_type)}
        case inspect.LiteralType():
            return sorted(info.values)
        case inspect.UnionType():
            return _union(info)
        case _:
            return _WORDS[type(info)]


def _union(info: inspect.UnionType) -> Any:
    shapes = [_shape(each) for each in info.types if not isinstance(each, inspect.NoneType)]
    mark = "?" if len(shapes) < len(info.types) else ""
    if all(isinstance(shape, str) for shape in shapes):
        return " or ".join(sorted(shapes)) + mark
    [shape] = shapes
    return shape
