"""What is attached to images, by several machines and by strangers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest
from fakes.published_image import (
    NAME,
    OTHER,
    REPOSITORY,
    PublishedImage,
    make_published_image,
)
from fakes.registry import FakeRegistry

from builder.errors import FormatError, SourceError
from builder.image.manifests import OCI_MANIFEST, make_descriptor, referrers_tag
from builder.publish.attachments import Artifact, OccupiedError
from builder.publish.attest.attached import attestation_tag
from builder.publish.attest.bundle import (
    BUNDLE_TYPE,
)
from builder.publish.attest.simple_signing import signature_tag

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_signatures_of_others_that_come_in_between_are_kept(tmp_path: Path) -> None:
    """Two machines add to the same list at once: what got lost is added again."""
    image = make_published_image(FakeRegistry(), tmp_path)
    other = make_published_image(FakeRegistry(), tmp_path / "other")
    other.sign(signer=OTHER)
    raced: list[str] = []

    def race(request: httpx.Request) -> None:
        digest = image.facts.digest
        tags = {signature_tag(digest), referrers_tag(digest), attestation_tag(digest)}
        tag = request.url.path.rpartition("/")[2]
        if request.method == "PUT" and tag in tags and raced.count(tag) < 2:
            raced.append(tag)
            if raced.count(tag) == 1:  # theirs comes right after ours, and overwrites it
                image.server._answer(request)
                image.server.blobs |= other.server.blobs
                image.server.manifests |= {
                    key: value for key, value in other.server.manifests.items() if key[1] not in tags
                }
                image.server.manifests[REPOSITORY, tag] = other.server.manifests[REPOSITORY, tag]
                raise _LostError

    class _LostError(httpx.ReadError):
        def __init__(self) -> None:
            super().__init__("the connection broke off")

    image.server.faults.append(race)
    assert image.sign() == 8
    assert len(raced) >= 3
    assert image.wrong() == {}
    assert len(image.attachments.signatures(image.image)) == 2, "theirs is still there"
    assert len(image.attachments.referrers(image.image)) == 8
    assert len(image.attachments.attestations(image.image)) == 6


def test_a_list_that_says_nothing_of_its_entries_is_completed(tmp_path: Path) -> None:
    """Some registries leave annotations and types out."""
    server = FakeRegistry(lists_referrers=True)
    image = make_published_image(server, tmp_path)
    image.sign()

    def bare(request: httpx.Request) -> httpx.Response | None:
        if "/referrers/" not in request.url.path:
            return None
        data = json.loads(server._answer(request).content)
        for entry in data["manifests"]:
            del entry["annotations"], entry["artifactType"]
        return httpx.Response(200, json=data)

    server.faults.append(bare)
    assert image.wrong() == {}


def test_a_foreign_artefact_in_the_list_is_passed_over(image: PublishedImage) -> None:
    manifest = image.server.manifests[REPOSITORY, image.facts.digest]
    subject = make_descriptor(OCI_MANIFEST, image.facts.digest, len(manifest))
    image.attachments.add(
        image.image, subject, [Artifact(kind="application/spdx", content=b"{}", annotations={"a": "b"})]
    )
    image.attachments.add(
        image.image, subject, [Artifact(kind=BUNDLE_TYPE, content=b"rubbish", annotations={"a": "b"})]
    )
    assert image.sign() == 8
    assert image.wrong() == {}


def test_an_artefact_about_something_else_is_refused(image: PublishedImage) -> None:
    image.sign()
    entry = image.attachments.referrers(image.image)[0]
    with pytest.raises(FormatError, match="is about something else"):
        image.attachments.blob(NAME.at(f"sha256:{'3' * 64}"), entry)


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_every_way_to_say_that_there_is_no_list_of_referrers(tmp_path: Path, status: int) -> None:
    server = FakeRegistry()
    server.faults.append(lambda request: httpx.Response(status) if "/referrers/" in request.url.path else None)
    image = make_published_image(server, tmp_path)
    assert image.sign() == 8
    assert image.wrong() == {}
    assert referrers_tag(image.facts.digest) in {name for _, name in server.manifests}


def test_a_list_of_referrers_that_is_refused_is_not_an_empty_one(tmp_path: Path) -> None:
    server = FakeRegistry(lists_referrers=True)
    image = make_published_image(server, tmp_path)
    image.sign()
    server.faults.append(lambda request: httpx.Response(403) if "/referrers/" in request.url.path else None)
    with pytest.raises(SourceError, match="refuses access"):
        image.wrong()


_LAYER = {"mediaType": "application/x", "digest": f"sha256:{'1' * 64}", "size": 7, "more": ["kept"]}


@pytest.mark.parametrize("tag_of", [signature_tag, attestation_tag, referrers_tag])
@pytest.mark.parametrize("content", [b"", b"[]", b"x" * (4 * 1024**2 + 1), b'{"layers": 5, "manifests": 5}'])
def test_what_is_no_list_is_somebodys_and_is_told_with_what_to_do(
    tmp_path: Path, tag_of: Callable[[str], str], content: bytes
) -> None:
    image = make_published_image(FakeRegistry(), tmp_path)
    place = (REPOSITORY, tag_of(image.facts.digest))
    image.server.manifests[place] = content
    with pytest.raises(OccupiedError) as caught:
        image.sign()
    assert image.server.manifests[place] == content
    for words in (f"quay.test/{REPOSITORY}:{place[1]} stands for ", "nothing is written over it", "remove that tag"):
        assert words in caught.value.message
    del image.server.manifests[place]
    assert image.sign()
    assert image.wrong() == {}


@pytest.mark.parametrize(("tag_of", "added"), [(signature_tag, 1), (attestation_tag, 3)])
def test_a_list_grows_no_longer_than_anybody_reads(tmp_path: Path, tag_of: Callable[[str], str], added: int) -> None:
    image = make_published_image(FakeRegistry(), tmp_path)
    tag = tag_of(image.facts.digest)
    theirs = [{**_LAYER, "digest": f"sha256:{number:064x}"} for number in range(1001)]
    for number in (1001, 1001 - added):
        image.server.put_manifest(REPOSITORY, {"mediaType": OCI_MANIFEST, "layers": theirs[:number]}, tag)
        before = image.server.manifests[REPOSITORY, tag]
        with pytest.raises(OccupiedError, match="take out what nobody wants"):
            image.sign()
        assert image.server.manifests[REPOSITORY, tag] == before
    image.server.put_manifest(REPOSITORY, {"mediaType": OCI_MANIFEST, "layers": theirs[: 1000 - added]}, tag)
    image.sign()
    layers = json.loads(image.server.manifests[REPOSITORY, tag])["layers"]
    assert (len(layers), layers[: 1000 - added]) == (1000, theirs[: 1000 - added]), "what others put there stays"
    assert image.wrong() == {}


def test_the_tag_of_referrers_grows_no_longer_than_it_is_read(tmp_path: Path) -> None:
    image = make_published_image(FakeRegistry(), tmp_path)
    tag = referrers_tag(image.facts.digest)
    image.server.put_manifest(REPOSITORY, {"manifests": [{"a": 1}] * 9_997}, tag)
    before = image.server.manifests[REPOSITORY, tag]
    with pytest.raises(OccupiedError, match="would have 10001 entries"):
        image.sign()
    assert image.server.manifests[REPOSITORY, tag] == before
    image.server.put_manifest(REPOSITORY, {"manifests": [{"a": 1}] * 9_996}, tag)
    image.sign()
    assert image.wrong() == {}


@pytest.mark.parametrize("tag_of", [signature_tag, attestation_tag, referrers_tag])
def test_a_list_grows_no_larger_than_anybody_reads(tmp_path: Path, tag_of: Callable[[str], str]) -> None:
    """A stranger's one entry may leave no room: ours on top of it would hide the whole list from everybody."""
    image = make_published_image(FakeRegistry(), tmp_path)
    tag = tag_of(image.facts.digest)
    large = {**_LAYER, "annotations": {"a": "x" * (4 * 1024**2 - 500)}}
    image.server.put_manifest(REPOSITORY, {"manifests" if tag_of is referrers_tag else "layers": [large]}, tag)
    before = image.server.manifests[REPOSITORY, tag]
    with pytest.raises(OccupiedError, match="nobody reads more than 4194304"):
        image.sign()
    assert image.server.manifests[REPOSITORY, tag] == before


def test_more_referrers_than_are_read_are_told(tmp_path: Path) -> None:
    server = FakeRegistry(lists_referrers=True)
    image = make_published_image(server, tmp_path)
    many = {"manifests": [5] * 10_001}
    server.faults.append(lambda request: httpx.Response(200, json=many) if "/referrers/" in request.url.path else None)
    with pytest.raises(OccupiedError, match="remove what is not yours there"):
        image.sign()
