"""Images good and bad, each judged as preflight's source says: a case breaks one check, and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.rpm import Rpm, rpm_database
from fakes.samples import GOOD_ENTRIES, LABELS, read_raw_image, read_sample_image

from builder.certify.container import ImagePlace, choose_policy, judge_image, violates_trademark
from builder.certify.policies import CHECKS, CheckState, Policy, PolicyCheck
from builder.image.layout import LayerEntry

if TYPE_CHECKING:
    from pathlib import Path

    from builder.image.contents import ImageContents

_PLACE = ImagePlace(repository="mycompany/demo", tag="1.2.0-6.12.5")
_RELEASE = LayerEntry(path="etc/os-release", content=b'PLATFORM_ID="platform:el9"\n')
_RPMS = LayerEntry(path="var/lib/rpm/rpmdb.sqlite", content=rpm_database("bash", "glibc"))
_FOLDER = LayerEntry(path="var/lib/rpm")
_BASE = [_RELEASE, _FOLDER, _RPMS]
_OWNED = LayerEntry(
    path="var/lib/rpm/rpmdb.sqlite",
    content=rpm_database(Rpm(name="coreutils", files=(("/usr/bin/cp", 0),))),
)
_CP = LayerEntry(path="usr/bin/cp", content=b"cp", mode=0o755)
_PASSES = set(CHECKS[Policy.CONTAINER]) - {PolicyCheck.BASED_ON_UBI}
_OPEN = {PolicyCheck.BASED_ON_UBI: CheckState.NOT_JUDGED}


def _image(
    folder: Path,
    *layers: list[LayerEntry],
    user: Any = "1001",
    labels: dict[str, str] | None = None,
    config: dict[str, Any] | None = None,
) -> ImageContents:
    found = read_sample_image(folder, layers or (_BASE, GOOD_ENTRIES), LABELS if labels is None else labels)
    settings = {**found.config["config"], "User": user}
    return replace(found, config={**found.config, "config": settings, **(config or {})})


def _not_passed(image: ImageContents, place: ImagePlace = _PLACE, policy: Policy = Policy.CONTAINER) -> dict[Any, Any]:
    checks = judge_image(image, place, policy).checks
    assert [verdict.check for verdict in checks] == list(CHECKS[policy])
    return {verdict.check: verdict.state for verdict in checks if verdict.state is not CheckState.PASSED}


def _sentence(image: ImageContents, check: PolicyCheck, place: ImagePlace = _PLACE) -> str:
    return next(item.sentence for item in judge_image(image, place, Policy.CONTAINER).checks if item.check is check)


def test_a_good_image_passes_all_that_is_judged_here(tmp_path: Path) -> None:
    image = _image(tmp_path)
    assert _not_passed(image) == _OPEN
    assert "Red Hat's catalogue is asked" in _sentence(image, PolicyCheck.BASED_ON_UBI)
    assert not judge_image(image, _PLACE).is_refused


def _without(*paths: str) -> list[LayerEntry]:
    return [entry for entry in GOOD_ENTRIES if entry.path not in paths]


@pytest.mark.parametrize(
    "entries",
    [
        _without("licenses/LICENSE"),
        [*_without("licenses/LICENSE"), LayerEntry(path="licenses/LICENSE", content=b"")],
        [*_without("licenses/LICENSE"), LayerEntry(path="licenses")],
        [*_without("licenses/LICENSE"), LayerEntry(path="licenses", content=b"GPL")],
        [*_without("licenses/LICENSE"), LayerEntry(path="licenses/LICENSE", link="/nowhere")],
        [*_without("licenses/LICENSE"), LayerEntry(path="licenses/all", link="/usr")],
        [*_without("licenses/LICENSE"), LayerEntry(path="license/LICENSE", content=b"GPL")],
    ],
)
def test_licenses(entries: list[LayerEntry], tmp_path: Path) -> None:
    assert _not_passed(_image(tmp_path, _BASE, entries)) == {PolicyCheck.HAS_LICENSE: CheckState.FAILED, **_OPEN}


def test_licenses_may_lie_elsewhere_in_the_image(tmp_path: Path) -> None:
    """Links count; another name of a file does not, because preflight unpacks this folder alone."""
    there = LayerEntry(path="usr/share/licenses/GPL", content=b"GPL")
    linked = [*_without("licenses/LICENSE"), there, LayerEntry(path="licenses", link="usr/share/licenses")]
    assert _not_passed(_image(tmp_path / "folder", _BASE, linked)) == _OPEN
    linked = [*_without("licenses/LICENSE"), there, LayerEntry(path="licenses/GPL", link="/usr/share/licenses/GPL")]
    assert _not_passed(_image(tmp_path / "file", _BASE, linked)) == _OPEN
    for name in ("twin", "own"):
        (tmp_path / name).mkdir()
    rows = [("file", "usr/GPL", "GPL"), ("hard", "licenses/GPL", "usr/GPL")]
    twin = read_raw_image(tmp_path / "twin", rows)
    assert _not_passed(twin)[PolicyCheck.HAS_LICENSE] is CheckState.FAILED
    own = read_raw_image(tmp_path / "own", [("file", "licenses/GPL", "GPL"), ("hard", "licenses/COPY", "licenses/GPL")])
    assert PolicyCheck.HAS_LICENSE not in _not_passed(own)


@pytest.mark.parametrize(
    ("place", "state", "words"),
    [
        (ImagePlace(repository="m/demo", tag="LATEST"), CheckState.FAILED, "its tag is latest"),
        (ImagePlace(repository="m/demo", tag="latest"), CheckState.NOT_JUDGED, "no registry was asked"),
        (ImagePlace(repository="m/demo"), CheckState.NOT_JUDGED, "no registry was asked"),
        (ImagePlace(repository="m/demo", all_tags=[]), CheckState.ERROR, "lists no tags"),
        (ImagePlace(repository="m/demo", tag="latest", all_tags=[]), CheckState.FAILED, "has no other"),
        (ImagePlace(repository="m/demo", all_tags=["Latest"]), CheckState.FAILED, "the tag latest and no other"),
        (ImagePlace(repository="m/demo", tag="latest", all_tags=["latest"]), CheckState.FAILED, "no other"),
        (ImagePlace(repository="m/demo", tag="latest", all_tags=["latest", "1"]), CheckState.PASSED, "2 tags"),
        (ImagePlace(repository="m/demo", all_tags=["1"]), CheckState.PASSED, "1 tag, such as 1"),
    ],
)
def test_tags(place: ImagePlace, state: CheckState, words: str, tmp_path: Path) -> None:
    image = _image(tmp_path)
    told = {} if state is CheckState.PASSED else {PolicyCheck.HAS_UNIQUE_TAG: state}
    assert _not_passed(image, place) == {**told, **_OPEN}
    assert words in _sentence(image, PolicyCheck.HAS_UNIQUE_TAG, place)


def test_forty_layers_are_the_most(tmp_path: Path) -> None:
    image = _image(tmp_path)
    more = [image.layers[0]] * 38
    assert _not_passed(replace(image, layers=(*image.layers, *more))) == _OPEN
    found = _not_passed(replace(image, layers=(*image.layers, *more, *more[:1])))
    assert found == {PolicyCheck.LAYER_COUNT: CheckState.FAILED, **_OPEN}


@pytest.mark.parametrize("name", ["kernel", "kernel-debug-modules-extra", "linux-firmware", "kpatch", "kpatch-dnf"])
def test_prohibited_packages(name: str, tmp_path: Path) -> None:
    rpms = LayerEntry(path="var/lib/rpm/rpmdb.sqlite", content=rpm_database("bash", name))
    image = _image(tmp_path, [_RELEASE, rpms], GOOD_ENTRIES)
    assert _not_passed(image) == {PolicyCheck.NO_PROHIBITED_PACKAGES: CheckState.FAILED, **_OPEN}
    assert f"it has {name}," in _sentence(image, PolicyCheck.NO_PROHIBITED_PACKAGES)


def test_packages_that_only_sound_prohibited(tmp_path: Path) -> None:
    """The list is preflight's: what is wise to leave out beyond it is found by 'fit'."""
    rpms = LayerEntry(
        path="var/lib/rpm/rpmdb.sqlite", content=rpm_database("kernel-rt", "kernel-headers", "grub2-common")
    )
    assert _not_passed(_image(tmp_path, [_RELEASE, rpms], GOOD_ENTRIES)) == _OPEN


