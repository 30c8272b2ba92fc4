"""Opens what ``verify`` needs: keys, registry settings, and no cache, so that what is read is what the registry has."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import UsageError
from builder.evidence.records import is_strong_enough
from builder.publish.attachments import Attachments
from builder.publish.attest.statements import BOOT_TEST
from builder.publish.reading import settings_for
from builder.publish.verifier import TESTS, Verifier, WaivedTest
from builder.pullspec import parse_pullspec
from builder.registry.access import open_registries
from builder.registry.tags import Tags
from builder.signing.image_key import read_image_key, read_public_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from builder.plan.project import Project
    from builder.publish.verifier import Verification
    from builder.signing.public_key import PublicKey


def verify_image(
    project: Project,
    image: str,
    key_files: Sequence[Path],
    *,
    without: Collection[str],
    require_boot: str | None,
    signed_as: str | None,
    plain_http: bool,
) -> Verification:
    """Verify an image; a project's versions.yaml is read where there is one, and not needed with ``key_files``.

    ``require_boot`` is one of ``BOOT_STRENGTHS``; None for what versions.yaml says.

    Raises:
        UsageError: there is no key to verify with, or a boot test is waived and demanded.
        SignerError: a key cannot be read.
        SourceError: the registry refuses, or gives no answer.
    """
    name = parse_pullspec(image)
    settings = settings_for(project, name.host, plain_http=plain_http)
    keys = _read_keys(project, key_files)
    if require_boot and BOOT_TEST in without:
        raise UsageError("a boot test cannot be waived (--without boot) and demanded (--require-boot)")
    demanded = project.config.publish.require_boot if project.file.is_file() else "any"
    boot = require_boot or demanded
    with tempfile.TemporaryDirectory(prefix="verify-") as scratch:
        registry = open_registries(settings, project.file.parent, Path(scratch)).registry
        with closing(registry):
            attachments = Attachments(registry, Tags(registry.transport))
            verifier = Verifier(registry, attachments, keys, without=without, boot=boot, signed_as=signed_as or "")
            return replace(verifier.verify(name), waived=tuple(list_waived(without, boot, demanded)))


def list_waived(without: Collection[str], boot: str, demanded: str) -> Iterator[WaivedTest]:
    """Yield the tests that are not demanded.

    Args:
        without: those that need not have been passed.
        boot: what the boot test must have proved, if it must.
        demanded: what versions.yaml says of that.
    """
    is_weaker = not is_strong_enough(boot, demanded)
    said = f"publish.require_boot: {demanded}"
    for test in TESTS:
        if test in without:
            is_demanded = test == BOOT_TEST and demanded != "any"
            yield WaivedTest(test=test, by=f"--without {test}", demanded=said if is_demanded else "")
        elif test == BOOT_TEST and is_weaker:
            yield WaivedTest(test=test, by=f"--require-boot {boot}", demanded=said)


def _read_keys(project: Project, files: Sequence[Path]) -> list[PublicKey]:
    if files:
        return [read_public_key(file) for file in files]
    key = read_image_key(project.config) if project.file.is_file() else None
    if key is None:
        raise UsageError("there is no public key to verify with", hint="give one with --key FILE; its vendor tells it")
    return [key]
