"""What drivers, modules, packages and labels may be called. Pure."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from builder.config.model.declaration import complain, form

_LABEL_VALUE = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_DRIVER_VERSION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.+~-]{0,61}[A-Za-z0-9])?")


def _check_driver_version(text: str) -> str:
    if not _DRIVER_VERSION.fullmatch(text):
        raise complain(
            f"{text!r} cannot stand in tags, labels and file names: up to 63 letters, digits, '.', '_', '+', '~' and "
            "'-', a letter or digit first and last"
        )
    return text


def is_label_value(text: str) -> bool:
    """Tell whether Kubernetes takes a text as the value of a label that is not empty."""
    return bool(re.fullmatch(_LABEL_VALUE, text))


def check_label_key(text: str) -> str:
    """Return a text that Kubernetes takes as the key of a label, or of a taint; anything else is a mistake."""
    prefix, separator, name = text.rpartition("/")
    is_name = re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", name)
    is_prefix = re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", prefix)
    if not is_name or (separator and not is_prefix):
        raise complain(f"{text!r} cannot be the key of a label of Kubernetes: prefix.example/name, or a name")
    return text


Name = Annotated[
    str,
    form(
        r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        "small letters, digits and '-', a letter or digit first and last",
        max_length=39,
    ),
]
DriverVersion = Annotated[str, AfterValidator(_check_driver_version)]
ModuleName = Annotated[
    str, form(r"^[A-Za-z0-9_-]+$", "the name of a module, without folder and .ko", description="without .ko")
]
ModuleText = Annotated[
    str,
    form(
        r"^\??[A-Za-z0-9_*-]+$",
        "the name of a module, without folder and .ko; `probe-*` for one or more, `?name` for one that may be missing",
        description="without .ko",
    ),
]
PackageName = Annotated[
    str,
    form(
        r"^[a-z0-9][a-z0-9+.-]{1,127}$",
        "the name of a Debian package, such as libxtables-dev; its version is what the archive has",
    ),
]
BuildArgName = Annotated[str, form(r"^[A-Z_][A-Z0-9_]*$", "capital letters, digits and '_', no digit first")]
LabelKey = Annotated[str, Field(min_length=1), AfterValidator(check_label_key)]
LabelValue = Annotated[
    str,
    form(
        rf"^({_LABEL_VALUE})?$",
        "a label's value: up to 63 letters, digits, '.', '_' and '-', a letter or digit first and last",
    ),
]
Glob = Annotated[str, Field(min_length=1)]
Text = Annotated[str, Field(min_length=1)]