@pytest.mark.parametrize(
    ("entry", "state"),
    [
        (LayerEntry(path="srv/x", content=b"x"), CheckState.ERROR),
        (LayerEntry(path="var/lib/rpm/Packages", content=b"bdb"), CheckState.NOT_JUDGED),
        (LayerEntry(path="usr/lib/sysimage/rpm/rpmdb.sqlite", content=b"nonsense" * 100), CheckState.NOT_JUDGED),
    ],
)
def test_packages_that_cannot_be_read(entry: LayerEntry, state: CheckState, tmp_path: Path) -> None:
    found = _not_passed(_image(tmp_path, [_RELEASE, entry], GOOD_ENTRIES))
    found.pop(PolicyCheck.MODIFIED_FILES, None)
    assert found == {PolicyCheck.NO_PROHIBITED_PACKAGES: state, **_OPEN}


def test_a_database_in_another_place_is_read_too(tmp_path: Path) -> None:
    rpms = LayerEntry(path="usr/lib/sysimage/rpm/rpmdb.sqlite", content=rpm_database("bash"))
    image = _image(tmp_path, [_RELEASE, rpms], GOOD_ENTRIES)
    assert _not_passed(image) == _OPEN
    assert "the check sees no package" in _sentence(image, PolicyCheck.MODIFIED_FILES)
    strange = [LayerEntry(path="var/lib/rpm", link="/srv"), LayerEntry(path="srv/rpmdb.sqlite", content=b"x")]
    found = _not_passed(_image(tmp_path / "link", [_RELEASE, *strange], GOOD_ENTRIES))
    assert found == {PolicyCheck.NO_PROHIBITED_PACKAGES: CheckState.NOT_JUDGED, **_OPEN}


