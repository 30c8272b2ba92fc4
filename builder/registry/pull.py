"""Brings images of registries into the container store, by digest: toolkits and operating systems of releases."""

from __future__ import annotations

import base64
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import (
    CommandError,
    SourceError,
    SourceGoneError,
    SourceRefusedError,
    SourceUnreachableError,
)
from builder.host.once import Once
from builder.host.run import Command, run
from builder.host.surroundings import find_surroundings
from builder.pullspec import parse_pullspec
from builder.registry.access import RegistryAccess, open_registries
from builder.store.images import list_images, remove_images, tag_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.config.model.registry import RegistrySettings
    from builder.host.run import Outcome
    from builder.kernel import Arch
    from builder.pullspec import Pullspec

# A layer of packages unpacks to about this many times its size.
_UNPACKED = 3
_NOT_KNOWN_BYTES = 4 * 1024**3
# How registries and containers/image word it; anything else is no answer. A file that is not found is a program of this
# machine's, such as one that gives credentials.
_ABSENT = re.compile(r"(?i)manifest unknown|name unknown|(?<!file )not found|no such manifest|StatusCode: (404|410)")
_REFUSED = re.compile(r"(?i)unauthorized|denied|forbidden|authentication required|invalid username|StatusCode: 40[137]")
_OF_THIS_MACHINE = frozenset({"disk-full", "out-of-memory", "storage-error"})
_GONE_HINT = "'nox -s discover' chooses another toolkit, if a release brings one"


def open_puller(settings: RegistrySettings, root: Path, *, cache_dir: Path, work_dir: Path) -> Puller:
    """Return what pulls images as a project's versions.yaml says; to be closed. Errors are ``open_registries``'."""
    return Puller(open_registries(settings, root, cache_dir), work_dir=work_dir)


class Puller:
    """Pulls images; one that is in the store already is not asked for. Safe to use from several threads."""

    def __init__(self, access: RegistryAccess, *, work_dir: Path) -> None:
        self._access = access
        self._scratch = Path(tempfile.mkdtemp(prefix="toolkits-", dir=work_dir))
        self._once = Once()
        self._present = set(list_images())

    def close(self) -> None:
        self._access.registry.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def has(self, name: str) -> bool:
        return name in self._present

    def size(self, pullspec: str, arch: Arch) -> int:
        """Return about how many bytes an image takes in the store; a guess where its registry does not answer."""
        try:
            _, manifest = self._access.registry.image(parse_pullspec(pullspec), arch.oci)
        except SourceError:
            return _NOT_KNOWN_BYTES
        return _UNPACKED * sum(layer.size for layer in manifest.layers)

    def ensure(self, pullspec: str, name: str, arch: Arch) -> str:
        """Return ``name``, which is the image in the store when this returns.

        Raises:
            SourceUnreachableError: a registry did not answer, so nobody knows.
            SourceRefusedError: access is refused.
            SourceError: it does not exist, or is not what its name says.
            CommandError: the container store could not take it.
        """
        if name not in self._present:
            self._once.get(name, lambda: self._pull(pullspec, name, arch))
        return name

    def drop(self, name: str) -> None:
        """Remove an image that was needed once."""
        remove_images([name])
        self._present.discard(name)
        self._once.forget(name)

    def _pull(self, pullspec: str, name: str, arch: Arch) -> None:
        # Our own client says plainly what is wrong: absent, refused or no answer. buildah does not.
        try:
            image, _ = self._access.registry.image(parse_pullspec(pullspec), arch.oci)
        except SourceGoneError as error:
            raise SourceError(error.message, hint=_GONE_HINT) from None
        refusals: list[SourceError] = []
        for place in self._access.registry.places(image):
            done = run(self._command(place, arch))
            if done:
                if not (printed := done.stdout.split()):
                    raise CommandError(f"buildah pull printed no image for {place}")
                tag_image(printed[-1], name)
                remove_images([str(place)])
                return
            refusals.append(_judge_pull(place, done))
        raise _sum_up(pullspec, refusals)

    def _command(self, place: Pullspec, arch: Arch) -> Command:
        argv = ["buildah", "pull", "--quiet", "--arch", arch.oci]
        if place.host in self._access.without_verification:
            argv.append("--tls-verify=false")
        secret = self._access.credentials.find(place)
        file = Path(tempfile.mkdtemp(dir=self._scratch), "auth.json")
        entry = {place.host: {"auth": base64.b64encode(secret.encode()).decode()}} if secret else {}
        file.touch(mode=0o600)
        file.write_text(json.dumps({"auths": entry}))
        return Command(argv=(*argv, "--authfile", str(file), f"docker://{place}"))


def _judge_pull(place: Pullspec, done: Outcome) -> SourceError:
    """Return what a failed pull says of a place; CommandError where this machine is what failed."""
    if (found := find_surroundings(done.stderr)) and found.code in _OF_THIS_MACHINE:
        done.check()
    lines = done.stderr.strip().splitlines() or [done.explain()]
    sentence = f"{place}: {lines[-1]}"
    if _REFUSED.search(lines[-1]):
        return SourceRefusedError(sentence)
    return SourceGoneError(sentence) if _ABSENT.search(lines[-1]) else SourceUnreachableError(sentence)


def _sum_up(pullspec: str, refusals: Sequence[SourceError]) -> SourceError:
    """It is gone only if all places say so: who gave no answer may have it (design, rule 4)."""
    sentence = f"{pullspec} could not be pulled: {'; '.join(error.message for error in refusals)}"
    for kind in (SourceUnreachableError, SourceRefusedError):
        if any(isinstance(error, kind) for error in refusals):
            return kind(sentence)
    return SourceError(sentence, hint=_GONE_HINT)
