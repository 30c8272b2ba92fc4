"""What text of our own files becomes when it is read: a kernel is a KernelVersion from there on. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from builder.errors import UsageError
from builder.kernel import KernelVersion, parse_kernel_version


def _read_kernel(value: object) -> KernelVersion:
    if isinstance(value, KernelVersion):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("kernel", "{said}", {"said": f"{value!r} is not a kernel version, which is text"})
    try:
        return parse_kernel_version(value)
    except UsageError as error:
        raise PydanticCustomError("kernel", "{said}", {"said": error.message}) from None


ParsedKernel = Annotated[
    KernelVersion,
    PlainValidator(_read_kernel),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
"""A kernel version: ``uname -r`` in a file, also as the key of a mapping."""
