"""Images come into the store by digest: from where, with which secret, and what a failure says of them."""

from __future__ import annotations

import base64
import json
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.registry import pretend_registry

from builder.config.model.registry import RegistrySettings
from builder.errors import (
    CommandError,
    KmodsmithError,
    SourceError,
    SourceGoneError,
    SourceRefusedError,
    SourceUnreachableError,
)
from builder.evidence.blame import describe_error
from builder.kernel import Arch
from builder.registry.access import RegistryAccess
from builder.registry.credentials import Credentials
from builder.registry.pull import Puller, open_puller

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fakes.pull_server import PullServer
    from fakes.tools import FakeTools

_NAME = "localhost/kmodsmith/toolkit:1"
_KEPT = json.dumps([{"id": "sha256:1", "digest": "sha256:2", "names": ["localhost/kmodsmith/toolkit:0"]}])
# Has one image, prints an id for every pull, and keeps the files with secrets; MIRROR has none.
_BUILDAH = f"""\
case "$1" in
images) echo '{_KEPT}' ;;
pull) for word; do case "$before" in --authfile) cat "$word" >>"$0.secrets" ;; esac; before=$word; done
      case "$word" in *mirror.test*) echo "Error: reading manifest: manifest unknown" >&2; exit 125 ;; esac
      printf 'Trying to pull\\n0123abcd\\n' ;;
esac
"""


@pytest.fixture
def open_pulls(server: PullServer, fake_tools: FakeTools, tmp_path: Path) -> Callable[..., Puller]:
    def opened(
        auths: dict[str, str] | None = None, *, unverified: frozenset[str] = frozenset(), **connection: Any
    ) -> Puller:
        fake_tools.add("buildah", _BUILDAH)
        file = tmp_path / "auth.json"
        entries = {name: {"auth": base64.b64encode(secret.encode()).decode()} for name, secret in (auths or {}).items()}
        file.write_text(json.dumps({"auths": entries}))
        registry = pretend_registry(server, tmp_path / "cache", **connection)
        return Puller(RegistryAccess(registry, Credentials([file]), unverified), work_dir=tmp_path)

    return opened


def _calls(tools: FakeTools, verb: str) -> list[list[str]]:
    return [call for call in tools.calls("buildah") if call[0] == verb]


def test_an_image_is_pulled_once_by_digest_and_gets_its_name(
    open_pulls: Callable[..., Puller], server: PullServer, fake_tools: FakeTools
) -> None:
    puller = open_pulls()
    for _ in range(2):
        assert puller.ensure(str(server.name), _NAME, Arch.AARCH64) == _NAME
    (pull,) = _calls(fake_tools, "pull")
    assert (pull[pull.index("--arch") + 1], pull[-1]) == ("arm64", f"docker://{server.name}")
    assert "--tls-verify=false" not in pull
    assert _calls(fake_tools, "tag") == [["tag", "0123abcd", _NAME]]
    assert _calls(fake_tools, "rmi") == [["rmi", str(server.name)]]


def test_an_image_of_the_store_is_not_asked_for(
    open_pulls: Callable[..., Puller], server: PullServer, fake_tools: FakeTools
) -> None:
    puller = open_pulls()
    kept = "localhost/kmodsmith/toolkit:0"
    assert (puller.has(kept), puller.has(_NAME)) == (True, False)
    assert puller.ensure(str(server.name), kept, Arch.X86_64) == kept
    assert (server.requests, _calls(fake_tools, "pull")) == ([], [])
    for count in (1, 2):
        puller.drop(kept)
        assert _calls(fake_tools, "rmi")[-1] == ["rmi", kept]
        puller.ensure(str(server.name), kept, Arch.X86_64)
        assert len(_calls(fake_tools, "pull")) == count, "what was dropped is pulled again"


