"""The gRPC services: methods, and the fields of messages with their numbers and names, which are those of JSON too."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

import wavelet.v1
from documented.wire import golden

TYPES = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}


def _files() -> Iterator[FileDescriptor]:
    for module in pkgutil.iter_modules(wavelet.v1.__path__, "wavelet.v1."):
        if module.name.endswith("_pb2"):
            yield importlib.import_module(module.name).DESCRIPTOR


def _messages(messages: Any) -> Iterator[Descriptor]:
    for message in messages:
        yield message
        yield from _messages(message.nested_types)


def _field(field: FieldDescriptor) -> str:
    kind = (field.message_type or field.enum_type).full_name if field.message_type or field.enum_type else ""
    many = "repeated " if field.is_repeated else ""
    return f"{field.number} {field.json_name}: {many}{kind or TYPES[field.type]}"


def _methods(service: Any) -> dict[str, str]:
    return {
        each.name: f"{each.input_type.full_name} -> {'stream ' * each.server_streaming}{each.output_type.full_name}"
        for each in service.methods
    }


def test_services() -> None:
    services = [service for file in _files() for service in file.services_by_name.values()]
    assert {each.full_name: _methods(each) for each in services} == golden("grpc")["services"]


def test_messages() -> None:
    messages = [each for file in _files() for each in _messages(file.message_types_by_name.values())]
    found = {each.full_name: sorted(map(_field, each.fields)) for each in messages}
    assert found == golden("grpc")["messages"]


def test_enumerations() -> None:
    found = {
        each.full_name: {value.name: value.number for value in each.values}
        for file in _files()
        for each in file.enum_types_by_name.values()
    }
    assert found == golden("grpc")["enumerations"]
