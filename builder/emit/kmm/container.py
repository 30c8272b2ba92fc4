"""Rules of ``moduleLoader.container``: images, mappings, modprobe, signing in the cluster. Pure."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from builder.config.regexp import compile_regexp, matches
from builder.emit.kmm.mapping import VARIABLES, find_variables, fits
from builder.emit.kmm.problem import Path, Problem, warn
from builder.emit.kmm.texts import LABEL_VALUE
from builder.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.emit.kmm.version import KmmVersion

_IMAGE_WITH_TAG = re.compile(r"[^@]*/[^/:@]+:[^/@]+|[^/:@]+:[^/@]+|.+@sha256:[0-9a-f]{64}")
# Fields in which KMM replaces variables (internal/utils/replaceStrings.go and its callers).
_WITH_VARIABLES = frozenset({"containerImage", "unsignedImage", "filesToSign"})
# No kernel is called so: what matches it has no end, or no beginning.
_ANY_KERNEL = ("0.0.0-0.x", "9.99.9-999.99.9.el99_9.never")


def check_container(container: Mapping[str, Any], path: Path, version: KmmVersion) -> Iterator[Problem]:
    mappings = container["kernelMappings"]
    if not mappings:
        yield Problem(path=(*path, "kernelMappings"), code="no-mappings", message="at least one mapping is needed")
    yield from _check_in_tree(container, path)
    yield from _check_image(container, path, container.get("imagePullPolicy"))
    for number, mapping in enumerate(mappings):
        place = (*path, "kernelMappings", number)
        yield from _check_mapping(mapping, place)
        yield from _check_image(mapping, place, container.get("imagePullPolicy"))
        if not mapping.get("containerImage") and not container.get("containerImage"):
            message = "is empty, and the container has none to fall back on"
            yield Problem(path=(*place, "containerImage"), code="image", message=message)
        yield from _check_order(mappings, number, place)
    yield from _check_modprobe(container["modprobe"], (*path, "modprobe"))
    directory = container["modprobe"].get("dirName") or "/opt"
    has_build = bool(container.get("build"))
    yield from _check_variables(container, path)
    for part, place in _parts(container, path):
        if sign := part.get("sign"):
            builds = has_build or bool(part.get("build"))
            yield from _check_sign(sign, (*place, "sign"), directory, version, builds=builds)
    if container.get("version") and not LABEL_VALUE.fullmatch(container["version"]):
        message = f"{container['version']!r} can be no value of a node's label, which ordered upgrades need"
        yield Problem(path=(*path, "version"), code="version", message=message)


def _parts(container: Mapping[str, Any], path: Path) -> Iterator[tuple[Mapping[str, Any], Path]]:
    """Yield the container and each of its mappings: both have most of the same fields."""
    yield container, path
    for number, mapping in enumerate(container["kernelMappings"]):
        yield mapping, (*path, "kernelMappings", number)


def _check_in_tree(container: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    old, new = "inTreeModuleToRemove", "inTreeModulesToRemove"
    for part, place in _parts(container, path):
        if part.get(old):
            yield warn((*place, old), "deprecated", f"is deprecated: use {new}")
        # An empty list counts: the webhook asks whether the field is there.
        if part.get(old) and (part.get(new) is not None or container.get(new) is not None):
            yield Problem(path=(*place, old), code="in-tree", message=f"{old} and {new} exclude each other")
        elif part.get(new) is not None and container.get(old):
            yield Problem(path=(*place, new), code="in-tree", message=f"{old} and {new} exclude each other")


def _check_image(part: Mapping[str, Any], path: Path, policy: str | None) -> Iterator[Problem]:
    image = part.get("containerImage")
    if not image:
        return
    place = (*path, "containerImage")
    if not _IMAGE_WITH_TAG.fullmatch(image):
        yield Problem(path=place, code="image", message=f"{image!r} has neither tag nor digest")
    elif "@" not in image:
        yield warn(place, "not-pinned", "is named by a tag: whoever may write the tag decides what nodes load")
    elif policy == "Always":
        yield warn(place, "pull-policy", "is named by digest, so imagePullPolicy Always only costs time")


def _check_variables(value: Any, path: Path) -> Iterator[Problem]:
    """Check the variables that KMM replaces: one that it does not know becomes nothing, without a word."""
    if isinstance(value, str) and next(part for part in reversed(path) if isinstance(part, str)) in _WITH_VARIABLES:
        for name in find_variables(value):
            if name not in VARIABLES:
                near = difflib.get_close_matches(name, VARIABLES, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(VARIABLES)}"
                yield Problem(path=path, code="variable", message=f"KMM has no variable {name}: {hint}")
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from _check_variables(inner, (*path, key))


def _check_mapping(mapping: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    literal, regexp = mapping.get("literal"), mapping.get("regexp")
    if bool(literal) == bool(regexp):
        what = "literal and regexp exclude each other" if literal else "either literal or regexp is needed"
        yield Problem(path=path, code="mapping", message=what)
    for name, text in (("literal", literal), ("regexp", regexp)):
        if text and (control := re.search(r"[\x00-\x1f]", text)):
            message = f"holds the character {control[0]!r}, so it never fits: a backslash in double quotes is an escape"
            yield Problem(path=(*path, name), code="control-character", message=message)
    if not regexp:
        return
    place = (*path, "regexp")
    try:
        compile_regexp(regexp)
    except FormatError as error:
        yield Problem(path=place, code="regexp", message=error.message)
        return
    if r"\f" in regexp or r"\v" in regexp or r"\t" in regexp:
        yield Problem(path=place, code="control-character", message="asks for a control character, so it never fits")
    elif all(matches(regexp, kernel) for kernel in _ANY_KERNEL):
        message = (
            "fits every kernel: nodes with a kernel that has no image fail to pull it, instead of being left alone"
        )
        yield warn(place, "catch-all", message)
    elif not (regexp.startswith(("^", r"\A")) and regexp.endswith(("$", r"\z"))):
        yield warn(place, "unanchored", "is searched anywhere in the kernel version: begin with ^ and end with $")


def _check_order(mappings: Sequence[Mapping[str, Any]], number: int, path: Path) -> Iterator[Problem]:
    """A mapping that an earlier one always takes the place of."""
    literal = mappings[number].get("literal")
    if not literal:
        return
    for earlier, mapping in enumerate(mappings[:number]):
        if fits(mapping, literal):
            message = f"is never used: kernelMappings[{earlier}] fits {literal} and comes first"
            yield warn((*path, "literal"), "shadowed", message)
            return


def _check_modprobe(modprobe: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    name, raw = modprobe.get("moduleName"), modprobe.get("rawArgs") or {}
    if name and (raw.get("load") is not None or raw.get("unload") is not None):
        yield Problem(path=(*path, "rawArgs"), code="modprobe", message="rawArgs and moduleName exclude each other")
    elif not name and not (raw.get("load") and raw.get("unload")):
        message = "moduleName is needed, or rawArgs with both load and unload"
        yield Problem(path=path, code="modprobe", message=message)
    if name and name.endswith(".ko"):
        yield Problem(path=(*path, "moduleName"), code="modprobe", message="is a module's name, without .ko")
    if (order := modprobe.get("modulesLoadingOrder")) is not None:
        yield from _check_loading_order(order, name, (*path, "modulesLoadingOrder"))
    for number, parameter in enumerate(modprobe.get("parameters") or ()):
        if "=" not in parameter:
            yield warn((*path, "parameters", number), "parameter", f"{parameter!r} is not of the form name=value")


def _check_loading_order(order: Sequence[str], name: str | None, path: Path) -> Iterator[Problem]:
    def wrong(message: str) -> Problem:
        return Problem(path=path, code="loading-order", message=message)

    if len(order) < 2:  # noqa: PLR2004 - KMM's own bound
        yield wrong("must have at least two modules")
    if not name:
        yield wrong("needs moduleName")
    elif order and order[0] != name:
        yield wrong(f"must begin with moduleName ({name}): the last to be loaded comes first")
    if len(set(order)) < len(order):
        yield wrong("names a module twice")


def _check_sign(
    sign: Mapping[str, Any], path: Path, directory: str, version: KmmVersion, *, builds: bool
) -> Iterator[Problem]:
    files = sign.get("filesToSign") or ()
    if version.has("2.6"):
        if not files:
            yield Problem(path=path, code="files-to-sign", message="filesToSign is needed")
        for number, file in enumerate(files):
            if not file.startswith(f"{directory}/"):
                message = f"{file} is not below dirName ({directory})"
                yield Problem(path=(*path, "filesToSign", number), code="files-to-sign", message=message)
    for number, file in enumerate(files):
        place = (*path, "filesToSign", number)
        if re.search(r"\$\{?KERNEL_(FULL_)?VERSION", file):
            message = "the variable is normalised and the folder is not: for +rt and +64k kernels there is no such file"
            yield warn(place, "normalised-path", message)
        if "*" in file and not version.has("2.6"):
            yield Problem(path=place, code="files-to-sign", message=f"KMM {version} takes no globs, only whole paths")
    if not builds and not sign.get("unsignedImage"):
        yield Problem(path=path, code="unsigned-image", message="unsignedImage is needed where nothing is built")