@pytest.mark.parametrize("label", ["name", "vendor", "version", "release", "summary", "description", "maintainer"])
def test_required_labels(label: str, tmp_path: Path) -> None:
    image = _image(tmp_path, labels=LABELS | {label: ""})
    assert _not_passed(image) == {PolicyCheck.REQUIRED_LABELS: CheckState.FAILED, **_OPEN}
    assert _sentence(image, PolicyCheck.REQUIRED_LABELS) == f"it lacks {label}"


@pytest.mark.parametrize("label", ["name", "vendor", "maintainer"])
def test_labels_of_the_trademark(label: str, tmp_path: Path) -> None:
    image = _image(tmp_path, labels=LABELS | {label: "Red Hat, Inc."})
    assert _not_passed(image) == {PolicyCheck.NO_PROHIBITED_LABELS: CheckState.FAILED, **_OPEN}


def test_other_labels_may_name_it(tmp_path: Path) -> None:
    assert _not_passed(_image(tmp_path, labels=LABELS | {"summary": "Red Hat", "vendor": "V for Red Hat"})) == _OPEN


@pytest.mark.parametrize(
    ("text", "violates"),
    [
        ("", False),
        ("my company", False),
        ("Red Hat", True),
        ("  red-hat driver", True),
        ("redhat", True),
        ("driver by Red Hat", True),
        ("driver for Red Hat", False),
        ("driver_for_red_hat_openshift", False),
        ("driver for Red Hat by Red Hat", True),
        ("for red hat, for red hat", True),
        ("red hat for red hat", True),
        ("infrared hat", True),
        ("red that", False),
    ],
)
def test_the_trademark(text: str, violates: bool) -> None:
    assert violates_trademark(text) is violates


