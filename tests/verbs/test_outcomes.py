"""Every verb on a machine where one thing is wrong: the right exit code, one sentence, no traceback."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fakes.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fakes.bench import Bench
    from fakes.tools import FakeTools


_PUBLIC_KEY = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
)


def _no_buildah(bench: Bench, tools: FakeTools, _patch: pytest.MonkeyPatch) -> None:
    (tools.folder / "buildah").unlink()


def _dead_registry(bench: Bench, _tools: FakeTools, patch: pytest.MonkeyPatch) -> None:
    """Sockets are forbidden in these tests: that is a registry which does not answer."""


def _broken_store(_bench: Bench, tools: FakeTools, _patch: pytest.MonkeyPatch) -> None:
    tools.add("buildah", "echo 'Error: database is locked' >&2; exit 125")


def _store_that_babbles(_bench: Bench, tools: FakeTools, _patch: pytest.MonkeyPatch) -> None:
    tools.add("buildah", "echo '{\"no\": [1]}'")


def _fail_writes(patch: pytest.MonkeyPatch, folder: Path, number: int) -> None:
    """Let everything that would be made or written below a folder fail; root may write everywhere, so it is pretended."""
    import builtins
    import io

    real_open, real_mkdir, real_io = os.open, os.mkdir, io.open

    def is_below(path: object) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(str(folder))

    def check(path: object) -> None:
        if is_below(path):
            raise OSError(number, os.strerror(number), os.fspath(path))  # type: ignore[call-overload]

    def mkdir(path: object, *arguments: object, **options: object) -> None:
        check(path)
        real_mkdir(path, *arguments, **options)  # type: ignore[arg-type]

    def low_open(path: object, flags: int, *arguments: object, **options: object) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            check(path)
        return real_open(path, flags, *arguments, **options)  # type: ignore[arg-type]

    def high_open(file: object, mode: str = "r", *arguments: object, **options: object) -> object:
        if set(mode) & set("wax+"):
            check(file)
        return real_io(file, mode, *arguments, **options)  # type: ignore[call-overload]

    patch.setattr(os, "mkdir", mkdir)
    patch.setattr(os, "open", low_open)
    patch.setattr(io, "open", high_open)
    patch.setattr(builtins, "open", high_open)


def _read_only_work(bench: Bench, _tools: FakeTools, patch: pytest.MonkeyPatch) -> None:
    _fail_writes(patch, bench.folder / ".kmodsmith", errno.EROFS)


def _read_only_cache(bench: Bench, _tools: FakeTools, patch: pytest.MonkeyPatch) -> None:
    _fail_writes(patch, bench.folder.parent / "cache", errno.EACCES)


def _full_tmp(bench: Bench, _tools: FakeTools, patch: pytest.MonkeyPatch) -> None:
    import tempfile

    folder = bench.folder.parent / "tmp"
    folder.mkdir()
    patch.setattr(tempfile, "tempdir", str(folder))
    _fail_writes(patch, folder, errno.ENOSPC)


def _full_disk(bench: Bench, _tools: FakeTools, patch: pytest.MonkeyPatch) -> None:
    _fail_writes(patch, bench.folder, errno.ENOSPC)


def _dead_archive(_bench: Bench, tools: FakeTools, _patch: pytest.MonkeyPatch) -> None:
    tools.add("apt-get", "echo 'E: Could not connect to deb.debian.org:80, connection timed out' >&2; exit 100")


_FAULTS: dict[str, Callable[[Bench, FakeTools, pytest.MonkeyPatch], None]] = {
    "dead registry": _dead_registry,
    "dead archive": _dead_archive,
    "no buildah": _no_buildah,
    "broken store": _broken_store,
    "babbling store": _store_that_babbles,
    "read-only work folder": _read_only_work,
    "read-only cache": _read_only_cache,
    "full tmp": _full_tmp,
    "full disk": _full_disk,
}


_ONE = ("--kernel", "6.1.0-10-amd64")
_CELL = ("build", *_ONE)
_LOCKED = "Error: database is locked"
_UNREADABLE = "printed something unreadable"
_FULL = "cannot be read or written: No space left on device"
_READ_ONLY = "cannot be read or written: Read-only file system"
_DENIED = "cannot be read or written: Permission denied"


# What README's table of exit codes says: the fault, the verb, the code, and words of the sentence.
_ROWS: list[tuple[str, tuple[str, ...], int, str]] = [
    ("dead registry", (*_CELL, "--unless-published"), 17, "Connection refused"),
    ("dead registry", ("nightly", *_ONE), 17, "Connection refused"),
    ("dead registry", ("publish", *_ONE), 16, "Connection refused"),
    ("dead registry", ("audit", *_ONE), 16, "Connection refused"),
    ("dead registry", ("verify", "registry.test:5000/drivers/demo:1", "--key", "key.pub"), 7, "Connection refused"),
    ("dead registry", ("bundle", *_ONE), 7, "Connection refused"),
    ("dead registry", ("emit", "kmm", *_ONE), 7, "Connection refused"),
    ("dead registry", ("plan",), 0, ""),
    ("dead archive", ("discover",), 7, "the Debian archive did not answer"),
    ("no buildah", _CELL, 6, "buildah is not installed"),
    ("no buildah", ("fit", "localhost/demo:1"), 6, "buildah is not installed"),
    ("no buildah", ("drift", "6.1.0-9-amd64", "6.1.0-10-amd64"), 6, "buildah is not installed"),
    ("no buildah", ("discover",), 6, "neither apt-get nor buildah is installed"),
    ("no buildah", ("plan",), 0, ""),
    ("broken store", ("plan",), 17, _LOCKED),
    ("broken store", _CELL, 17, _LOCKED),
    ("broken store", ("prune",), 17, _LOCKED),
    ("broken store", ("audit",), 17, _LOCKED),
    ("broken store", ("fit", "localhost/demo:1"), 17, _LOCKED),
    ("broken store", ("discover",), 6, _LOCKED),  # where apt runs in an image of it
    ("broken store", ("matrix",), 0, ""),
    ("babbling store", ("plan",), 17, _UNREADABLE),
    ("babbling store", _CELL, 17, _UNREADABLE),
    ("babbling store", ("prune",), 17, _UNREADABLE),
    ("read-only work folder", _CELL, 6, _READ_ONLY),
    ("read-only work folder", ("prune",), 6, _READ_ONLY),
    ("read-only work folder", ("publish",), 6, _READ_ONLY),
    ("read-only work folder", ("plan",), 0, ""),
    ("read-only cache", _CELL, 6, _DENIED),
    ("read-only cache", ("discover",), 6, _DENIED),
    ("read-only cache", ("drift", "6.1.0-9-amd64", "6.1.0-10-amd64"), 6, _DENIED),
    ("full tmp", _CELL, 17, _FULL),
    ("full tmp", ("fit", "localhost/demo:1"), 6, _FULL),
    ("full tmp", ("verify", "registry.test:5000/drivers/demo:1", "--key", "key.pub"), 6, _FULL),
    ("full disk", _CELL, 6, _FULL),
    ("full disk", ("discover",), 6, _FULL),
    ("full disk", ("emit", "policy"), 2, "images are not signed"),
]


@pytest.mark.parametrize(("fault", "verb", "code", "words"), _ROWS)
def test_one_thing_is_wrong(
    bench: Bench,
    fake_tools: FakeTools,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    verb: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    file = bench.folder / "versions.yaml"
    file.write_text(
        file.read_text().replace("    vendor: V\n", "    vendor: V\n    image: registry.test:5000/drivers/demo\n")
    )
    (bench.folder / "key.pub").write_bytes(_PUBLIC_KEY)
    monkeypatch.chdir(bench.folder)
    monkeypatch.setattr("builder.host.http._PAUSE_S", 0.0)

    def refuse(*_: object) -> None:
        raise httpx.ConnectError("[Errno 111] Connection refused")

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", refuse)
    _FAULTS[fault](bench, fake_tools, monkeypatch)
    found, out, err = bench.run(*verb)
    assert found == code, err
    assert words in " ".join((out + err).split())
    assert "Traceback" not in out + err
    assert "defect" not in out + err


@pytest.mark.parametrize(
    ("verb", "code"),
    [
        (("plan", "--group", "few"), 0),
        (("prune", "--dry-run"), 0),
        (("audit",), 0),
        (("publish",), 0),  # all of it is local
        (("emit", "kmm"), 2),  # no image goes to a registry
        (("emit", "nfd"), 2),
        (("bundle",), 2),
        (("compat",), 2),  # nothing is built
        (("build",), 9),
    ],
)
def test_only_what_signs_needs_a_certificate_that_may_sign_now(bench: Bench, verb: tuple[str, ...], code: int) -> None:
    bench.use_signer(until=datetime(2025, 1, 1, tzinfo=UTC), key_file="sign.key")
    found, _, err = bench.run(*verb)
    sentence = "signer vendor: the certificate of CN=Vendor expired on 2025-01-01"
    assert (found, err.count(f"{sentence}: nothing new can be signed by it")) == (code, 1), err
    assert (f"error: {sentence}" in err) is (code == 9)
    assert bench.started_builds() == 0
