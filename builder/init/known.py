"""What is known of a source while its entry is drafted: facts, guesses, open questions, and the draft. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from builder.drivers.dkms import DkmsRecipe
    from builder.init.c_source import CFacts, Said
    from builder.init.look import SourceLook
    from builder.init.makefile import Makefile

_SHOWN_WORDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the person said: ``name`` and ``domain`` may be empty; ``vendor`` is a company's name."""

    vendor: str
    name: str = ""
    domain: str = ""
    image: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A value that something of the source gave, and what that was."""

    key: str
    value: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenQuestion:
    """Something that only a person knows: the key that answers it, and what stands there until then."""

    key: str
    text: str
    stands: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverDraft:
    """A driver's entry as it will stand in versions.yaml, with the reasons; ``source`` is filled in when it is known.

    ``license_text`` is what a file LICENSE would say where the source has none: an identifier of SPDX.
    """

    name: str
    version: str
    vendor: str
    maintainer: str
    summary: str
    description: str
    modules: tuple[str, ...] = ()
    make: str = ""
    dkms: str = ""
    firmware: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    license_text: str = ""
    image: str = ""
    smoke_test: str = ""
    devices: tuple[str, ...] = ()
    source: str = ""
    guesses: tuple[Guess, ...] = ()
    questions: tuple[OpenQuestion, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Known:
    """What was read of a source, and what has been concluded so far."""

    look: SourceLook
    recipe: DkmsRecipe | None
    dkms_problem: str
    wish: Wish
    facts: Mapping[str, CFacts]
    makefiles: Mapping[str, Makefile]
    guesses: list[Guess] = field(default_factory=list)
    questions: list[OpenQuestion] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def guess(self, key: str, value: str, why: str) -> str:
        self.guesses.append(Guess(key=key, value=value, why=why))
        return value

    def ask(self, key: str, text: str, stands: str) -> str:
        self.questions.append(OpenQuestion(key=key, text=text, stands=stands))
        return stands

    def said(self, what: str) -> Iterator[tuple[str, Said]]:
        """Yield what files of C say, a field of ``CFacts``, each with the path of its file."""
        for path, facts in self.facts.items():
            for item in getattr(facts, what):
                yield path, item


def list_words(words: Iterable[str]) -> str:
    """Return words as YAML writes a short list; of a long one, the first and how many more."""
    every = list(words)
    more = f", and {len(every) - _SHOWN_WORDS} more" if len(every) > _SHOWN_WORDS else ""
    return f"[{', '.join(every[:_SHOWN_WORDS])}{more}]"


def file_stem(path: str) -> str:
    """Return the name of a file of C as the kernel would call a module of it: no folder, no ending, ``_`` for ``-``."""
    return path.rpartition("/")[2].removesuffix(".c").replace("-", "_")
