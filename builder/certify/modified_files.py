"""Preflight's HasModifiedFiles: no layer may change what a package of a layer below it installed. Pure.

Source: openshift-preflight 1.21, internal/policy/container/has_modified_files.go, with its oddities, because they
decide: only a database at /var/lib/rpm is seen, and only where its layer has an entry for that folder; names are
compared as they stand in a layer; a file that another one of its layer links to is passed over, and so is one that
loses setuid or setgid, or comes with capabilities.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.errors import FormatError
from builder.image.rpm_database import read_rpm_packages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.image.overlay import Layer
    from builder.image.rpm_database import RpmPackage

_FOLDER = "var/lib/rpm"
DATABASE = "var/lib/rpm/rpmdb.sqlite"
OLD_DATABASE = "var/lib/rpm/Packages"
_PLATFORM = re.compile(r'PLATFORM_ID="platform:([A-Za-z0-9]+)"')
UNKNOWN = "unknown"
_RED_HAT = "Red Hat, Inc."
# rpm's rpmfiles.h: config, doc, missingok, ghost, license, readme, artifact.
_FREE = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 12
_FREE_FOLDERS = ("etc", "var", "run", "usr/lib/.build-id", "usr/tmp", "usr/share/openstack-dashboard")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPackages:
    """A layer as the check sees it.

    ``files`` are what it brings or takes away, with their modes; ``packages`` are those of its database, or of that of
    the last layer that had one, by name, version, release and architecture, and ``owners`` say whose a file is.
    """

    files: Mapping[str, int]
    packages: Mapping[str, RpmPackage] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    has_database: bool = False


def find_platform(os_release: bytes) -> str:
    """Return what releases of the distribution's own packages contain, such as el9; ``UNKNOWN`` if it does not say."""
    found = _PLATFORM.search(os_release.decode(errors="backslashreplace"))
    return found[1] if found else UNKNOWN


def read_layers(layers: Sequence[Layer]) -> list[LayerPackages]:
    """Return an image's layers, lowest first, with the packages that are known at each.

    Raises:
        FormatError: a database cannot be read here, and preflight may be able to.
    """
    found: list[LayerPackages] = []
    for layer in layers:
        files = _list_changes(layer)
        packages = _read_database(layer)
        if packages is None and found:
            found.append(LayerPackages(files=files, packages=found[-1].packages, owners=found[-1].owners))
            continue
        named = {_name(package): package for package in packages or ()}
        owners = _find_owners(packages or ())
        found.append(LayerPackages(files=files, packages=named, owners=owners, has_database=True))
    return found


def _list_changes(layer: Layer) -> dict[str, int]:
    changes = {
        path: file.mode
        for path, file in layer.files.items()
        if not file.has_capabilities and (file.is_file or file.link or file.twin_of)
    }
    changes |= dict.fromkeys(layer.hidden, 0)
    for file in layer.files.values():
        if target := file.link or file.twin_of:
            changes.pop(target.removeprefix("/"), None)
    return changes


def _read_database(layer: Layer) -> Sequence[RpmPackage] | None:
    folder = layer.files.get(_FOLDER)
    if folder is None or not folder.is_folder:  # preflight unpacks it into folders that the layer names, and fails
        return None
    file = layer.files.get(DATABASE)
    if file is None or not file.is_file or file.twin_of:
        old = layer.files.get(OLD_DATABASE)
        if old is not None and old.is_file:
            raise FormatError(f"layer {layer.digest[:19]} has an RPM database of a kind older than SQLite")
        return None
    if file.content is None:
        raise FormatError(f"the RPM database of layer {layer.digest[:19]} is larger than is read here")
    try:
        return read_rpm_packages(file.content)
    except FormatError as error:
        raise FormatError(f"the RPM database of layer {layer.digest[:19]} cannot be read: {error.message}") from None


def _name(package: RpmPackage) -> str:
    return f"{package.name}-{package.version}-{package.release}-{package.arch}"


def _find_owners(packages: Sequence[RpmPackage]) -> dict[str, str]:
    owners: dict[str, str] = {}
    for package in packages:
        for file in package.files:
            path = file.path.removeprefix("/").rstrip("/")
            if file.flags & _FREE or path.startswith(_FREE_FOLDERS):
                continue
            if path.startswith("usr/") and path.endswith(".cache"):
                continue
            # Another architecture's package of the same name, if that holds no dash, does not take a file over.
            words = owners.get(path, "").split("-")[:4]
            same = words[:3] == [package.name, package.version, package.release]
            if not (same and words[3:] != [package.arch]):
                owners[path] = _name(package)
    return owners


def find_modified(layers: Sequence[LayerPackages], platform: str) -> list[tuple[int, str, str]]:
    """Return what is wrong: the number of the layer, the file and why, in order."""
    changed = (
        (number, path)
        for number, layer in enumerate(layers)
        for path in sorted(layer.files.keys() & layer.owners.keys())
        if number
    )
    judged = ((number, path, _why_disallowed(layers, number, path, platform)) for number, path in changed)
    return [(number, path, why) for number, path, why in judged if why]


def _why_disallowed(layers: Sequence[LayerPackages], number: int, path: str, platform: str) -> str:
    layer, before = layers[number], layers[number - 1]
    old_name, new_name = before.owners.get(path), layer.owners[path]
    if old_name is None and layer.has_database:  # a package that is new in this layer
        return ""
    old, new = before.packages.get(old_name or ""), layer.packages[new_name]
    if old is None:
        return ""
    if old_name != new_name:
        if platform in old.release and platform not in new.release:
            return f"it was of {old_name}, and is of {new_name}, which is not of {platform}"
        if old.arch != new.arch:
            return f"it was of {old_name}, and is of {new_name}, of another architecture"
        return ""  # an update
    if _loses_rights(layers, number, path):
        return ""
    is_strange = (platform not in new.release and platform != UNKNOWN) or _RED_HAT not in {old.vendor, new.vendor}
    if is_strange or new.installed > old.installed:
        return ""
    return f"it is of {new_name}, and was changed without RPM"


def _loses_rights(layers: Sequence[LayerPackages], number: int, path: str) -> bool:
    """Tell whether setuid or setgid goes: that is the one change that anybody may make."""
    before = next((layer.files[path] for layer in reversed(layers[:number]) if path in layer.files), 0)
    lost = before & ~layers[number].files[path]
    return bool(lost & (stat.S_ISUID | stat.S_ISGID))
