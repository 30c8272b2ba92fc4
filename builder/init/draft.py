"""Writes a driver's entry of versions.yaml, and a whole first file, for people to go on with. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from builder.errors import printable
from builder.writing import emit_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from builder.init.known import DriverDraft

_COMMENT_COLUMN = 56
_LONGEST_COMMENT = 160
_PLAIN_IN_LIST = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./+=-]*")

_HEAD = """\
# What is built, and for which kernels. The only file that people edit to change that; every key is explained in
# docs/versions-yaml.md, and editors that know JSON schema can use versions.schema.json.
# yaml-language-server: $schema=versions.schema.json

drivers:
"""
_TAIL = """
sources:
  # Real kernels of the Debian archive: no account needed, good for a first run, a laptop and CI.
  debian:
    provider: debian

  # The kernels of OpenShift; docs/openshift.md has the rest:
  # openshift:
  #   provider: openshift
  #   channels: [fast-4.18, fast-4.19]

groups:
  laptop:
    source: debian
    description: The newest kernel of each series and variant
    arches: [x86_64]
    newest: true
  debian:
    source: debian
    description: Every kernel that the archive serves, cross-compiled where it is for another architecture

default_group: laptop

build:
  # Each new image's modules are loaded on their own kernel, under Secure Boot in a guest, before it gets a name.
  boot: changed
"""


def emit_config(draft: DriverDraft) -> str:
    """Return a whole versions.yaml with one driver."""
    return f"{_HEAD}{emit_driver(draft)}{_TAIL}"


def emit_driver(draft: DriverDraft) -> str:
    """Return a driver as an entry of ``drivers``, indented by two, with the reasons behind values, and what is open."""
    lines = [f"{line.ljust(_COMMENT_COLUMN)}  {comment}" if comment else line for line, comment in _lines(draft)]
    return "".join(f"{'  - ' if number == 0 else '    '}{line.rstrip()}\n" for number, line in enumerate(lines))


def scalar(text: str) -> str:
    """Return a text of one line as YAML writes it behind a key."""
    return emit_yaml({"k": text}).removeprefix("k: ").rstrip("\n")


def flow_list(words: Sequence[str]) -> str:
    """Return words as a list on one line."""
    return f"[{', '.join(_in_list(word) for word in words)}]"


def _in_list(word: str) -> str:
    is_plain = _PLAIN_IN_LIST.fullmatch(word) and scalar(word) == word
    return word if is_plain else "'" + word.replace("'", "''") + "'"


def comment_line(text: str) -> str:
    """Return text as a comment that stays one: on one line, printable, and not endless."""
    plain = " ".join(printable(text).split())
    return f"# {plain if len(plain) <= _LONGEST_COMMENT else f'{plain[:_LONGEST_COMMENT]}...'}"


def _lines(draft: DriverDraft) -> Iterator[tuple[str, str]]:
    """Yield each line of an entry, and the comment behind it."""
    reasons = {guess.key: comment_line(guess.why) for guess in draft.guesses}
    reasons |= {question.key: "# open: see below" for question in draft.questions}
    licenses = () if draft.licenses == ("LICENSE",) else draft.licenses
    words: dict[str, str | tuple[str, ...]] = {
        "name": draft.name, "version": draft.version, "source": draft.source, "dkms": draft.dkms,
        "modules": draft.modules, "make": draft.make, "firmware": draft.firmware, "licenses": licenses,
        "image": draft.image, "vendor": draft.vendor, "summary": draft.summary, "description": draft.description,
        "maintainer": draft.maintainer,
    }  # fmt: skip
    for key, value in words.items():
        if value:
            yield f"{key}: {_value(value)}", reasons.get(key, "")
    boot: dict[str, str | tuple[str, ...]] = {"smoke_test": draft.smoke_test, "devices": draft.devices}
    if any(boot.values()):
        yield "boot:", ""
    for key, value in boot.items():
        if value:
            yield f"  {key}: {_value(value)}", reasons.get(f"boot.{key}", "")
    if draft.questions:
        yield "# Open (docs/init.md); take out what is answered:", ""
    for question in draft.questions:
        yield f"#   {question.key}: {comment_line(question.text).removeprefix('# ')}", ""


def _value(value: str | tuple[str, ...]) -> str:
    return scalar(value) if isinstance(value, str) else flow_list(value)
