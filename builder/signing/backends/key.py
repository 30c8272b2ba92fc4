"""What every way to a private key has: where the key is, and what it does. Nothing here touches a key."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from builder.errors import SignerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ANSWER_TIMEOUT_S = 120.0
NO_ANSWER = "no-answer"
_LARGEST_SECRET = 1024**2


class Key(Protocol):
    """A digest in, a raw signature out."""

    def sign(self, digest: bytes, algorithm: str) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRequest:
    """Where a signer's key is, and what opens it.

    ``way`` is the key of versions.yaml that names it, ``place`` what that says; ``content`` is that of a key file, and
    known in the process that holds the key only.
    """

    signer: str
    way: str
    place: str | tuple[str, ...]
    passphrase: str | None = None
    passphrase_file: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""

    def words(self) -> dict[str, Any]:
        """Return what the process that holds the key is told; its environment it has from the start."""
        return {
            "signer": self.signer,
            "way": self.way,
            "place": self.place,
            "passphrase": self.passphrase,
            "passphrase_file": self.passphrase_file,
        }

    @classmethod
    def of_words(cls, words: Mapping[str, Any]) -> Self:
        """Return what ``words`` said, with passphrase and key file read.

        Raises:
            SignerError: one of them cannot be read, or may be read by others.
        """
        passphrase = words["passphrase"]
        if file := words["passphrase_file"]:
            passphrase = read_secret(Path(file), "passphrase file").decode(errors="replace").rstrip("\r\n")
        is_file = words["way"] == "key_file"
        return cls(
            signer=words["signer"],
            way=words["way"],
            place=words["place"],
            passphrase=passphrase,
            content=read_secret(Path(words["place"]), "key file") if is_file else b"",
        )


def read_secret(file: Path, what: str) -> bytes:
    """Read a file that nobody but its owner may be able to read.

    Raises:
        SignerError: it cannot be read, or others may read it.
    """
    try:
        with file.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if mode & 0o077:
                raise SignerError(
                    "key-readable-by-others", f"{what} {file} is open to other users (mode {mode:04o})",
                    hint=f"chmod 600 {file}, and think about who may have read it",
                )  # fmt: skip
            return stream.read(_LARGEST_SECRET)
    except OSError as error:
        raise SignerError("key-unreadable", f"{what} {file} cannot be read: {error.strerror}") from None


def ask_twice(sign: Callable[[], bytes]) -> bytes:
    """Sign, and try again once where no answer came: the first way to the key is given up by then."""
    try:
        return sign()
    except SignerError as error:
        if error.code != NO_ANSWER:
            raise
    return sign()
