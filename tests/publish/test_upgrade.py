"""Verb upgrade-check: whether the image of every kernel of a release is there and right."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from fakes.image_keys import make_image_signer
from fakes.openshift_world import digest_of
from fakes.registry import pretend_registry

from builder.image.manifests import OCI_MANIFEST
from builder.publish.attest.simple_signing import ImageSignature, make_payload, make_signature_image, signature_tag
from builder.registry.access import RegistryAccess
from builder.registry.credentials import Credentials

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.site import Site
    from fakes.tools import FakeTools

    from builder.signing.image_key import OpenImageSigner

_K1 = "5.14.0-427.50.1.el9_4.x86_64"


_RT_TAG = "1.2.0-5.14.0-427.50.1.el9_4.x86_64_rt"


def _presences(site: Site) -> tuple[int, dict[str, str]]:
    code, answer = site.json("upgrade-check", "4.17.1")
    assert answer["ready"] is (code == 0)
    return code, {row["variant"]: row["presence"] for row in answer["images"]}


def _use_registry(site: Site, **publish: Any) -> str:
    """Publish the driver in a registry; returns the key that its image for the real-time kernel must have."""
    drivers = yaml.safe_load((site.folder / "versions.yaml").read_text())["drivers"]
    drivers[0]["image"] = "quay.test/drivers/demo"
    site.edit(drivers=drivers, publish=publish)
    _, plan = site.json("plan", "--group", "ocp")
    return next(str(cell["key"]) for cell in plan["cells"] if cell["kernel"] == f"{_K1}+rt")


def test_upgrade_check_leaves_out_what_the_driver_itself_excludes(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    (site.folder / "src" / "dkms.conf").write_text(
        "PACKAGE_NAME=demo\nPACKAGE_VERSION=1.2.0\nBUILT_MODULE_NAME[0]=demo\nDEST_MODULE_LOCATION[0]=/extra\n"
        'BUILD_EXCLUSIVE_KERNEL="^6\\."\nMAKE[0]="make"\n'
    )
    drivers = yaml.safe_load((site.folder / "versions.yaml").read_text())["drivers"]
    drivers[0] = {name: value for name, value in drivers[0].items() if name != "modules"} | {"dkms": "dkms.conf"}
    site.edit(drivers=drivers)
    code, answer = site.json("upgrade-check", "4.17.1")
    assert (code, {row["presence"] for row in answer["images"]}) == (0, {"not-wanted"}), answer


def test_upgrade_check_says_what_is_there(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    assert _presences(site) == (18, {"standard": "absent", "rt": "absent"})
    key = _use_registry(site)
    labels = {"io.kmodsmith.cell.key": key}
    site.world.image([{"x": b""}], repository="drivers/demo", tag=_RT_TAG)
    assert _presences(site) == (18, {"standard": "absent", "rt": "stale"}), "a name alone says nothing"
    site.world.image([{"x": b""}], repository="drivers/demo", tag=_RT_TAG, labels=labels)
    assert _presences(site) == (18, {"standard": "absent", "rt": "ready"})
    site.world.failures["1.2.0-5.14.0-427.50.1.el9_4.x86_64"] = httpx.Response(500)
    assert _presences(site) == (18, {"standard": "unknown", "rt": "ready"})
    site.edit(exclude=[{"kernel": _K1, "reason": "no such customers"}])
    assert _presences(site) == (0, {"standard": "not-wanted", "rt": "ready"})
    code, out, _ = site.run("upgrade-check", "4.17.1")
    assert (code, "4.17.1: ready" in out) == (0, True)
    bad = {"kernel": _K1, "driver": "demo", "reason": "bug 7", "owner": "jo", "expires": date(2099, 1, 31)}
    site.edit(exclude=[], known_bad=[bad])
    assert _presences(site) == (18, {"standard": "known-bad", "rt": "ready"}), "nodes would be without it"


def test_upgrade_check_takes_the_image_of_any_group_by_the_ending_of_its_tags(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    key = _use_registry(site)
    groups = yaml.safe_load((site.folder / "versions.yaml").read_text())["groups"]
    site.edit(groups=groups | {"dev": {"source": "ocp", "tag_suffix": "-dev"}})
    labels = {"io.kmodsmith.cell.key": key}
    assert _presences(site) == (18, {"standard": "absent", "rt": "absent"})
    site.world.image([{"x": b""}], repository="drivers/demo", tag=f"{_RT_TAG}-dev", labels=labels)
    _, answer = site.json("upgrade-check", "4.17.1")
    found = {row["variant"]: (row["presence"], row["image"].rpartition(":")[2]) for row in answer["images"]}
    assert found == {"rt": ("ready", f"{_RT_TAG}-dev"), "standard": ("absent", f"1.2.0-{_K1}")}


def test_upgrade_check_reads_signatures(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    site.edit(exclude=[{"kernel": _K1, "reason": "no such customers"}])
    ours, other = make_image_signer(), make_image_signer()
    (site.folder / "images.pub").write_text(ours.key.pem)
    key = _use_registry(site, signer={"public_key": "images.pub", "key_file": "~/images.key"})
    image = site.world.image([{}], repository="drivers/demo", tag=_RT_TAG, labels={"io.kmodsmith.cell.key": key})
    digest = image.partition("@")[2]

    def sign(signer: OpenImageSigner, name: str) -> None:
        payload = make_payload(name, digest)
        found = ImageSignature(digest_of(payload), len(payload), signer.sign(payload))
        manifest, _ = make_signature_image([found])
        site.world.manifests["drivers/demo", signature_tag(digest)] = (OCI_MANIFEST, manifest)

    name = f"quay.test/drivers/demo:{_RT_TAG}"
    assert _presences(site)[1]["rt"] == "unsigned"
    sign(other, name)
    assert _presences(site)[1]["rt"] == "other-key"
    sign(ours, "quay.test/drivers/demo:another")
    assert _presences(site)[1]["rt"] == "other-key"
    sign(ours, name)
    assert _presences(site) == (0, {"standard": "not-wanted", "rt": "ready"})
    site.world.failures[signature_tag(digest)] = httpx.Response(403)
    assert _presences(site)[1]["rt"] == "unknown"
    (site.folder / "images.pub").unlink()
    assert _presences(site)[1]["rt"] == "unknown"


def test_upgrade_check_looks_at_mirrors_and_a_dead_one_makes_it_unknown(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    site.edit(exclude=[{"kernel": _K1, "reason": "no such customers"}])
    key = _use_registry(site)
    mirror = "mirror.test:5000/copies"

    def open_mirrored(_settings: object, _root: Path, cache_dir: Path) -> RegistryAccess:
        registry = pretend_registry(site.world, cache_dir / "registry", mirrors={"quay.test/drivers": [mirror]})
        return RegistryAccess(registry, Credentials(), frozenset())

    monkeypatch.setattr("builder.publish.reading.open_registries", open_mirrored)
    assert _presences(site)[1]["rt"] == "absent"
    site.world.failures[f"/copies/demo/manifests/{_RT_TAG}"] = httpx.Response(503)
    assert _presences(site)[1]["rt"] == "unknown"
    site.world.failures.clear()
    site.world.image([{}], repository="copies/demo", tag=_RT_TAG, labels={"io.kmodsmith.cell.key": key})
    assert _presences(site)[1]["rt"] == "ready"


def test_upgrade_check_of_the_container_store(site: Site, fake_tools: FakeTools) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    site.edit(exclude=[{"kernel": _K1, "reason": "no such customers"}])
    _, plan = site.json("plan", "--group", "ocp")
    cell = next(item for item in plan["cells"] if item["kernel"] == f"{_K1}+rt")

    def keep(**names: list[str]) -> None:
        images = [
            {"id": image, "names": held, "digest": f"sha256:{image * 64}", "size": "1 MB"}
            for image, held in names.items()
        ]
        fake_tools.add("buildah", f"case \"$1\" in images) echo '{json.dumps(images)}';; *) exit 9;; esac")

    made = f"localhost/kmodsmith/cell:{cell['key']}"
    keep(a=[cell["image"]], b=[made])
    assert _presences(site)[1]["rt"] == "stale"
    keep(a=[cell["image"], made])
    assert _presences(site) == (0, {"standard": "not-wanted", "rt": "ready"})


def test_upgrade_check_of_what_is_not_known(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.world.failures["/image-references"] = httpx.Response(500)
    payload = site.world.channels["fast-4.17", "amd64"][0]["payload"]
    site.world.failures[payload.rpartition("@")[2]] = httpx.Response(403)
    site.run("discover", "--source", "ocp")
    code, answer = site.json("upgrade-check", "4.17.1")
    assert (code, [row["presence"] for row in answer["images"]]) == (18, ["no-kernel"])
    code, _, err = site.run("upgrade-check", "4.17.1", "--driver", "nope")
    assert (code, "no driver matches nope" in err) == (2, True)


def _withdraw(site: Site, version: str) -> None:
    nodes = site.world.channels["fast-4.17", "amd64"]
    nodes[:] = [node for node in nodes if node["version"] != version]
    site.write_graph()


def test_upgrade_check_of_a_withdrawn_release_says_that_it_was_and_when(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.release("4.17.2", _K1)
    site.run("discover", "--source", "ocp")
    _withdraw(site, "4.17.1")
    site.run("discover", "--source", "ocp")
    since = site.locked.withdrawn["4.17.1-x86_64"].since
    why = f"it was withdrawn from fast-4.17, which was found out on {since}: nobody is to upgrade to it"
    code, answer = site.json("upgrade-check", "4.17.1")
    assert (code, answer["ready"]) == (18, False)
    (row,) = answer["images"]
    assert (row["arch"], row["presence"], row["state"], row["why"]) == ("x86_64", "withdrawn", "withdrawn", why)
    code, out, _ = site.run("upgrade-check", "4.17.1")
    assert (code, f"4.17.1 x86_64: {why}" in out) == (18, True)
    notes = site.json("matrix", "--source", "ocp")[1]["notes"]
    assert notes == [f"source ocp: 4.17.1 x86_64 was withdrawn from fast-4.17, which was found out on {since}"]
    assert site.json("matrix", "--source", "ocp", "--release", "4.17.2")[1]["notes"] == []
    _, rows = site.json("matrix", "--state", "withdrawn")
    assert [(row["release"], row["state"]) for row in rows["releases"]] == [("4.17.1", "withdrawn")]
    code, _, err = site.run("upgrade-check", "4.17.1", "--arch", "aarch64")
    assert (code, "knows release 4.17.1 for x86_64, not for aarch64" in err) == (2, True), err


def test_upgrade_check_is_silent_of_no_architecture_that_was_asked_for(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.edit(exclude=[{"kernel": "*", "reason": "none"}])
    site.run("discover", "--source", "ocp")
    assert site.run("upgrade-check", "4.17.1", "--arch", "x86_64")[0] == 0
    code, _, err = site.run("upgrade-check", "4.17.1", "--arch", "x86_64", "--arch", "aarch64")
    assert (code, "knows release 4.17.1 for x86_64, not for aarch64" in err) == (2, True), err


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("4.17.12", "there never was a release 4.17.12 in the channels of 4.17 that were asked\n"),
        ("4.17.12", "did you mean '4.17.1'?; the newest is 4.17.10, and a new one comes with"),
        ("4.18.1", "versions.lock.yaml has no release of 4.18, so it does not know 4.18.1\n"),
        ("4.17.3", "versions.yaml leaves release 4.17.3 out: dropped in versions.yaml: its driver loses packets"),
        ("4.16.1", "versions.yaml leaves release 4.16.1 out: end of life since 2020-01-31"),
        ("latest", "'latest' is not the version of a release, such as 4.18.12"),
        ("", "'' is not the version of a release"),
    ],
)
def test_upgrade_check_of_a_release_that_never_was(site: Site, version: str, words: str) -> None:
    sources = yaml.safe_load((site.folder / "versions.yaml").read_text())["sources"]
    sources["ocp"] |= {
        "drop": [{"release": "4.17.3", "reason": "its driver loses packets"}],
        "end_of_life": {"4.16": date(2020, 1, 31)},
    }
    site.edit(sources=sources)
    for number in (1, 3, 10):
        site.release(f"4.17.{number}", _K1)
    site.run("discover", "--source", "ocp")
    code, _, err = site.run("upgrade-check", version)
    assert (code, words in err) == (2, True), err


def test_upgrade_check_says_what_it_cannot_know(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    _, _, err = site.run("upgrade-check", "4.17.1", "--arch", "aarch64")
    assert "versions.lock.yaml knows release 4.17.1 for x86_64, not for aarch64" in err
    (site.folder / "fast-4.17_amd64.json").write_text("<html>")
    site.run("discover", "--source", "ocp")
    code, _, err = site.run("upgrade-check", "4.17.2")
    said = "; whether there is by now is not known: the last answer of fast-4.17 x86_64 is old"
    assert (code, said in " ".join(err.split())) == (2, True), err


def test_two_payloads_of_one_release_are_told_and_no_upgrade_to_it_is_ready(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    site.release("4.17.1", "5.14.0-427.51.1.el9_4.x86_64")
    site.edit(exclude=[{"kernel": "*", "reason": "none"}])
    code, _, err = site.run("discover", "--source", "ocp")
    assert (code, "4.17.1-x86_64: 2 payloads are served as this release" in err) == (7, True)
    (other,) = site.locked.releases["4.17.1-x86_64"].disputed
    code, answer = site.json("upgrade-check", "4.17.1")
    assert (code, [row["presence"] for row in answer["images"]]) == (18, ["not-wanted", "not-wanted", "disputed"])
    assert answer["images"][2]["why"] == (
        f"2 payloads are served as this release, and nodes may run any of them; not read: {other}"
    )
    _, rows = site.json("matrix", "--source", "ocp")
    assert rows["releases"][0]["disputed"] == [other]
    assert rows["notes"] == ["source ocp: 4.17.1 x86_64: 2 payloads are served as it; which nodes run is not known"]
    _, out, _ = site.run("matrix", "--source", "ocp", "--by", "release")
    assert "2 payloads" in out