@pytest.mark.parametrize("user", ["", "0", "root", None])
def test_who_runs_as_root(user: str | None, tmp_path: Path) -> None:
    image = _image(tmp_path, user=user)
    assert _not_passed(image) == {PolicyCheck.RUN_AS_NON_ROOT: CheckState.FAILED, **_OPEN}
    assert _not_passed(image, policy=Policy.ROOT) == _OPEN


def test_root_with_a_group_slips_through_and_is_told(tmp_path: Path) -> None:
    image = _image(tmp_path, user="0:0")
    assert _not_passed(image) == _OPEN
    assert "root all the same" in _sentence(image, PolicyCheck.RUN_AS_NON_ROOT)


def test_a_file_of_a_package_that_is_changed(tmp_path: Path) -> None:
    image = _image(tmp_path, [_RELEASE, _FOLDER, _OWNED, _CP], GOOD_ENTRIES)
    assert _not_passed(image) == {PolicyCheck.MODIFIED_FILES: CheckState.FAILED, **_OPEN}
    assert "layer 2 changes /usr/bin/cp: it is of coreutils" in _sentence(image, PolicyCheck.MODIFIED_FILES)


@pytest.mark.parametrize(
    ("entries", "state"),
    [
        ([_RPMS], CheckState.ERROR),
        ([_RPMS, LayerEntry(path="etc/os-release")], CheckState.ERROR),
        ([_RPMS, LayerEntry(path="etc/os-release", link="/srv/x"), LayerEntry(path="srv/x", content=b"")], CheckState.NOT_JUDGED),
    ],
)  # fmt: skip
def test_an_image_that_does_not_say_what_it_is(entries: list[LayerEntry], state: CheckState, tmp_path: Path) -> None:
    assert _not_passed(_image(tmp_path, entries, GOOD_ENTRIES)) == {PolicyCheck.MODIFIED_FILES: state, **_OPEN}


def test_names_of_images(tmp_path: Path) -> None:
    image = _image(tmp_path)
    refused = {PolicyCheck.CONTAINER_NAME: CheckState.FAILED, **_OPEN}
    assert _not_passed(image, ImagePlace(repository="mycompany/red-hat-driver", tag="1")) == refused
    assert _not_passed(image, ImagePlace(repository="redhat/driver", tag="1")) == _OPEN
    unnamed = {PolicyCheck.CONTAINER_NAME: CheckState.NOT_JUDGED, **_OPEN}
    assert _not_passed(image, ImagePlace(tag="1")) == unnamed


@pytest.mark.parametrize(
    ("user", "layers", "policy"),
    [
        ("", (_BASE, GOOD_ENTRIES), Policy.ROOT),
        ("65534", (_BASE, GOOD_ENTRIES), Policy.CONTAINER),
        ("", (GOOD_ENTRIES,), Policy.SCRATCH_ROOT),
        ("65534:65534", (GOOD_ENTRIES,), Policy.SCRATCH_NONROOT),
    ],
)
def test_the_policy_that_fits(user: str, layers: tuple[list[LayerEntry], ...], policy: Policy, tmp_path: Path) -> None:
    image = _image(tmp_path, *layers, user=user)
    assert choose_policy(image)[0] is policy
    found = judge_image(image, _PLACE)
    assert (found.policy, found.is_refused) == (policy, False)
    assert ("has to be asked for" in found.because) is policy.startswith("scratch")


@pytest.mark.parametrize(
    "config", [{}, {"config": None, "rootfs": 5}, {"config": {"User": 5, "Labels": []}, "rootfs": {"diff_ids": 5}}]
)
def test_a_configuration_of_nonsense_is_judged_all_the_same(config: dict[str, Any], tmp_path: Path) -> None:
    found = judge_image(replace(read_sample_image(tmp_path, [GOOD_ENTRIES]), config=config), _PLACE)
    assert {item.check: item.state for item in found.checks}[PolicyCheck.REQUIRED_LABELS] is CheckState.FAILED
