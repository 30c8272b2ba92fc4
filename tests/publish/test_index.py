"""What a driver's index says: what its registry has, whatever a run did."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.published_image import OTHER, SIGNER
from fakes.publishing import use_image_signer

from builder.kernel import parse_kernel_version
from builder.publish.index import list_doubtful, list_releases, read_proof
from builder.publish.index_document import (
    INDEX_TAG,
    DriverIndex,
    IndexedCell,
    find_envelope,
    make_manifest,
    open_index,
    sign_index,
    time_of_tag,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.bench import Bench
    from fakes.registry import FakeRegistry

_FIRST, _SECOND = "6.1.0-10-amd64", "6.12.5+deb12-amd64"


@pytest.fixture
def signed(bench: Bench, registry: FakeRegistry) -> Bench:
    """A project whose images are signed, with two kernels built."""
    use_image_signer(bench)
    assert bench.build("--kernel", _FIRST, "--kernel", _SECOND)[0] == 0
    return bench


def _publish(bench: Bench, *kernels: str, **options: str) -> dict[str, Any]:
    words = [word for kernel in kernels for word in ("--kernel", kernel)]
    words += [word for name, value in options.items() for word in (f"--{name}", value)]
    _, out, err = bench.run("publish", "--json", *words)
    assert out, err
    data = json.loads(out)
    assert all(cell["status"] in {"published", "there", "completed", "left-out"} for cell in data["cells"]), data
    (index,) = data["indexes"]
    return dict(index)


def _index(registry: FakeRegistry, tag: str = INDEX_TAG) -> DriverIndex:
    blob = find_envelope(registry.manifests["demo", tag])
    return open_index(registry.blobs["demo", blob.digest], [SIGNER.key])


def _kernels(registry: FakeRegistry) -> set[tuple[str, str]]:
    return set(_index(registry).images)


def _edit(bench: Bench, old: str, new: str) -> None:
    file = bench.folder / "versions.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def _forget_index(registry: FakeRegistry) -> None:
    for key in [key for key in registry.manifests if key[1] == INDEX_TAG or time_of_tag(key[1])]:
        del registry.manifests[key]


def test_what_is_published_is_in_the_index(signed: Bench, registry: FakeRegistry) -> None:
    told = _publish(signed, _FIRST, _SECOND)
    assert (told["index"], told["status"], told["why"]) == ("demo/index", "published", "")
    index = _index(registry)
    assert told["names"] == ["quay.test/demo:index", f"quay.test/demo:{index.tag}"]
    assert _kernels(registry) == {("1.2.0", _FIRST), ("1.2.0", _SECOND)}
    cell = index.images["1.2.0", _FIRST]
    assert cell.image == f"quay.test/demo@{signed.digest(_FIRST)}"
    assert (cell.arch, cell.proven, index.releases) == ("amd64", "fit", {})


def test_a_second_run_writes_nothing(signed: Bench, registry: FakeRegistry) -> None:
    first = _publish(signed, _FIRST)
    registry.log.clear()
    again = _publish(signed, _FIRST)
    assert (again["status"], again["digest"]) == ("there", first["digest"])
    assert [line for line in registry.log if not line.startswith(("GET", "HEAD"))] == []


def test_it_says_what_the_registry_has_and_not_what_was_selected(signed: Bench, registry: FakeRegistry) -> None:
    _publish(signed, _FIRST)
    assert _publish(signed, _SECOND)["status"] == "published"
    assert _kernels(registry) == {("1.2.0", _FIRST), ("1.2.0", _SECOND)}
    _forget_index(registry)
    _publish(signed, _SECOND)
    assert _kernels(registry) == {("1.2.0", _FIRST), ("1.2.0", _SECOND)}, "of the other, the registry knows"


def test_where_images_are_not_signed_there_is_none_and_why(bench: Bench, registry: FakeRegistry) -> None:
    bench.build("--kernel", _FIRST)
    told = _publish(bench, _FIRST)
    assert (told["status"], "images are not signed" in told["why"]) == ("left-out", True)
    assert registry.final_tags == {f"1.2.0-{_FIRST}"}
    code, out, _ = bench.run("publish", "--kernel", _FIRST)
    assert (code, "demo/index" in out) == (0, True)


def test_a_driver_without_a_published_cell_has_none(signed: Bench, registry: FakeRegistry) -> None:
    registry.faults.append(lambda request: httpx.Response(403))
    _, out, _ = signed.run("publish", "--json", "--kernel", _FIRST)
    assert json.loads(out)["indexes"] == []


def test_other_versions_stay(signed: Bench, registry: FakeRegistry) -> None:
    _publish(signed, _FIRST)
    _edit(signed, "version: 1.2.0", "version: 1.3.0")
    signed.offer_with_keys()
    assert signed.build("--kernel", _FIRST)[0] == 0
    _publish(signed, _FIRST)
    assert _kernels(registry) == {("1.2.0", _FIRST), ("1.3.0", _FIRST)}
    _forget_index(registry)
    _publish(signed, _FIRST)
    assert _kernels(registry) == {("1.2.0", _FIRST), ("1.3.0", _FIRST)}, "the journal and the signed provenance know it"
    _forget_index(registry)
    del registry.manifests["demo", f"1.2.0-{_FIRST}"]
    _publish(signed, _FIRST)
    assert _kernels(registry) == {("1.3.0", _FIRST)}, "a name that is gone is no proof"


def test_what_versions_yaml_leaves_out_leaves_it_and_that_is_told(signed: Bench, registry: FakeRegistry) -> None:
    _publish(signed, _FIRST, _SECOND)
    with (signed.folder / "versions.yaml").open("a") as file:
        file.write(f"exclude: [{{kernel: '{_FIRST}', reason: no such customers}}]\n")
    told = _publish(signed, _SECOND)
    assert _kernels(registry) == {("1.2.0", _SECOND)}
    assert f"{_FIRST} of version 1.2.0 leaves the index: " in told["why"]
    assert "no such customers" in told["why"]


def test_what_is_known_to_be_bad_leaves_it(signed: Bench, registry: FakeRegistry) -> None:
    _publish(signed, _FIRST, _SECOND)
    with (signed.folder / "versions.yaml").open("a") as file:
        file.write(f"known_bad: [{{kernel: '{_FIRST}', reason: bug 7, owner: jo, expires: 2099-01-31}}]\n")
    assert "bug 7" in _publish(signed, _SECOND)["why"]
    assert _kernels(registry) == {("1.2.0", _SECOND)}


def test_an_index_is_emptied_where_all_is_known_to_be_bad_and_none_is_begun(
    signed: Bench, registry: FakeRegistry
) -> None:
    """The one time when it must not stay as it is: the vendor calls everything back."""
    _publish(signed, _FIRST)
    with (signed.folder / "versions.yaml").open("a") as file:
        file.write("known_bad: [{kernel: '*', reason: bug 7, owner: jo, expires: 2099-01-31}]\n")
    assert "bug 7" in _publish(signed, _FIRST)["why"]
    assert _kernels(registry) == set()
    _forget_index(registry)
    _, out, _ = signed.run("publish", "--json", "--kernel", _FIRST)
    assert (json.loads(out)["indexes"], INDEX_TAG in registry.final_tags) == ([], False)


def test_an_image_that_is_gone_leaves_it_and_that_is_told(signed: Bench, registry: FakeRegistry) -> None:
    _publish(signed, _FIRST, _SECOND)
    for tag in (f"1.2.0-{_FIRST}", signed.digest(_FIRST)):
        del registry.manifests["demo", tag]
    told = _publish(signed, _SECOND)
    assert "the registry says that it does not have its image any more" in told["why"]
    assert _kernels(registry) == {("1.2.0", _SECOND)}


@pytest.mark.parametrize("status", [403, 500])
def test_no_answer_about_a_cell_changes_nothing(signed: Bench, registry: FakeRegistry, status: int) -> None:
    _publish(signed, _FIRST, _SECOND)
    before = registry.manifests["demo", INDEX_TAG]
    hidden = f"/manifests/1.2.0-{_FIRST}"
    registry.faults.append(lambda request: httpx.Response(status) if request.url.path.endswith(hidden) else None)
    told = _publish(signed, _SECOND)
    assert told["status"] == "unknown"
    assert registry.manifests["demo", INDEX_TAG] == before


def test_an_image_of_another_key_is_not_in_it(
    signed: Bench, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(signed, _SECOND)
    with monkeypatch.context() as patched:
        patched.setattr("builder.publish.cells.open_image_signer", _open_other)
        _publish(signed, _FIRST)
    assert _kernels(registry) == {("1.2.0", _SECOND)}
    _publish(signed, _FIRST)
    assert _kernels(registry) == {("1.2.0", _SECOND), ("1.2.0", _FIRST)}, "and is, once the key signed it"


def test_releases_stay_until_it_is_doubtful_what_they_run(
    signed: Bench, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.publish.index.list_releases", lambda _: iter([("4.18.1-x86_64", (_FIRST,))]))
    _publish(signed, _FIRST)
    monkeypatch.setattr("builder.publish.index.list_releases", lambda _: iter([("4.18.2-x86_64", (_SECOND,))]))
    assert _publish(signed, _FIRST)["why"] == ""
    both = {"4.18.1-x86_64": (_FIRST,), "4.18.2-x86_64": (_SECOND,)}
    assert _index(registry).releases == both, "clusters still run it"
    monkeypatch.setattr("builder.publish.index.list_doubtful", lambda _: iter(["4.18.1-x86_64"]))
    told = _publish(signed, _FIRST)
    assert "release 4.18.1-x86_64 leaves the index" in told["why"]
    assert set(_index(registry).releases) == {"4.18.2-x86_64"}


def test_what_is_in_its_way_is_told_with_the_command_that_replaces_it(signed: Bench, registry: FakeRegistry) -> None:
    registry.manifests["demo", INDEX_TAG] = b"{}"
    code, out, _ = signed.run("publish", "--json", "--kernel", _FIRST)
    data = json.loads(out)
    (told,) = data["indexes"]
    assert (code, told["status"]) == (16, "conflict")
    assert "nothing is written over it" in told["why"]
    assert "--force 'demo/*'" in data["advice"]
    told = _publish(signed, _FIRST, force="demo/index", reason="it was nobody's")
    assert told["status"] == "published"
    assert _kernels(registry) == {("1.2.0", _FIRST)}


def test_tests_say_what_was_proved_and_who_signed() -> None:
    def proof(*configuration: Any) -> tuple[str, tuple[str, ...]]:
        return read_proof({"configuration": list(configuration)})

    signature = {"name": "module-signature", "annotations": {"signers": ["a" * 64, 5]}}
    assert proof({"name": "fit", "annotations": {}}) == ("fit", ())
    assert proof(signature) == ("fit", ("a" * 64,))
    for mode, signed_by, proven in (
        ("plain", "nobody", "any"),
        ("secure", "throwaway", "secure"),
        ("secure", "signers", "signed"),
    ):
        boot = {"name": "boot", "annotations": {"mode": mode, "signedBy": signed_by}}
        assert proof(signature, boot) == (proven, ("a" * 64,))
    assert proof(5, {"name": 5}, {"name": "boot", "annotations": 5}, {"name": "module-signature"}) == ("any", ())
    assert read_proof({"configuration": 5}) == ("fit", ())


def _project(*releases: Any) -> Any:
    source = SimpleNamespace(list_releases=lambda: iter(releases))
    groups = {"ocp": SimpleNamespace(source="ocp"), "gone": SimpleNamespace(source="gone")}
    return SimpleNamespace(config=SimpleNamespace(groups=groups), lock=SimpleNamespace(sources={"ocp": source}))


def _release(version: str, *streams: tuple[str, ...], disputed: tuple[str, ...] = ()) -> Any:
    runs = [SimpleNamespace(runs=tuple(map(parse_kernel_version, kernels))) for kernels in streams]
    return SimpleNamespace(version=version, arch="x86_64", streams=tuple(runs), disputed=disputed)


_K1, _K2 = "5.14.0-427.50.1.el9_4.x86_64", "5.14.0-427.50.1.el9_4.x86_64+rt"


def test_a_release_has_all_kernels_of_all_its_streams() -> None:
    assert dict(list_releases(_project(_release("4.18.1", (_K2, _K1)), _release("4.18.2", (_K1,), (_K2,))))) == {
        "4.18.1-x86_64": (_K1, _K2),
        "4.18.2-x86_64": (_K1, _K2),
    }


@pytest.mark.parametrize(
    "release",
    [
        _release("4.18.1"),
        _release("4.18.1", ()),
        _release("4.18.1", (_K1,), ()),
        _release("4.18.1", (_K1,), disputed=("x",)),
    ],
)
def test_a_release_of_which_not_all_is_known_is_none(release: Any) -> None:
    """An operator would take it for safe."""
    assert dict(list_releases(_project(release))) == {}
    assert list(list_doubtful(_project(release))) == ["4.18.1-x86_64"]


def _audits(bench: Bench) -> dict[str, tuple[str, str]]:
    _, out, _ = bench.run("audit", "--json", "--kernel", _FIRST, "--kernel", _SECOND)
    return {item["name"].rpartition(":")[2]: (item["drift"], item["why"]) for item in json.loads(out)["tags"]}


def test_audit_looks_after_the_index_and_calls_none_a_stranger(signed: Bench, registry: FakeRegistry) -> None:
    _publish(signed, _FIRST)
    older = registry.manifests["demo", INDEX_TAG]
    _publish(signed, _SECOND)
    (signed.folder / ".kmodsmith" / "journal.jsonl").unlink()  # another machine's
    found = _audits(signed)
    assert found[INDEX_TAG] == ("none", "")
    assert set(found) == {f"1.2.0-{_FIRST}", f"1.2.0-{_SECOND}".replace("+", "_"), INDEX_TAG}
    registry.manifests["demo", INDEX_TAG] = older
    drift, why = _audits(signed)[INDEX_TAG]
    assert (drift, "1 of 2 published cells are not in it, such as demo-1.2.0/6.12" in why) == ("different", True)
    registry.manifests["demo", INDEX_TAG] = b"{}"
    assert _audits(signed)[INDEX_TAG][0] == "unsigned"
    del registry.manifests["demo", INDEX_TAG]
    assert _audits(signed)[INDEX_TAG][0] == "missing"
    path = f"/manifests/{INDEX_TAG}"
    registry.faults.append(lambda request: httpx.Response(500) if request.url.path.endswith(path) else None)
    assert _audits(signed)[INDEX_TAG][0] == "unknown"


def test_where_images_are_not_signed_audit_wants_no_index(bench: Bench, registry: FakeRegistry) -> None:
    bench.build("--kernel", _FIRST)
    bench.run("publish", "--kernel", _FIRST)
    assert INDEX_TAG not in _audits(bench)
    registry.manifests["demo", INDEX_TAG] = b"{}"
    assert _audits(bench)[INDEX_TAG][0] == "extra"


@contextmanager
def _open_other(_config: object) -> Iterator[object]:
    yield OTHER


def test_a_new_key_takes_over_what_it_has_signed_and_tells_the_rest(
    signed: Bench, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(signed, _FIRST, _SECOND)
    _edit(signed, "version: 1.2.0", "version: 1.3.0")
    signed.offer_with_keys()
    assert signed.build("--kernel", _FIRST)[0] == 0
    _publish(signed, _FIRST)
    (signed.folder / ".kmodsmith" / "journal.jsonl").unlink()  # another machine has the new key
    assert signed.build("--kernel", _FIRST)[0] == 0
    (signed.folder / "images.pub").write_text(OTHER.key.pem)
    for module in ("cells", "index"):
        monkeypatch.setattr(f"builder.publish.{module}.open_image_signer", _open_other)
    code, out, _ = signed.run("publish", "--json", "--kernel", _FIRST)
    (told,) = json.loads(out)["indexes"]
    assert (code, told["status"]) == (16, "conflict")
    told = _publish(signed, _FIRST, force="demo/index", reason="a new key")
    assert told["status"] == "published"
    blob = find_envelope(registry.manifests["demo", INDEX_TAG])
    index = open_index(registry.blobs["demo", blob.digest], [OTHER.key])
    assert set(index.images) == {("1.3.0", _FIRST)}
    for kernel in (_FIRST, _SECOND):
        assert f"{kernel} of version 1.2.0 leaves the index: the key of publish.signer has not signed" in told["why"]


def test_a_new_key_goes_on_with_other_versions_that_it_signed_before(
    signed: Bench, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(signed, _FIRST)
    monkeypatch.setattr("builder.publish.cells.open_image_signer", _open_other)
    _publish(signed, _FIRST)  # the new key signs images beside the old one
    monkeypatch.setattr("builder.publish.index.open_image_signer", _open_other)
    _edit(signed, "version: 1.2.0", "version: 1.3.0")
    signed.offer_with_keys()
    (signed.folder / ".kmodsmith" / "journal.jsonl").unlink()
    assert signed.build("--kernel", _FIRST)[0] == 0
    told = _publish(signed, _FIRST, force="demo/index", reason="a new key")
    assert (told["status"], told["why"]) == ("published", "")
    blob = find_envelope(registry.manifests["demo", INDEX_TAG])
    index = open_index(registry.blobs["demo", blob.digest], [OTHER.key])
    assert set(index.images) == {("1.2.0", _FIRST), ("1.3.0", _FIRST)}


def test_a_stranger_s_index_gets_nothing_into_ours(
    signed: Bench, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names our images for other kernels, and images that nobody signed: neither is believed."""
    _publish(signed, _FIRST, _SECOND)
    own = _index(registry)
    evil = {
        ("6.6.6", _FIRST): own.images["1.2.0", _SECOND],
        ("1.2.0", "6.6.6-evil"): IndexedCell(image=f"quay.test/demo@sha256:{'6' * 64}", arch="amd64"),
        ("1.2.0", "7.7.7-evil"): IndexedCell(image=f"evil.test/demo@{signed.digest(_FIRST)}", arch="amd64"),
    }
    forged = sign_index(replace(own, images=evil), OTHER.sign)
    _forget_index(registry)
    registry.put_blob("demo", forged)
    registry.manifests["demo", INDEX_TAG] = make_manifest(own, forged)
    told = _publish(signed, _FIRST, force="demo/index", reason="a stranger's")
    assert told["status"] == "published"
    assert _index(registry).images == own.images
    assert "6.6.6-evil of version 1.2.0 leaves" in told["why"]


def test_not_more_is_told_than_people_read(signed: Bench, registry: FakeRegistry) -> None:
    _publish(signed, _FIRST)
    own = _index(registry)
    gone = {
        ("1.0.0", f"5.{number}.0"): IndexedCell(image=f"quay.test/demo@sha256:{number:064x}", arch="amd64")
        for number in range(30)
    }
    swollen = replace(own, images={**own.images, **gone})
    envelope = sign_index(swollen, SIGNER.sign)
    registry.put_blob("demo", envelope)
    registry.manifests["demo", INDEX_TAG] = make_manifest(swollen, envelope)
    why = _publish(signed, _FIRST)["why"]
    assert why.count("leaves the index") == 20
    assert why.endswith("; and 10 more")
    assert _kernels(registry) == {("1.2.0", _FIRST)}
