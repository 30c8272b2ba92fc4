"""Judges an image by preflight's container policies: each check with its exact condition, offline. Pure.

Source: openshift-preflight 1.21, internal/policy/container/*.go and internal/rpm/rpm.go. What asks a server of Red
Hat's is not judged; whether a tag is the only one can be told only with the list of a registry's tags.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from builder.certify.modified_files import UNKNOWN, find_modified, find_platform, read_layers
from builder.certify.policies import (
    CHECKS,
    Certification,
    CheckState,
    CheckVerdict,
    Policy,
    PolicyCheck,
)
from builder.errors import FormatError
from builder.image.rpm_database import read_rpm_packages
from builder.writing import count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from builder.image.contents import ImageContents
    from builder.image.overlay import ImageFile

_LICENSES = "licenses"
_MOST_LAYERS = 40
_REQUIRED_LABELS = ("name", "vendor", "version", "release", "summary", "description", "maintainer")
_TRADEMARK_LABELS = ("name", "vendor", "maintainer")
_DATABASES = ("usr/lib/sysimage/rpm/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite", "var/lib/rpm/Packages")
_PROHIBITED = frozenset(
    [
        "grub", "grub2", "kernel", "kernel-core", "kernel-debug", "kernel-debug-core", "kernel-debug-modules",
        "kernel-debug-modules-extra", "kernel-debug-devel", "kernel-devel", "kernel-doc", "kernel-modules",
        "kernel-modules-extra", "kernel-tools", "kernel-tools-libs", "kmod-kvdo", "linux-firmware",
    ]
)  # fmt: skip
_PROHIBITED_BEGINNING = "kpatch"
_MOST_NAMED = 5
_WORD = r"[^a-z0-9]*"
_RED_HAT = re.compile(f"red{_WORD}hat")
_AT_THE_START = re.compile(f"{_WORD}red{_WORD}hat")
_FOR_RED_HAT = re.compile(f"for{_WORD}red{_WORD}hat")

_Answer = tuple[CheckState, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlace:
    """What an image is named by: ``repository`` without registry, ``tag``; each empty where it is not known.

    ``all_tags`` are those of its repository, None where no registry was asked.
    """

    repository: str = ""
    tag: str = ""
    all_tags: Sequence[str] | None = None


def choose_policy(image: ImageContents) -> tuple[Policy, str]:
    """Return the policy that an image can be certified by, and why; the project has to be of this kind."""
    has_rpms = _find_database(image) is not None
    if _runs_as_root(image):
        policy = Policy.ROOT if has_rpms else Policy.SCRATCH_ROOT
        user = "it runs as root, so host level access has to be 'privileged'"
    else:
        policy = Policy.CONTAINER if has_rpms else Policy.SCRATCH_NONROOT
        user = f"it runs as user {_user(image)}"
    base = "has an RPM database" if has_rpms else "has no RPM database, so an exception for scratch has to be asked for"
    return policy, f"{user}; it {base}"


def judge_image(
    image: ImageContents,
    place: ImagePlace,
    policy: Policy | None = None,
    *,
    project: str = "",
    tags: Sequence[str] = (),
) -> Certification:
    """Return what each check of a policy says of an image; the policy is chosen by the image where none is given."""
    chosen, because = (policy, "it was asked for") if policy else choose_policy(image)
    return Certification(
        subject=image.name,
        digest=image.digest,
        arch=str(image.config.get("architecture", "")),
        policy=chosen,
        because=because,
        checks=[_judge(check, image, place) for check in CHECKS[chosen]],
        project=project,
        tags=tags,
    )


def _judge(check: PolicyCheck, image: ImageContents, place: ImagePlace) -> CheckVerdict:
    judges: Mapping[PolicyCheck, Callable[[], _Answer]] = {
        PolicyCheck.HAS_LICENSE: partial(_has_license, image),
        PolicyCheck.HAS_UNIQUE_TAG: partial(_has_unique_tag, place),
        PolicyCheck.LAYER_COUNT: partial(_layer_count, image),
        PolicyCheck.NO_PROHIBITED_PACKAGES: partial(_no_prohibited_packages, image),
        PolicyCheck.REQUIRED_LABELS: partial(_required_labels, image),
        PolicyCheck.NO_PROHIBITED_LABELS: partial(_no_prohibited_labels, image),
        PolicyCheck.RUN_AS_NON_ROOT: partial(_run_as_non_root, image),
        PolicyCheck.MODIFIED_FILES: partial(_modified_files, image),
        PolicyCheck.BASED_ON_UBI: partial(_based_on_ubi, image),
        PolicyCheck.CONTAINER_NAME: partial(_container_name, place),
    }
    state, sentence = judges[check]()
    return CheckVerdict(check=check, state=state, sentence=sentence)


def _passes(sentence: str) -> _Answer:
    return CheckState.PASSED, sentence


def _fails(sentence: str) -> _Answer:
    return CheckState.FAILED, sentence


def _errs(sentence: str) -> _Answer:
    return CheckState.ERROR, sentence


def _leaves_open(sentence: str) -> _Answer:
    return CheckState.NOT_JUDGED, sentence


def _has_license(image: ImageContents) -> _Answer:
    """``/licenses`` is a folder in which a name leads to a regular file that is not empty, within the image."""
    folder = image.follow(_LICENSES) or _LICENSES
    if (there := image.files.get(folder)) is not None and not there.is_folder:
        return _fails(f"/{_LICENSES} is no folder")
    good = sorted(file.path for file in image.below(folder) if _is_license(image, file))
    if not good:
        return _fails(f"/{_LICENSES} holds no file that is not empty")
    return _passes(f"/{good[0]}" + (f" and {count(len(good) - 1, 'other file')}" if len(good) > 1 else ""))


def _is_license(image: ImageContents, file: ImageFile) -> bool:
    # Preflight unpacks /licenses alone: another name of a file elsewhere (a hard link) is not there for it.
    if file.is_folder or (file.twin_of and not file.twin_of.startswith(f"{_LICENSES}/")):
        return False
    target = image.find(file.path)
    return target is not None and target.is_file and target.size > 0


def _has_unique_tag(place: ImagePlace) -> _Answer:
    """More than one tag, or one that is not latest; who names an image by another tag is not asked for the list."""
    if place.tag and place.tag != "latest":
        return _fails("its tag is latest") if place.tag.lower() == "latest" else _passes(f"its tag is {place.tag}")
    named = "its tag is latest" if place.tag else "it is named by digest"
    if place.all_tags is None:
        return _leaves_open(f"{named}, so the registry's list of tags decides, and no registry was asked")
    tags = list(place.all_tags)
    if not tags:
        return (
            _fails(f"{named}, and its repository has no other")
            if place.tag
            else _errs("it is named by digest, and its repository lists no tags")
        )
    if len(tags) == 1 and tags[0].lower() == "latest":
        return _fails("its repository has the tag latest and no other")
    return _passes(f"its repository has {count(len(tags), 'tag')}, such as {min(tags)}")


def _layer_count(image: ImageContents) -> _Answer:
    found = count(len(image.layers), "layer")
    if len(image.layers) > _MOST_LAYERS:
        return _fails(f"it has {found}; {_MOST_LAYERS} are the most")
    return _passes(found)


def _no_prohibited_packages(image: ImageContents) -> _Answer:
    file = _find_database(image)
    if file is None:
        return _errs("it has no RPM database, and without one the check ends with an error")
    if file.path == _DATABASES[-1]:
        return _leaves_open("its RPM database is of a kind older than SQLite, which preflight reads, and this does not")
    if file.content is None:
        return _leaves_open(f"its RPM database /{file.path} is larger than is read here, or in an unusual place")
    try:
        names = {package.name for package in read_rpm_packages(file.content)}
    except FormatError as error:
        return _leaves_open(f"its RPM database cannot be read here, perhaps by preflight: {error.message}")
    found = sorted(name for name in names if name in _PROHIBITED or name.startswith(_PROHIBITED_BEGINNING))
    if found:
        return _fails(f"it has {_name_some(found)}, which only Red Hat may distribute")
    return _passes(
        f"none of its {count(len(names), 'package')} is one of the {len(_PROHIBITED)}, or begins with kpatch"
    )


def _find_database(image: ImageContents) -> ImageFile | None:
    return next((file for place in _DATABASES if (file := image.find(place)) and not file.is_folder), None)


def _required_labels(image: ImageContents) -> _Answer:
    missing = [name for name in _REQUIRED_LABELS if not image.labels.get(name)]
    if missing:
        return _fails(f"it lacks {', '.join(missing)}")
    return _passes(", ".join(_REQUIRED_LABELS))


def _no_prohibited_labels(image: ImageContents) -> _Answer:
    wrong = [name for name in _TRADEMARK_LABELS if violates_trademark(image.labels.get(name, ""))]
    if wrong:
        told = ", ".join(f"{name} ({image.labels[name][:80]})" for name in wrong)
        return _fails(f"{told}: the trademark may stand there once, after 'for'")
    return _passes(f"{', '.join(_TRADEMARK_LABELS)} do without the trademark, or say 'for' it")


def violates_trademark(text: str) -> bool:
    """Tell whether a text names Red Hat other than once in "for Red Hat", and not at its start."""
    text = text.lower()
    at_start = bool(_AT_THE_START.match(text))
    others = len(_RED_HAT.findall(text)) - at_start - bool(_FOR_RED_HAT.search(text))
    return at_start or others > 0


def _run_as_non_root(image: ImageContents) -> _Answer:
    if _runs_as_root(image):
        return _fails(f"USER is {_user(image) or 'not set'}: containers of it run as root")
    note = ", which is root all the same" if _user(image).partition(":")[0] in {"0", "root"} else ""
    return _passes(f"USER is {_user(image)}{note}")


def _user(image: ImageContents) -> str:
    settings = image.config.get("config")
    return str(settings.get("User") or "") if isinstance(settings, dict) else ""


def _runs_as_root(image: ImageContents) -> bool:
    return _user(image) in {"", "0", "root"}


def _modified_files(image: ImageContents) -> _Answer:
    file = image.find("etc/os-release")
    if file is None or not file.is_file:
        return _errs("it has no /etc/os-release, and without one the check ends with an error")
    if file.content is None:
        return _leaves_open(f"/etc/os-release leads to /{file.path}, which is not read here")
    platform = find_platform(file.content)
    try:
        layers = read_layers(image.layers)
    except FormatError as error:
        return _leaves_open(f"{error.message}; preflight may be able to")
    if wrong := find_modified(layers, platform):
        number, path, why = wrong[0]
        more = f" ({count(len(wrong), 'such file')})" if len(wrong) > 1 else ""
        return _fails(f"layer {number + 1} changes /{path}: {why}{more}")
    owned = max((len(layer.owners) for layer in layers), default=0)
    if not owned:
        return _passes("no layer has a package database at /var/lib/rpm, so the check sees no package")
    kind = "" if platform == UNKNOWN else f" of {platform}"
    return _passes(f"none of {count(owned, 'file')} of packages{kind} is changed by a layer above them")


def _based_on_ubi(image: ImageContents) -> _Answer:
    rootfs = image.config.get("rootfs")
    layers = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    lowest = f"; its lowest layer is {layers[0]}" if isinstance(layers, list) and layers else ""
    return _leaves_open(f"Red Hat's catalogue is asked whether it knows a layer of it{lowest}")


def _container_name(place: ImagePlace) -> _Answer:
    name = place.repository.rpartition("/")[2]
    if not name:
        return _leaves_open("it has no name here; what it is published as decides")
    if violates_trademark(name):
        return _fails(f"it is called {name}, which is a name of Red Hat's")
    return _passes(f"it is called {name}")


def _name_some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{', '.join(names[:_MOST_NAMED])}{more}"
