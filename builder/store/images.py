"""The local container store, seen through buildah: which images are there, under which names and digests."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import CellError, CommandError, FailureClass, FormatError, UsageError
from builder.foreign import read_json, read_value
from builder.host.locks import own_store, share_store
from builder.host.run import Command, find_tool, run
from builder.image.packed_layer import layers_of_base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from builder.image.packed_layer import PackedLayer

# What a killed run can leave behind has such a name, with the run's id in it: the next run that has the store for
# itself finds and removes it, and no run takes another's image for its own.
STAGE_REPOSITORY = "localhost/kmodsmith/stage"
TOOLKIT_PREFIX = "localhost/kmodsmith/"
IMPORT_NAME = "kmodsmith-import"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image of the store: id and manifest digest, both as the store prints them."""

    id: str
    digest: str


def list_images() -> dict[str, Image]:
    """Return every named image by its full name; without buildah there can be none."""
    if find_tool("buildah") is None:
        return {}
    listing = run(Command(argv=("buildah", "images", "--json", "--no-trunc"))).check().stdout
    try:
        entries = read_value(listing or "[]", "it") or []
        return {
            name: Image(id=entry["id"].removeprefix("sha256:"), digest=entry["digest"])
            for entry in entries
            for name in entry.get("names") or ()
        }
    except (FormatError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(f"buildah images --json printed something unreadable: {error}") from error


def tag_image(image: str, *names: str) -> None:
    """Give names to an image; by its id, so that it is the one that was looked at, whoever moved its names since."""
    run(Command(argv=("buildah", "tag", image, *names), environment={"GOGC": "off"})).check()


def name_image(image: Image, *names: str) -> None:
    """Give names to an image, by its id, and look whether they stand for the very image that was looked at.

    Raises:
        CellError: one of them stands for another image: somebody else named it at the same time.
    """
    tag_image(image.id, *names)
    # The name that people use carries no key: others may move it to another image, which has its own key.
    for name in names:
        if (named := find_image(name)) != image:
            raise CellError(
                FailureClass.INFRASTRUCTURE,
                "image-replaced",
                f"{name} stands for {named.digest}, and the image that was proven is {image.digest}: another run, or "
                "somebody by hand, gave its name away at the same time",
            )


def import_image(folder: Path, *, log_file: Path | None = None) -> str:
    """Bring the image of an OCI layout that we wrote into the store, and return the name that it has there for now.

    Layers that the store has need not be in the folder. buildah makes a name out of the path that it is given, so a
    folder is called as ``IMPORT_NAME`` begins, with small letters, digits and ``-``.

    Raises:
        CommandError: it could not be brought in.
    """
    # Debian has no policy file, and buildah refuses to work without one; where there is one, it is about registries.
    policy = folder.with_name(f"{folder.name}.policy.json")
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}\n')
    argv = ("buildah", "pull", "--quiet", "--signature-policy", policy.name, f"oci:{folder.name}")
    environment = {"GOGC": "off", "GOMEMLIMIT": "512MiB"}
    run(Command(argv=argv, cwd=folder.parent, environment=environment, log_file=log_file)).check()
    return f"localhost/{folder.name}:latest"


def read_digest(name: str) -> str:
    """Return the manifest digest of an image of the store."""
    argv = ("buildah", "inspect", "--type", "image", "--format", "{{.FromImageDigest}}", name)
    return run(Command(argv=argv)).check().stdout.strip()


def find_image(name: str) -> Image:
    """Return what a name stands for now: what follows is done by id, because other runs move names.

    Raises:
        UsageError: the store has no such image.
    """
    form = "{{.FromImageID}} {{.FromImageDigest}}"
    argv = ("buildah", "inspect", "--type", "image", "--format", form, name)
    outcome = run(Command(argv=argv))
    if "image not known" in outcome.stderr:
        raise UsageError(f"the container store has no image {name}", hint="'buildah images' lists what it has")
    words = outcome.check().stdout.split()
    if len(words) != 2:  # noqa: PLR2004 - id and digest
        raise CommandError(f"buildah inspect printed something unreadable about {name}: {words}")
    return Image(id=words[0].removeprefix("sha256:"), digest=words[1])