def test_many_that_need_one_image_pull_it_once(
    open_pulls: Callable[..., Puller], server: PullServer, fake_tools: FakeTools
) -> None:
    puller = open_pulls()
    threads = [threading.Thread(target=puller.ensure, args=(str(server.name), _NAME, Arch.X86_64)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(_calls(fake_tools, "pull")) == 1


def test_mirrors_are_asked_first_each_with_its_own_secret_and_wish(
    open_pulls: Callable[..., Puller], server: PullServer, fake_tools: FakeTools, tmp_path: Path
) -> None:
    secrets = {"quay.test": "u:quay", "mirror.test": "u:mirror", "other.test": "u:other"}
    puller = open_pulls(secrets, unverified=frozenset({"quay.test"}), mirrors={"quay.test": ["mirror.test"]})
    puller.ensure(str(server.name), _NAME, Arch.X86_64)
    pulls = _calls(fake_tools, "pull")
    assert [call[-1].split("/")[2] for call in pulls] == ["mirror.test", "quay.test"]
    assert ["--tls-verify=false" in call for call in pulls] == [False, True]
    given = (fake_tools.folder / "buildah.secrets").read_text().replace("}{", "}\n{").splitlines()
    assert [json.loads(line)["auths"] for line in given] == [
        {host: {"auth": base64.b64encode(secrets[host].encode()).decode()}} for host in ("mirror.test", "quay.test")
    ]
    files = list(tmp_path.glob("toolkits-*/*/auth.json"))
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert not any("dTp" in word for call in pulls for word in call)
    puller.close()
    assert not list(tmp_path.glob("toolkits-*")), "the secrets do not stay"


def test_without_a_secret_none_of_the_machines_own_is_used(
    open_pulls: Callable[..., Puller], server: PullServer, fake_tools: FakeTools
) -> None:
    open_pulls().ensure(str(server.name), _NAME, Arch.X86_64)
    assert json.loads((fake_tools.folder / "buildah.secrets").read_text()) == {"auths": {}}


@pytest.mark.parametrize(
    ("printed", "kind", "code", "exit_code"),
    [
        ("Error: initializing source docker://x: pinging container registry x: dial tcp: connect: connection refused",
         SourceUnreachableError, "source-unreachable", 17),
        ("Error: reading manifest x: received unexpected HTTP status: 503 Service Unavailable",
         SourceUnreachableError, "source-unreachable", 17),
        ("Error: initializing source docker://x: lookup x: no such host", SourceUnreachableError, "source-unreachable", 17),
        ("Error: getting credentials: exec: docker-credential-x: executable file not found in $PATH",
         SourceUnreachableError, "source-unreachable", 17),
        ("", SourceUnreachableError, "source-unreachable", 17),
        ("Error: reading manifest x: unauthorized: authentication required", SourceRefusedError, "access-refused", 17),
        ("Error: reading manifest x: denied: requested access", SourceRefusedError, "access-refused", 17),
        ("Error: reading manifest x: StatusCode: 403", SourceRefusedError, "access-refused", 17),
        ("Error: reading manifest x in quay.test/y: manifest unknown", SourceError, "package-wrong", 10),
        ("Error: reading manifest x: name unknown: repository not found", SourceError, "package-wrong", 10),
        ("Error: reading blob x: fetching blob: StatusCode: 404, <html>", SourceError, "package-wrong", 10),
        ("a warning: not found\nError: reading manifest x: EOF", SourceUnreachableError, "source-unreachable", 17),
        ("Error: copying system image: writing blob: no space left on device", CommandError, "disk-full", 17),
        ("Error: creating read-write layer with ID 1: database is locked", CommandError, "storage-error", 17),
    ],
)  # fmt: skip
def test_what_a_failed_pull_says_of_an_image(
    open_pulls: Callable[..., Puller], server: PullServer, fake_tools: FakeTools, printed: str, kind: type[Exception],
    code: str, exit_code: int,
) -> None:  # fmt: skip
    puller = open_pulls()
    fake_tools.add("buildah", f"echo '{printed}' >&2; exit 125")
    with pytest.raises(KmodsmithError) as caught:
        puller.ensure(str(server.name), _NAME, Arch.X86_64)
    failure = describe_error(caught.value, stage="toolkit")
    assert (type(caught.value), failure.code, failure.failure_class.exit_code) == (kind, code, exit_code)
    assert _calls(fake_tools, "tag") == []


def test_a_place_that_did_not_answer_may_have_the_image(
    open_pulls: Callable[..., Puller], server: PullServer, fake_tools: FakeTools
) -> None:
    puller = open_pulls(mirrors={"quay.test": ["mirror.test"]})
    refuse = 'for last; do :; done; case "$last" in *mirror.test*) echo "{}" >&2;; *) echo "{}" >&2;; esac; exit 125'
    for answers, kind in (
        (("i/o timeout", "manifest unknown"), SourceUnreachableError),
        (("manifest unknown", "i/o timeout"), SourceUnreachableError),
        (("unauthorized", "i/o timeout"), SourceUnreachableError),
        (("unauthorized", "manifest unknown"), SourceRefusedError),
        (("manifest unknown", "manifest unknown"), SourceError),
    ):
        fake_tools.add("buildah", refuse.format(*answers))
        with pytest.raises(SourceError, match=f"could not be pulled: .*{answers[0]}; .*{answers[1]}") as caught:
            puller.ensure(str(server.name), _NAME, Arch.X86_64)
        assert type(caught.value) is kind
        assert ("chooses another toolkit" in (caught.value.hint or "")) is (kind is SourceError)


def test_an_image_that_its_registry_does_not_have_is_not_pulled(
    open_pulls: Callable[..., Puller], server: PullServer, fake_tools: FakeTools
) -> None:
    """Nor does it set off what a package that is gone does: another toolkit is somebody's choice."""
    absent = str(server.name).replace("org/name", "org/other").partition("@")[0] + "@sha256:" + "0" * 64
    with pytest.raises(SourceError, match="does not exist") as caught:
        open_pulls().ensure(absent, _NAME, Arch.X86_64)
    assert not isinstance(caught.value, SourceGoneError)
    assert "chooses another toolkit" in (caught.value.hint or "")
    assert _calls(fake_tools, "pull") == []


def test_a_failure_is_not_kept(open_pulls: Callable[..., Puller], server: PullServer, fake_tools: FakeTools) -> None:
    puller = open_pulls()
    fake_tools.add("buildah", "echo 'i/o timeout' >&2; exit 125")
    with pytest.raises(SourceUnreachableError):
        puller.ensure(str(server.name), _NAME, Arch.X86_64)
    fake_tools.add("buildah", _BUILDAH)
    assert puller.ensure(str(server.name), _NAME, Arch.X86_64) == _NAME


def test_a_pull_that_names_no_image_is_a_failure_of_the_store(
    open_pulls: Callable[..., Puller], server: PullServer, fake_tools: FakeTools
) -> None:
    puller = open_pulls()
    fake_tools.add("buildah", "exit 0")
    with pytest.raises(CommandError, match="buildah pull printed no image"):
        puller.ensure(str(server.name), _NAME, Arch.X86_64)


def test_a_size_is_that_of_the_layers_unpacked_or_a_guess(
    open_pulls: Callable[..., Puller], server: PullServer
) -> None:
    layers = json.loads(server.manifest)["layers"]
    assert open_pulls().size(str(server.name), Arch.X86_64) == 3 * sum(layer["size"] for layer in layers)
    server.answers = [httpx.ConnectError("no")] * 99
    absent = f"quay.test/org/other@sha256:{'0' * 64}"
    assert open_pulls().size(absent, Arch.X86_64) == 4 * 1024**3


def test_a_puller_of_a_project_reads_its_files_of_secrets(fake_tools: FakeTools, tmp_path: Path) -> None:
    fake_tools.add("buildah", _BUILDAH)
    (tmp_path / "pull-secret.json").write_text("[]")
    settings = RegistrySettings(auth_files=("pull-secret.json",))
    with pytest.raises(KmodsmithError, match=r"pull-secret\.json"):
        open_puller(settings, tmp_path, cache_dir=tmp_path, work_dir=tmp_path).close()
    (tmp_path / "pull-secret.json").write_text('{"auths": {}}')
    puller = open_puller(settings, tmp_path, cache_dir=tmp_path, work_dir=tmp_path)
    assert puller.has("localhost/kmodsmith/toolkit:0")
    puller.close()
    assert not list(tmp_path.glob("toolkits-*"))
