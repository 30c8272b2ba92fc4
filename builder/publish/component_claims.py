"""What the statements about a component image must say to be true of it: the checks of ``verifier`` for such images.

Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from builder.errors import FormatError
from builder.foreign import Parsed, parse_data, pick_object
from builder.image.labels import COMPONENT_LABEL, KEY_LABEL, SOURCE_LABEL
from builder.publish.attest.component_statements import COMPONENT_BUILD_TYPE, CONTRACT_TEST, SELF_TEST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.image.contents import ImageContents

# What an installed Python package leaves (PEP 376): its folder names it and its version.
_INSTALLED = re.compile(r"(?:.*/)?([A-Za-z0-9._]+)-([^/-]+)\.dist-info/METADATA")
_PURL = re.compile(r"pkg:pypi/([^@/]+)@([^?#]+)")


class _Component(Parsed):
    purl: str = ""
    hashes: tuple[dict[str, Any], ...] = ()


class _Metadata(Parsed):
    component: _Component = _Component()


class _Bom(Parsed):
    metadata: _Metadata = _Metadata()
    components: tuple[_Component, ...] = ()


def is_component(contents: ImageContents) -> bool:
    """Tell whether an image says of itself that it is a component's."""
    return COMPONENT_LABEL in contents.labels


def check_provenance(predicate: Mapping[str, Any], contents: ImageContents, platform: str) -> str:
    """Compare provenance with the image; returns what it says.

    Raises:
        FormatError: they differ.
    """
    definition = pick_object(predicate, "buildDefinition")
    external, internal = pick_object(definition, "externalParameters"), pick_object(definition, "internalParameters")
    labels = contents.labels
    trees = [item for item in _list(definition, "resolvedDependencies") if item.get("name") == "source"]
    source = str(pick_object(trees[0], "digest").get("kmodsmithTree")) if trees else ""
    said = {
        "build type": (str(definition.get("buildType")), COMPONENT_BUILD_TYPE),
        "component": (str(external.get("component")), labels.get("name", "")),
        "version": (str(external.get("version")), labels.get("version", "")),
        "key": (str(internal.get("key")), labels.get(KEY_LABEL, "")),
        "source": (source, labels.get(SOURCE_LABEL, "")),
        "architecture": (str(external.get("arch")), str(contents.config.get("architecture"))),
    }
    if platform:
        said["platform"] = (str(external.get("arch")), platform.split("/")[1])
    for what, (stated, found) in said.items():
        if stated != found:
            raise FormatError(f"provenance says {what} {stated!r}, the image says {found!r}")
    builder = pick_object(pick_object(predicate, "runDetails"), "builder").get("id")
    return f"component {external['component']} {external['version']}, built by {builder}"


def check_sbom(predicate: Mapping[str, Any], contents: ImageContents) -> str:
    """Compare a bill of materials with the Python packages that are in the image; returns what was seen.

    What a base image brings of them need not be listed.

    Raises:
        FormatError: one that is listed is not there, or in another version; or it is of another image.
    """
    bom = parse_data(_Bom, predicate, "bill of materials")
    digests = {str(item.get("content")) for item in bom.metadata.component.hashes}
    if contents.digest.removeprefix("sha256:") not in digests:
        raise FormatError("it is of another image")
    listed = {match[1]: match[2] for item in bom.components if (match := _PURL.match(item.purl))}
    found: dict[str, set[str]] = {}
    for path, file in contents.files.items():
        if file.is_file and (match := _INSTALLED.fullmatch(path)):
            found.setdefault(canonicalize_name(match[1]), set()).add(match[2])
    for name, version in sorted(listed.items()):
        if version not in found.get(name, set()):
            seen = " and ".join(sorted(found.get(name, ()))) or "nothing"
            raise FormatError(f"of {name} it lists {version}, and the image has {seen}")
    return f"{len(listed)} Python packages are what it lists"


def check_tests(result: str | None, passed: Sequence[str], failed: Sequence[str], *, without: Sequence[str]) -> str:
    """Check that an image passed what component images have to; returns what it passed.

    Raises:
        FormatError: it did not, or its self-test was not run and nobody waived it.
    """
    wanted = [test for test in (CONTRACT_TEST, SELF_TEST) if test not in without]
    missing = [test for test in wanted if test not in passed]
    if failed or result not in {"PASSED", "WARNED"}:
        raise FormatError(f"its tests ended with {result!r}")
    if missing:
        raise FormatError(f"it did not pass {', '.join(missing)}; it passed {', '.join(passed) or 'nothing'}")
    return f"passed {', '.join(passed)}"


def _list(data: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = data.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