def read_base_layers(name: str) -> dict[str, PackedLayer]:
    """Return the layers of an image of a registry that is in the store as that registry has them, by diff id.

    Raises:
        CommandError: buildah prints something unreadable about it.
    """
    printed = run(Command(argv=("buildah", "inspect", "--type", "image", name))).check().stdout
    try:
        found = read_json(printed, "it")
        diff_ids = [str(item) for item in found["OCIv1"]["rootfs"]["diff_ids"]]
        return layers_of_base(str(found["Manifest"]).encode(), diff_ids)
    except (ValueError, KeyError, TypeError, FormatError) as error:
        raise CommandError(f"buildah inspect printed something unreadable about {name}: {error!r}"[:500]) from error


def remove_images(names: Iterable[str]) -> None:
    """Remove images by name; one that is gone already is no error."""
    if wanted := tuple(names):
        run(Command(argv=("buildah", "rmi", *wanted)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Where the container store is: its driver, its folders, and the files that describe it to buildah."""

    driver: str
    graph_root: Path
    run_root: Path

    @property
    def folders(self) -> tuple[Path, Path]:
        return self.graph_root, self.run_root

    @property
    def settings(self) -> list[Path]:
        """The files and folders of containers-storage.conf(5) and its like, as far as they are there."""
        own = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "containers")
        named = os.environ.get("CONTAINERS_STORAGE_CONF")
        places = [Path("/etc/containers"), own, *([Path(named).absolute()] if named else [])]
        return [place for place in places if place.exists()]


def find_store() -> Store:
    """Ask buildah where the container store is; both folders exist when this returns.

    Raises:
        CommandError: buildah has no store, or prints something else.
    """
    printed = run(Command(argv=("buildah", "info"))).check().stdout
    try:
        store = read_json(printed, "it")["store"]
        found = Store(
            driver=str(store["GraphDriverName"]),
            graph_root=Path(store["GraphRoot"]),
            run_root=Path(store["RunRoot"]),
        )
    except (FormatError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"buildah info printed something unreadable: {error!r}") from error
    if not all(folder.is_absolute() for folder in found.folders):
        raise CommandError(
            f"buildah info printed something unreadable: it does not say where the container store is, but {found}"
        )
    for folder in found.folders:
        folder.mkdir(parents=True, exist_ok=True)
    return found


def find_graph_root() -> Path:
    """Return the folder in which the store keeps its layers."""
    return find_store().graph_root


@contextlib.contextmanager
def hold_store(clean_up: Callable[[], None] | None = None, *, alone: bool = False) -> Iterator[None]:
    """Keep others from taking away what is used of the store; without buildah there is none.

    Args:
        clean_up: called where nobody else uses the store.
        alone: have it alone; raises as ``locks.own_store`` does, else as ``locks.share_store``.
    """
    if find_tool("buildah") is None:
        yield
        return
    root = find_graph_root()
    with own_store(root) if alone else share_store(root, clean_up):
        yield


def remove_leftovers() -> list[str]:
    """Remove working containers and stage images of killed runs; the caller must be the store's only user.

    Returns:
        What was removed.
    """
    listing = run(Command(argv=("buildah", "containers", "--json"))).check().stdout
    try:
        containers = [
            str(entry["containername"])
            for entry in read_value(listing or "[]", "it") or []
            if entry.get("builder") and str(entry.get("imagename", "")).startswith(TOOLKIT_PREFIX)
        ]
    except (FormatError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(f"buildah containers --json printed something unreadable: {error}") from error
    prefixes = (f"{STAGE_REPOSITORY}:", f"localhost/{IMPORT_NAME}-")
    stages = [name for name in list_images() if name.startswith(prefixes)]
    if containers:
        run(Command(argv=("buildah", "rm", *containers)))
    remove_images(stages)
    return containers + stages
