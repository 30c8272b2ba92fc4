"""Images of other machines that hold the very files of one that is here, and those that only look so."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.exported import KEY, LAYER, StoredImage
from fakes.lists import never
from fakes.published_image import OTHER, SIGNER
from fakes.registry import FakeRegistry, digest_of

from builder.errors import SourceError
from builder.evidence.journal import Journal
from builder.image.labels import KEY_LABEL
from builder.publish.attest.bundle import make_statement
from builder.publish.attest.statements import CELL_PREDICATES
from builder.publish.attester import Attester, read_bundled
from builder.publish.equality import find_difference
from builder.publish.publishable import ImageNames, Publishable, Statements
from builder.publish.publisher import Publisher, PublishTools
from builder.publish.result import PublishResult, PublishStatus, advise
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

    from builder.signing.image_key import OpenImageSigner

_REPOSITORY = "org/drv"
_NAME = parse_pullspec(f"quay.test/{_REPOSITORY}:1")
_FORMS = [LAYER, f"{LAYER}+gzip", f"{LAYER}+zstd"]


@pytest.fixture
def stored(tmp_path: Path) -> StoredImage:
    return StoredImage(tmp_path / "stored")


@pytest.fixture
def server() -> FakeRegistry:
    return FakeRegistry(lists_referrers=True)


def _difference(server: FakeRegistry, stored: StoredImage, digest: str, tmp_path: Path) -> str:
    registry, _, _ = server.open(tmp_path / "cache")
    return find_difference(registry, _NAME.at(digest), stored.exported())


@pytest.mark.parametrize("form", _FORMS)
def test_how_layers_are_packed_makes_no_difference(
    server: FakeRegistry, stored: StoredImage, form: str, tmp_path: Path
) -> None:
    digest = stored.put(server, _REPOSITORY, "1", form)
    assert digest != stored.digest
    assert _difference(server, stored, digest, tmp_path) == ""


def test_layers_that_are_packed_as_ours_are_not_fetched(
    server: FakeRegistry, stored: StoredImage, tmp_path: Path
) -> None:
    ours = json.loads(stored.exported().packed.manifest)
    plain = stored.describe(LAYER, server, _REPOSITORY)
    digest = server.put_manifest(_REPOSITORY, {**ours, "layers": [ours["layers"][0], plain[1]]})
    assert _difference(server, stored, digest, tmp_path) == ""
    assert [line for line in server.log if "/blobs/" in line] == [f"GET /v2/{_REPOSITORY}/blobs/{plain[1]['digest']}"]


_BOMB = gzip.compress(b"\0" * 50_000_000)


@pytest.mark.parametrize(
    "content", [b"other modules", gzip.compress(b"modules " * 900 + b"!"), b"", b"\x1f\x8bno gzip", _BOMB],
    ids=["other", "more", "empty", "broken", "bomb"],
)  # fmt: skip
@pytest.mark.parametrize("place", [0, 1])
def test_our_configuration_beside_other_layers_is_found(
    server: FakeRegistry, stored: StoredImage, place: int, content: bytes, tmp_path: Path
) -> None:
    layers = stored.describe(f"{LAYER}+gzip", server, _REPOSITORY)
    server.put_blob(_REPOSITORY, content)
    layers[place] |= {"digest": digest_of(content), "size": len(content)}
    digest = server.put_manifest(_REPOSITORY, stored.manifest(*layers))
    assert _difference(server, stored, digest, tmp_path) == (
        f"its layer {digest_of(content)} is not the one that its configuration names"
    )


def test_a_layer_that_claims_to_be_huge_is_not_fetched(
    server: FakeRegistry, stored: StoredImage, tmp_path: Path
) -> None:
    layers = stored.describe(LAYER, server, _REPOSITORY)
    layers[1] |= {"digest": f"sha256:{'9' * 64}", "size": 2**50}
    digest = server.put_manifest(_REPOSITORY, stored.manifest(*layers))
    assert "is not the one" in _difference(server, stored, digest, tmp_path)
    assert not [line for line in server.log if "/blobs/sha256:9" in line]


_MORE = "differs in more than how layers are packed"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data["config"].update(digest=f"sha256:{'1' * 64}"), "its configuration differs"),
        (lambda data: data["config"].update(mediaType="application/x"), "its configuration differs"),
        (lambda data: data.update(annotations={"a": "b"}), _MORE),
        (lambda data: data.update(subject=data["config"]), _MORE),
        (lambda data: data.update(artifactType="application/x"), _MORE),
        (lambda data: data["layers"].pop(), _MORE),
        (lambda data: data["layers"].append(data["layers"][0]), _MORE),
        (lambda data: data["layers"][0].update(urls=["https://evil.test"]), _MORE),
        (lambda data: data["layers"][0].update(mediaType="application/x"), "which is no layer"),
        (lambda data: data["layers"].reverse(), "is not the one that its configuration names"),
    ],
)
def test_whatever_else_differs_is_no_proof(
    server: FakeRegistry, stored: StoredImage, change: Any, words: str, tmp_path: Path
) -> None:
    data = stored.manifest(*stored.describe(LAYER, server, _REPOSITORY))
    change(data)
    digest = server.put_manifest(_REPOSITORY, data)
    assert words in _difference(server, stored, digest, tmp_path)


@pytest.mark.parametrize("name", ["layers", "annotations", "config"])
def test_a_name_that_stands_twice_is_no_proof(
    server: FakeRegistry, stored: StoredImage, name: str, tmp_path: Path
) -> None:
    """Go adds what the first one says to the second: engines would see layers with addresses or tables of contents."""
    content = json.dumps(stored.manifest(*stored.describe(LAYER, server, _REPOSITORY)))
    first = {"layers": [{"urls": ["https://evil.test"]}], "annotations": {"more": "x"}, "config": {"urls": ["x"]}}[name]
    twice = f'{{"{name}": {json.dumps(first)}, {content[1:]}'.encode()
    digest = digest_of(twice)
    server.manifests[_REPOSITORY, digest] = twice
    assert "its manifest is not JSON: " in _difference(server, stored, digest, tmp_path)


def test_a_registry_that_does_not_give_a_layer_proves_nothing(
    server: FakeRegistry, stored: StoredImage, tmp_path: Path
) -> None:
    digest = stored.put(server, _REPOSITORY, "1", LAYER)
    server.faults.append(lambda request: httpx.Response(503) if "/blobs/" in request.url.path else None)
    with pytest.raises(SourceError, match="HTTP 503"):
        _difference(server, stored, digest, tmp_path)


def _item(stored: StoredImage, **changes: Any) -> Publishable:
    def state(digest: str) -> Statements:
        made = {kind: make_statement("n", digest, kind, {}) for kind in CELL_PREDICATES}
        return Statements(by_kind=made, made="2026-11-23T00:00:00Z")

    item = Publishable(
        title="drv-1/6.1", key=KEY, arch="amd64", names=ImageNames(own=(str(_NAME),)), predicates=CELL_PREDICATES,
        state=state, stored_as="localhost/kmodsmith/cell:k", digest=stored.digest,
    )  # fmt: skip
    return replace(item, **changes)


def _publish(
    server: FakeRegistry, item: Publishable, tmp_path: Path, signer: OpenImageSigner = SIGNER, force: str = ""
) -> PublishResult:
    registry, uploader, attachments = server.open(tmp_path / "cache")
    tools = PublishTools(
        registry=registry, uploader=uploader, journal=Journal(tmp_path / "journal.jsonl"),
        attester=Attester(attachments, signer), scratch=tmp_path, run_id="r",
    )  # fmt: skip
    return Publisher(tools).publish(item, force=force)


@pytest.mark.parametrize("theirs", [None, OTHER], ids=["unsigned", "signed by another key"])
def test_what_is_proved_equal_is_signed_as_ours(
    server: FakeRegistry, stored: StoredImage, fake_tools: FakeTools, theirs: OpenImageSigner | None, tmp_path: Path
) -> None:
    stored.keep_in(fake_tools)
    digest = stored.put(server, _REPOSITORY, "1", LAYER)
    if theirs is not None:
        assert _publish(server, _item(stored), tmp_path, theirs).status is PublishStatus.COMPLETED
    result = _publish(server, _item(stored), tmp_path)
    assert (result.status, result.digest, result.attached) == (PublishStatus.COMPLETED, digest, 8)
    assert digest_of(server.manifests[_REPOSITORY, "1"]) == digest, "no tag was moved"
    _, _, attachments = server.open(tmp_path / "reader")
    image = _NAME.at(digest)
    assert set(read_bundled(attachments, image, attachments.referrers(image), [SIGNER.key])) == set(CELL_PREDICATES)
    before = len(server.log)
    assert _publish(server, _item(stored), tmp_path).status is PublishStatus.THERE
    assert not [line for line in server.log[before:] if not line.startswith(("GET", "HEAD"))]
    assert not list(tmp_path.glob("publish-*")), "nothing is left"


def test_names_that_another_machine_did_not_write_get_what_was_proved_equal(
    server: FakeRegistry, stored: StoredImage, fake_tools: FakeTools, tmp_path: Path
) -> None:
    stored.keep_in(fake_tools)
    digest = stored.put(server, _REPOSITORY, "1", LAYER)
    names = ImageNames(own=(str(_NAME), f"quay.test/{_REPOSITORY}:alias"))
    result = _publish(server, _item(stored, names=names), tmp_path)
    assert (result.status, result.attached) == (PublishStatus.PUBLISHED, 9)
    assert digest_of(server.manifests[_REPOSITORY, "alias"]) == digest


def test_what_is_not_equal_gets_no_signature_of_ours(
    server: FakeRegistry, stored: StoredImage, fake_tools: FakeTools, tmp_path: Path
) -> None:
    """Whoever may write the tag, and knows our configuration, does not get it by that."""
    stored.keep_in(fake_tools)
    layers = stored.describe(LAYER, server, _REPOSITORY)
    evil = server.put_blob(_REPOSITORY, b"evil modules")
    server.put_blob(_REPOSITORY, stored.config)
    server.put_manifest(_REPOSITORY, stored.manifest(layers[0], {**evil, "mediaType": LAYER}), "1")
    result = _publish(server, _item(stored), tmp_path)
    assert result.status is PublishStatus.UNSIGNED
    assert f"its layer {evil['digest']} is not the one" in result.why
    assert "publish on that machine" in result.why
    assert not [tag for _, tag in server.manifests if tag.endswith((".sig", ".att"))]
    assert not [line for line in server.log if line.startswith("PUT")]
    assert _publish(server, _item(stored), tmp_path, force="it is a fake").status is PublishStatus.PUBLISHED


def test_what_is_not_here_cannot_be_compared(server: FakeRegistry, stored: StoredImage, tmp_path: Path) -> None:
    stored.put(server, _REPOSITORY, "1", LAYER)
    result = _publish(server, _item(stored, digest="", why="never built", state=never), tmp_path)
    assert result.status is PublishStatus.UNSIGNED
    assert "publish on that machine, or build it here and publish again" in result.why
    assert not result.may_be_moved


def test_other_inputs_are_never_taken_for_ours(
    server: FakeRegistry, stored: StoredImage, fake_tools: FakeTools, tmp_path: Path
) -> None:
    stored.keep_in(fake_tools)
    stored.put(server, _REPOSITORY, "1", LAYER, annotations={KEY_LABEL: "x" * 64})
    result = _publish(server, _item(stored), tmp_path)
    assert (result.status, result.may_be_moved) == (PublishStatus.CONFLICT, True)
    assert "made of other inputs" in result.why


def _result(title: str, status: PublishStatus, digest: str = "sha256:1") -> PublishResult:
    return PublishResult(title=title, names=(), status=status, digest=digest)


def test_one_command_moves_all_tags() -> None:
    moved = [_result(f"drv-1/6.{number}", PublishStatus.UNSIGNED) for number in range(5)]
    assert advise(moved).endswith("all at once, add to the same command: --force 'drv-1/*' --reason 'WHY'")
    assert "the 5 images of this machine" in advise(moved)
    some = [*moved[:2], _result("drv-1/6.9", PublishStatus.THERE), _result("b-2/6.1", PublishStatus.CONFLICT)]
    assert "--force drv-1/6.0 --force drv-1/6.1 --force 'b-2/*' --reason" in advise(some)
    for status in set(PublishStatus) - {PublishStatus.CONFLICT, PublishStatus.UNSIGNED}:
        assert advise([_result("drv-1/6.1", status)]) == ""
    assert advise([_result("drv-1/6.1", PublishStatus.UNSIGNED, digest="")]) == "", "there is nothing to move it to"
