"""Serves keys on a Unix socket, for steps that must not have them: ``keys serve`` beside a build, in a pod's sidecar.

It signs digests and nothing else; no answer ever holds a key. Who asks is known from the kernel (SO_PEERCRED, unix(7)),
and only the users that were named are answered. Questions are small, few at once, and not more in a while than builds
have modules; each signature is told, so that whoever watches the sidecar sees what was signed.
"""

from __future__ import annotations

import contextlib
import json
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.errors import BusyError, FormatError, HostError, KmodsmithError, SignerError
from builder.foreign import read_json
from builder.signing.backends.socket import LARGEST_LINE, read_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from builder.signing.backends.key import Key

_SIZES = {"sha256": 32, "sha384": 48, "sha512": 64}
_AT_ONCE = 8
_WAITING = 64
_PATIENCE_S = 10.0
_CREDENTIALS = struct.Struct("3i")  # struct ucred of Linux: pid, uid, gid

Tell = Callable[[dict[str, object]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeBounds:
    """How much is signed: ``most`` signatures in all, ``at_once`` of them together, and ``per_s`` more each second.

    A build of 1,000 cells with three modules each, and the statements of its images, stays below 10,000.
    """

    most: int = 100_000
    at_once: int = 500
    per_s: float = 50.0


class KeyServer:
    """Answers questions for signatures; safe to use from several threads.

    Args:
        keys: by the names of signers.
        users: numbers of the users that are answered.
        bounds: how much is signed.
        tell: is told each signature and each refusal.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        keys: Mapping[str, Key],
        users: frozenset[int],
        *,
        bounds: ServeBounds,
        tell: Tell,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys, self._users, self._bounds, self._tell, self._clock = keys, users, bounds, tell, clock
        self._guard = threading.Lock()
        self._left = bounds.most
        self._ready = float(bounds.at_once)
        self._since = clock()

    def answer(self, question: bytes, user: int) -> bytes:
        """Return the answer to a question of a user: a signature, or why there is none; a line each."""
        try:
            signer, digest, algorithm = _parse(question)
            self._admit(signer, user)
            reply: dict[str, str] = {"signature": self._keys[signer].sign(digest, algorithm).hex()}
            self._tell({"signed": f"{algorithm}:{digest.hex()}", "signer": signer, "user": user})
        except SignerError as error:
            reply = {"error": error.code, "message": error.message}
            self._tell({"refused": error.code, "why": error.message, "user": user})
        except FormatError as error:
            reply = {"error": "question-wrong", "message": error.message}
            self._tell({"refused": "question-wrong", "why": error.message, "user": user})
        return json.dumps(reply).encode() + b"\n"

    def _admit(self, signer: str, user: int) -> None:
        if user not in self._users:
            raise SignerError("user-refused", f"user {user} may not ask")
        if signer not in self._keys:
            raise SignerError("signer-unknown", f"no key of signer {signer[:100]!r} is served")
        with self._guard:
            now = self._clock()
            grown = self._ready + (now - self._since) * self._bounds.per_s
            self._ready, self._since = min(float(self._bounds.at_once), grown), now
            if self._left < 1:
                raise SignerError("too-many", f"{self._bounds.most} signatures were made, and no more are")
            if self._ready < 1:
                raise SignerError("too-fast", f"more than {self._bounds.per_s:g} signatures a second are asked for")
            self._ready -= 1
            self._left -= 1


def _parse(question: bytes) -> tuple[str, bytes, str]:
    data: dict[str, Any] = read_json(question, "the question", largest=LARGEST_LINE, names_once=True)
    signer, digest, algorithm = (data.get(name) for name in ("signer", "digest", "algorithm"))
    if not (isinstance(signer, str) and isinstance(digest, str) and isinstance(algorithm, str)):
        raise FormatError("the question names no signer, digest and algorithm")
    if algorithm not in _SIZES:
        raise FormatError(f"{algorithm[:40]!r} is no digest algorithm of ours")
    try:
        raw = bytes.fromhex(digest)
    except ValueError:
        raise FormatError("the digest is not hexadecimal") from None
    if len(raw) != _SIZES[algorithm]:
        raise FormatError(f"a digest of {algorithm} has {_SIZES[algorithm]} bytes, and this one {len(raw)}")
    return signer, raw, algorithm


@contextlib.contextmanager
def open_socket(place: Path, *, is_shared: bool) -> Iterator[socket.socket]:
    """Listen at a place, which is removed in the end; ``is_shared``: other users may connect, and are looked at then.

    Raises:
        BusyError: somebody listens there.
        HostError: something else is there, or nobody can listen there.
    """
    _clear(place)
    made = place.with_name(f".{place.name}.new")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            made.unlink(missing_ok=True)
            listener.bind(str(made))
            # Nobody can connect before its rights are what they should be: it is not at its place yet.
            made.chmod(0o666 if is_shared else 0o600)
            listener.listen(_WAITING)
            made.rename(place)
        except OSError as error:
            raise HostError(f"no socket can be made at {place}: {error.strerror or error}") from None
        try:
            yield listener
        finally:
            place.unlink(missing_ok=True)


def _clear(place: Path) -> None:
    """Remove a socket that nobody listens at any more; a killed server left it."""
    try:
        status = place.lstat()
    except OSError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise HostError(f"{place} is no socket", hint="remove it, or choose another place")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(_PATIENCE_S)
        try:
            line.connect(str(place))
        except ConnectionRefusedError:
            place.unlink(missing_ok=True)
            return
        except OSError as error:
            raise HostError(f"{place} cannot be looked at: {error.strerror or error}") from None
    raise BusyError(f"keys are served at {place} already")


def serve(listener: socket.socket, server: KeyServer, *, most: int | None = None) -> None:
    """Answer until this process is interrupted, or ``most`` connections; who is slow keeps nobody else waiting."""
    slots = threading.BoundedSemaphore(_AT_ONCE)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="keys") as pool:
        number = 0
        while most is None or number < most:
            # What waits beyond this waits in the kernel, which refuses what is too much.
            slots.acquire()
            line, _ = listener.accept()
            number += 1
            pool.submit(_answer, line, server).add_done_callback(lambda _: slots.release())


def _answer(line: socket.socket, server: KeyServer) -> None:
    with line, contextlib.suppress(OSError, KmodsmithError):
        line.settimeout(_PATIENCE_S)
        _, user, _ = _CREDENTIALS.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        line.sendall(server.answer(read_line(line), user))
