"""Images as the real engine unpacks and mounts them, compared with what is read of them; layers are random, but seeded."""

from __future__ import annotations

import contextlib
import random
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.samples import tar_member, write_raw_layer

from builder.errors import FormatError
from builder.image.contents import LayerCache, read_oci_layout
from builder.image.layout import write_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.samples import Row

    from builder.image.contents import ImageContents
    from integration.conftest import Machine

pytestmark = pytest.mark.buildah

_SEED = 20261126
_IMAGES = 120
_TIDY, _SPOILT, _TRIES = 0.8, 0.2, 20
_NAMES = ("a", "b", "c", "d")


def _path(dice: random.Random) -> str:
    return "/".join(dice.choices(_NAMES, k=dice.choice((1, 1, 2, 2, 3))))


def _target(dice: random.Random) -> str:
    return dice.choice(("", "/", "../", "../../")) + _path(dice)


def _rows(dice: random.Random) -> list[Row]:
    """Make the entries of a layer; most name the folders that they lie in, as the layers of engines do."""
    rows: list[Row] = []
    for number in range(dice.randint(1, 7)):
        path = _path(dice)
        folder, _, name = path.rpartition("/")
        lead = f"{folder}/" if folder else ""
        if dice.random() < _TIDY:
            parts = folder.split("/") if folder else []
            rows += [("folder", "/".join(parts[: length + 1])) for length in range(len(parts))]
        match dice.choice(("file", "file", "file", "folder", "link", "link", "hard", "hide", "hide", "empty")):
            case "link":
                rows.append(("link", path, _target(dice)))
            case "hard":
                files = [row[1] for row in rows if row[0] in {"file", "link"} and "/.wh" not in f"/{row[1]}"]
                rows.append(("hard", path, dice.choice(files) if files else _path(dice)))
            case "hide":
                rows.append(("file", f"{lead}.wh.{name}"))
            case "empty":
                rows.append(("file", f"{path}/.wh..wh..opq"))
            case kind:
                rows.append((kind, path, f"{number} {dice.random()}"))
    # Every engine refuses a layer that names a path twice.
    return list({row[1]: row for row in reversed(rows)}.values())[::-1] if dice.random() > _SPOILT / 2 else rows


def _layers(dice: random.Random, folder: Path) -> list[list[Row]]:
    """Make layers of which most can be unpacked alone."""
    layers = []
    for number in range(dice.randint(2, 4)):
        rows = _rows(dice)
        for attempt in range(_TRIES):
            scratch = folder / f"{number}-{attempt}"
            scratch.mkdir()
            if _read(scratch, [rows]) is not None or dice.random() < _SPOILT:
                break
            rows = _rows(dice)
        layers.append(rows)
    return layers


def _read(folder: Path, layers: list[list[Row]]) -> ImageContents | None:
    written = [
        write_raw_layer(folder / f"{number}.tar", [tar_member(row) for row in rows])
        for number, rows in enumerate(layers)
    ]
    unique = list({layer.digest: layer for layer in written}.values())
    write_image(folder / "oci", unique, arch="amd64", environment={}, labels={})
    try:
        return read_oci_layout(folder / "oci", "test", LayerCache())
    except FormatError:
        return None


@contextlib.contextmanager
def _mounted(machine: Machine, layout: Path) -> Iterator[Path | None]:
    """The image's tree; None where buildah cannot unpack it."""
    done = subprocess.run(
        ["buildah", "from", f"oci:{layout}"], env=machine.environment, text=True, capture_output=True, check=False
    )
    if done.returncode != 0:
        yield None
        return
    container = done.stdout.strip().splitlines()[-1]
    image = machine.buildah("inspect", "--format", "{{.FromImageID}}", container).strip()
    try:
        yield Path(machine.buildah("mount", container).strip())
    finally:
        machine.buildah("rm", container)
        machine.buildah("rmi", "--force", image)


def _tree_of_container(root: Path) -> dict[str, str]:
    found = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = f"link {path.readlink()}"
        elif path.exists():  # overlayfs may list a whiteout that hides nothing, and then nobody can open it
            found[name] = "folder" if path.is_dir() else f"file {path.stat().st_size}"
    return found


def _tree_of_image(image: ImageContents) -> dict[str, str]:
    found = {}
    for path, file in image.files.items():
        found[path] = f"link {file.link}" if file.link else f"file {file.size}" if file.is_file else "folder"
        parents = (path[:place] for place, letter in enumerate(path) if letter == "/")
        found |= dict.fromkeys((parent for parent in parents if parent not in image.files), "folder")
    return found


def test_random_layers_are_seen_as_a_container_sees_them(machine: Machine, tmp_path: Path) -> None:
    dice = random.Random(_SEED)
    compared = refused = 0
    for number in range(_IMAGES):
        folder = tmp_path / str(number)
        folder.mkdir()
        layers = _layers(dice, folder)
        image = _read(folder, layers)
        with _mounted(machine, folder / "oci") as root:
            if image is None:
                assert root is None, f"{number}: buildah unpacks what was refused: {layers}"
                refused += 1
            elif root is not None and not image.ambiguities:
                expected = _tree_of_image(image)
                found = _tree_of_container(root)
                # A folder that no layer mentions and that holds nothing is nothing that could be read.
                empty = {path for path in found.keys() - expected.keys() if found[path] == "folder"}
                assert expected == {path: kind for path, kind in found.items() if path not in empty}, (
                    f"{number}: {layers}"
                )
                compared += 1
    assert compared > _IMAGES / 3
    assert refused > _IMAGES / 20
