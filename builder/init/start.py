"""Puts a vendor's driver into a project: a first versions.yaml, one more driver, or the sample's place in a fork.

Everything is worked out first. Then the source is copied, documents are written, and versions.yaml, which is checked
before, is last: killed earlier, the same command finishes what is left; failed, everything is as it was. A file that is
there is changed only where git can bring it back as it is, or where ``force`` says so.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import builder
from builder.config.load import load_config
from builder.config.yamlfile import read_yaml
from builder.drivers.commit import Dirty
from builder.drivers.dkms import read_dkms_conf, run_where_unreadable
from builder.drivers.git import read_commit
from builder.drivers.tree import read_files, read_tree
from builder.errors import ConfigError, FormatError, UsageError
from builder.host.locks import hold_project
from builder.host.places import open_inside, replace_file
from builder.init.draft import emit_config, emit_driver
from builder.init.guess import draft_driver, make_domain
from builder.init.look import look_at
from builder.init.result import Start, StartKind
from builder.init.sample import (
    DOCUMENTS,
    SAMPLE,
    NameChange,
    Names,
    add_driver,
    ask_about_project,
    find_driver,
    is_sample,
    rename_in_document,
    rename_settings,
    replace_driver,
)
from builder.sources.lock_file import LOCK_FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from builder.drivers.dkms import DkmsRecipe
    from builder.init.known import DriverDraft, Wish
    from builder.plan.project import Project

_VERSIONS = "versions.yaml"
_CONTAINERFILE = "driver-container/Containerfile"
_LICENSE = "LICENSE"
# Written from the models, and the same in every fork.
_GENERATED = frozenset({"docs/versions-yaml.md"})
_LARGEST_DOCUMENT = 1024**2
_MOST_DOCUMENTS = 1000
_SHOWN_MISTAKES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """How it is done.

    ``in_place``: the source is not copied. ``force``: also what git cannot bring back is changed. ``dry_run``: nothing
    is written.
    """

    in_place: bool = False
    force: bool = False
    dry_run: bool = False


def start_project(project: Project, source: Path, wish: Wish, options: StartOptions) -> Start:
    """Look at a source and put it into the project.

    Raises:
        UsageError: the source cannot be used, or a file would be lost.
        ConfigError: versions.yaml, as it is or as it would be, has mistakes.
        BusyError: another run is at work in the project.
    """
    root = project.file.parent
    _check_apart(source, root)
    draft = _read_source(source, wish)
    draft, outside = _place(draft, source, root, in_place=options.in_place)
    edits, start = _work_out(project, draft, wish, force=options.force)
    start = replace(start, outside=outside, entry=emit_driver(draft))
    if start.kind is StartKind.UNCHANGED:
        return replace(start, has_lock=project.lock_file.is_file())
    copies = outside is None and not source.resolve().is_relative_to(root.resolve())
    if draft.licenses == () and not draft.license_text:
        hint = "put it there as LICENSE: certification wants it in every image"
        raise UsageError(f"nothing in {source} tells the driver's licence", hint=hint)
    if outside is not None and draft.license_text:
        hint = f"its sources say {draft.license_text}: put that there as LICENSE, or leave --in-place out"
        raise UsageError(f"{source} has no file with the driver's licence, and it is not written to", hint=hint)
    if options.dry_run:
        _check_kept(root, edits, force=True)
        return start
    others = {name: text for name, text in edits.items() if name != _VERSIONS}
    with hold_project(project.work_dir), _aside(root) as aside, ExitStack() as undo:
        _check_kept(root, edits, force=options.force)
        files = []
        if copies:
            files += _copy_source(source, root, draft, aside, undo, force=options.force)
        elif draft.license_text:
            files += _write_license(root / draft.source, draft, undo)
        files += _write(root, others, undo)
        _check_result(project, aside, edits[_VERSIONS], outside)
        files += _write(root, {_VERSIONS: edits[_VERSIONS]}, undo)
        undo.pop_all()
    return replace(start, files=tuple(dict.fromkeys(files)), has_lock=project.lock_file.is_file())


@contextmanager
def _aside(root: Path) -> Iterator[Path]:
    """Give a folder in the project for what is put together, or put aside until all is done."""
    try:
        with tempfile.TemporaryDirectory(dir=root, prefix=".init-") as folder:
            yield Path(folder)
    except FileNotFoundError:
        raise UsageError(f"there is no folder {root}", hint="make it, or name another with --project") from None


def _check_apart(source: Path, root: Path) -> None:
    if root.resolve().is_relative_to(source.resolve()):
        hint = "put the driver's source into a folder of its own, and name that"
        raise UsageError(f"the project {root} lies in the source, {source}", hint=hint)


def _read_source(source: Path, wish: Wish) -> DriverDraft:
    look = look_at(source)
    recipe, problem = _read_dkms(source) if "dkms.conf" in look.words else (None, "")
    return draft_driver(look, wish, recipe=recipe, dkms_problem=problem)


def _read_dkms(source: Path) -> tuple[DkmsRecipe | None, str]:
    file = source / "dkms.conf"
    try:
        return read_dkms_conf(file), ""
    except ConfigError as error:
        try:
            return run_where_unreadable(file, error), ""
        except ConfigError:
            first = [f"line {item.line}: {item.path} {item.message}" for item in error.mistakes[:_SHOWN_MISTAKES]]
            return None, f"cannot be used ({'; '.join(first)})"


def _place(draft: DriverDraft, source: Path, root: Path, *, in_place: bool) -> tuple[DriverDraft, Path | None]:
    """Say where the source will be, as versions.yaml names it, and which folder outside has to be allowed for it."""
    real, inside = source.resolve(), root.resolve()
    if real.is_relative_to(inside):
        return replace(draft, source=real.relative_to(inside).as_posix()), None
    if in_place:
        return replace(draft, source=os.path.relpath(real, inside)), real
    return replace(draft, source=draft.name), None


def _work_out(project: Project, draft: DriverDraft, wish: Wish, *, force: bool) -> tuple[dict[str, str], Start]:
    """Return the new texts of files, versions.yaml last, and what they are.

    Raises:
        UsageError: versions.yaml is written in a way in which no driver can be put into it.
    """
    root = project.file.parent
    if not os.path.lexists(project.file):
        edits = dict(_first_files(root)) | {_VERSIONS: emit_config(draft)}
        new = tuple(NameChange(file=name, place="", before="", after="new") for name in edits)
        return edits, Start(kind=StartKind.NEW, draft=draft, changes=new)
    data = read_yaml(project.file).data
    text = _read_document(root, _VERSIONS)
    if text is None or not isinstance(data, dict):
        raise UsageError(f"{project.file} is no file with a mapping in it", hint="remove what is there")
    try:
        return _change(root, text, data, draft, wish, force=force)
    except FormatError as error:
        hint = "write the driver's entry by hand; for an empty folder, --dry-run shows it"
        raise UsageError(f"{project.file} {error.message}", hint=hint) from None


def _change(
    root: Path, text: str, data: Mapping[str, Any], draft: DriverDraft, wish: Wish, *, force: bool
) -> tuple[dict[str, str], Start]:
    """Return the new texts of a project that has a versions.yaml, and what they are."""
    drivers = data.get("drivers")
    if not isinstance(drivers, list) or not drivers:
        raise FormatError("has no list of drivers that one could be added to")
    if is_sample(data):
        return _replace_sample(root, text, data, draft, wish)
    number = find_driver(data, name=draft.name)
    if number is None:
        kind, text = StartKind.ADDED, add_driver(text, len(drivers) - 1, draft)
    elif force:
        kind, text = StartKind.REPLACED, replace_driver(text, number, draft)
    else:
        return {}, Start(kind=StartKind.UNCHANGED, draft=draft)
    changes = (NameChange(file=_VERSIONS, place="drivers", before="", after=draft.name),)
    return {_VERSIONS: text}, Start(kind=kind, draft=draft, changes=changes)


def _replace_sample(
    root: Path, text: str, data: Mapping[str, Any], draft: DriverDraft, wish: Wish
) -> tuple[dict[str, str], Start]:
    names = Names(driver=draft.name, vendor=draft.vendor, domain=make_domain(wish))
    changes = [NameChange(file=_VERSIONS, place="drivers", before=SAMPLE, after=draft.name)]
    text, settings = rename_settings(text, data, names)
    text = replace_driver(text, find_driver(data, name=SAMPLE) or 0, draft)
    edits: dict[str, str] = {}
    for name in _documents(root):
        if before := _read_document(root, name):
            after, places = rename_in_document(before, name, names)
            if after != before:
                edits[name] = after
                settings += places
    draft = replace(draft, questions=(*draft.questions, *ask_about_project(data)))
    start = Start(kind=StartKind.SAMPLE_REPLACED, draft=draft, changes=(*changes, *settings))
    return edits | {_VERSIONS: text}, start


def _first_files(root: Path) -> Iterator[tuple[str, str]]:
    """Yield what a project needs beside versions.yaml and has not, as this repository has it."""
    template = Path(builder.__file__).parent.parent
    for name in (_CONTAINERFILE, LOCK_FILE_NAME):
        if not os.path.lexists(root / name) and (template / name).is_file():
            yield name, (template / name).read_text()


def _documents(root: Path) -> Iterator[str]:
    """Yield the names of documents, sorted; a link is none."""
    for place in DOCUMENTS:
        folder = root / place
        if folder.is_symlink():
            continue
        files = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
        for file in files[:_MOST_DOCUMENTS]:
            name = file.relative_to(root).as_posix()
            if file.suffix in {".md", ".yaml"} and name not in _GENERATED and not file.is_symlink() and file.is_file():
                yield name


def _read_document(root: Path, name: str) -> str | None:
    """Return a text of the project as it is, its ends of lines too; None for what is none."""
    try:
        with open_inside(root, name, most=_LARGEST_DOCUMENT) as stream:
            return stream.read(_LARGEST_DOCUMENT).decode()
    except (FormatError, UnicodeDecodeError):
        return None


def _check_kept(root: Path, edits: dict[str, str], *, force: bool) -> None:
    """Check that whatever is written over can be brought back.

    Raises:
        UsageError: git does not have a file as it is.
    """
    links = [name for name in edits if (root / name).is_symlink()]
    if links:
        raise UsageError(f"{root / links[0]} is a link, and is not written through", hint="put a file in its place")
    lost = [name for name in edits if not force and (root / name).exists() and not _is_in_git(root, name)]
    if lost:
        listed = ", ".join(lost[:5])
        hint = "commit them first, so that 'git diff' shows what is changed and nothing is lost; or --force"
        raise UsageError(f"these files would be changed, and git does not have them as they are: {listed}", hint=hint)


def _is_in_git(root: Path, name: str) -> bool:
    commit = read_commit("project", root, read_files(root, [name]), is_whole=False)
    return commit is not None and commit.dirty is Dirty.NO


def _copy_source(
    source: Path, root: Path, draft: DriverDraft, aside: Path, undo: ExitStack, *, force: bool
) -> list[str]:
    """Copy the source to where versions.yaml names it; a copy that is there and the same stays."""
    target = root / draft.source
    copy = read_tree(source).copy_to(aside / "source")
    if draft.license_text:
        (copy / _LICENSE).write_text(f"{draft.license_text}\n")
    if os.path.lexists(target):
        is_folder = target.is_dir() and not target.is_symlink()
        if is_folder and read_tree(target).digest == read_tree(copy).digest:
            return []
        if not force or not is_folder:
            hint = "choose another --name" + ("; or --force, which puts the source in its place" if is_folder else "")
            raise UsageError(f"{target} is there, and is not the source that would be put there", hint=hint)
        target.rename(aside / "replaced")
        undo.callback((aside / "replaced").rename, target)
    copy.rename(target)
    undo.callback(shutil.rmtree, target, ignore_errors=True)
    return [f"{draft.source}/"]


def _write_license(folder: Path, draft: DriverDraft, undo: ExitStack) -> list[str]:
    """Write the licence's identifier beside a source of the project that has no such file."""
    file = folder / _LICENSE
    try:
        with file.open("x") as stream:
            undo.callback(file.unlink)
            stream.write(f"{draft.license_text}\n")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", hint="write the driver's licence there") from None
    return [f"{draft.source}/{_LICENSE}"]


def _check_result(project: Project, aside: Path, text: str, outside: Path | None) -> None:
    """Read versions.yaml as it would be, from the folder in which it will be.

    Raises:
        ConfigError: it would have mistakes.
    """
    file = project.file.parent / f"{aside.name}.yaml"
    try:
        replace_file(file, text.encode())
        allowed = [*project.outside, *([outside] if outside else [])]
        load_config(file, today=datetime.now(UTC).date(), outside=allowed)
    except ConfigError as error:
        mistakes = [replace(mistake, file=project.file) for mistake in error.mistakes]
        hint = "nothing was changed: the lines are those of what would have been written, which --dry-run shows"
        raise ConfigError(mistakes, hint=hint) from None
    finally:
        file.unlink(missing_ok=True)


def _write(root: Path, edits: dict[str, str], undo: ExitStack) -> list[str]:
    """Write files in their order; each can be undone until all are there."""
    for name, text in edits.items():
        file = root / name
        if file.exists():
            undo.callback(replace_file, file, file.read_bytes())
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            undo.callback(file.unlink, missing_ok=True)
        replace_file(file, text.encode())
    return list(edits)
