"""The one table of ways to private keys."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from builder.signing.backends.key import Key, KeyRequest


@dataclass(frozen=True, slots=True)
class Backend:
    """A way to private keys.

    Args:
        module: its file in this folder.
        way: the key of versions.yaml that names it.
        is_held: whether it runs in the process that holds the key; else it is a way to whoever holds it.
        marks: what the key files have that it opens, one of them; empty: all that no other opens.
    """

    module: str
    way: str
    is_held: bool = True
    marks: tuple[bytes, ...] = ()

    def takes(self, way: str, content: bytes) -> bool:
        return way == self.way and (not self.marks or any(mark in content for mark in self.marks))

    def open(self, request: KeyRequest) -> Key:
        """Open a key; only now its code is loaded: a process that holds a key has none that is not needed for it.

        Raises:
            SignerError: it cannot be opened.
        """
        module = import_module(f"builder.signing.backends.{self.module}")
        return cast("Key", module.open_key(request))


# The first that takes a request opens it.
BACKENDS = (
    Backend("command", "command", is_held=False),
    Backend("socket", "socket", is_held=False),
    Backend("pkcs11", "pkcs11"),
    Backend("cosign", "key_file", marks=(b"ENCRYPTED SIGSTORE PRIVATE KEY", b"ENCRYPTED COSIGN PRIVATE KEY")),
    Backend("file", "key_file"),
)


def choose_backend(way: str, content: bytes = b"") -> Backend:
    """Return the backend of a key; which of those for key files it is, is known where the file is read."""
    return next(backend for backend in BACKENDS if backend.takes(way, content))
