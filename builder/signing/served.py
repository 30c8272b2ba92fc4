"""Which keys a process serves to others, and opens for them: files that the command line names, or a project's signers.

The command line names files, and not a versions.yaml that comes with a plan: whoever may change that would else have a
program of his run where the keys are.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from builder.config.model.signer import KeyPlace
from builder.errors import FormatError, SignerError, UsageError
from builder.host.places import open_regular
from builder.signing.access import open_own_key
from builder.signing.image_key import IMAGE_SIGNER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.config.model.config import Config
    from builder.signing.backends.key import Key

IMAGES = "images"
_LARGEST_KEY = 1024**2
_MEMORY = Path("/dev/shm")  # noqa: S108 - memory, and a folder of our own in it
_CHALLENGE = b"kmodsmith asks whether this key signs"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeWish:
    """What is to be served.

    Args:
        keys: key files by the names of signers.
        images: that of the signer of images.
        signers: names of signers that the project's versions.yaml describes.
        passphrases: files with passphrases by the names of signers; of images: ``images``.
        group_may_read: whether key files may be open to their group: kubelet gives Secrets to a pod's fsGroup.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    images: Path | None = None
    signers: Sequence[str] = ()
    passphrases: Mapping[str, str] = field(default_factory=dict)
    group_may_read: bool = False


def split_pairs(words: Sequence[str], option: str) -> dict[str, str]:
    """Return what ``NAME=FILE`` says, by name; UsageError where it says nothing, or twice."""
    found: dict[str, str] = {}
    for word in words:
        name, separator, file = word.partition("=")
        if not (name and separator and file):
            raise UsageError(f"{option} wants NAME=FILE, not {word[:200]!r}")
        if name in found:
            raise UsageError(f"{option} names {name[:200]!r} twice")
        found[name] = file
    return found


@contextlib.contextmanager
def open_served(wish: ServeWish, config: Config | None) -> Iterator[dict[str, Key]]:
    """Open all keys, try each, and close them in the end; by the names that questions have.

    Raises:
        UsageError: nothing is to be served, or something unknown.
        SignerError: a key cannot be read, or used.
    """
    files = {**wish.keys, **({IMAGES: str(wish.images)} if wish.images else {})}
    if wish.images and IMAGES in wish.keys:
        raise UsageError("a signer called 'images' and --images would have one passphrase", hint="rename the signer")
    if unknown := wish.passphrases.keys() - files.keys():
        raise UsageError(f"there is a passphrase for {min(unknown)[:200]!r}, and no key", hint="--key NAME=FILE")
    places = {(IMAGE_SIGNER if wish.images and name == IMAGES else name): (name, file) for name, file in files.items()}
    known = config.signers if config else {}
    if missing := [name for name in wish.signers if name not in known]:
        raise UsageError(
            f"versions.yaml has no signer {missing[0][:200]!r}", hint=f"it has: {', '.join(known) or 'none'}"
        )
    if not (files or wish.signers):
        raise UsageError("no key is to be served", hint="name some: --key NAME=FILE, --images FILE, --signer NAME")
    with contextlib.ExitStack() as held:
        opened: dict[str, Key] = {}
        for asked, (name, file) in places.items():
            readable = _as_private(file, held, name) if wish.group_may_read else file
            passphrase = wish.passphrases.get(name)
            if passphrase and wish.group_may_read:
                passphrase = _as_private(passphrase, held, name)
            said = {"key_file": readable, **({"passphrase_file": passphrase} if passphrase else {})}
            opened[asked] = _open(asked, KeyPlace.model_validate(said), held)
        for name in wish.signers:
            opened[name] = _open(name, known[name], held)
        yield opened


def _open(name: str, place: KeyPlace, held: contextlib.ExitStack) -> Key:
    key = held.enter_context(open_own_key(name, place))
    key.sign(hashlib.sha256(_CHALLENGE).digest(), "sha256")
    return key


def _as_private(file: str, held: contextlib.ExitStack, name: str) -> str:
    """Return a file that only this user can read, in memory, where one is open to its group; never to all others."""
    try:
        with open_regular(Path(file), most=_LARGEST_KEY) as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if not mode & 0o070 or mode & 0o007:
                return file  # as it should be, or to be refused as everywhere
            content = stream.read(_LARGEST_KEY)
    except (OSError, FormatError) as error:
        why = error.message if isinstance(error, FormatError) else error.strerror
        raise SignerError("key-unreadable", f"key file {file} of {name} cannot be read: {why}") from None
    folder = held.enter_context(tempfile.TemporaryDirectory(dir=_MEMORY, prefix="kmodsmith-keys-"))
    private = Path(folder, "key")
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
    return str(private)
