"""The file that says what an operator was made for, read from where a variable says that it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_operator.rollout.template import LARGEST_BYTES, TemplateError, Templates, read_templates
from kmod_operator.settings import SettingError

if TYPE_CHECKING:
    from pathlib import Path


def read_template_file(path: Path) -> Templates:
    """Return what a file says.

    Raises:
        SettingError: it cannot be read or used; ``KMOD_TEMPLATES`` has named it.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise SettingError(f"KMOD_TEMPLATES is {str(path)!r}, which cannot be read: {error.strerror}") from error
    if len(content) > LARGEST_BYTES:
        raise SettingError(f"KMOD_TEMPLATES is {str(path)!r}, which has more than {LARGEST_BYTES >> 20} MiB")
    try:
        return read_templates(content)
    except TemplateError as error:
        raise SettingError(f"KMOD_TEMPLATES is {str(path)!r}, which cannot be used: {error}") from error
