"""What is wrong now: said once in the log when it changes, and told to whoever asks whether all is well."""

from __future__ import annotations

import logging

_LOG = logging.getLogger(__name__)


class Troubles:
    """Sentences by what they are about; an empty one takes it away."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {"start": "it has just begun"}
        self._said: dict[str, str] = {}

    def note(self, about: str, words: str, *, is_fatal: bool = True) -> None:
        """Note what is wrong, or that nothing is; what is not fatal is said, and nothing is less ready for it."""
        if words and words != self._said.get(about):
            _LOG.warning("%s", words, extra={"fields": {"about": about}})
        self._said[about] = words
        if words and is_fatal:
            self._open[about] = words
        else:
            self._open.pop(about, None)

    def sentence(self) -> str:
        """Return all that is wrong; nothing where nothing is."""
        return "; ".join(self._open.values())
