"""Reads ``versions.yaml``: its text, its models, and everything that two of its places or the disk must agree on."""

from __future__ import annotations

import contextlib
import errno
import os
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from builder.config.components import check_components, check_operator, check_tekton
from builder.config.license_names import is_license_name
from builder.config.model.config import Config
from builder.config.model.driver import Driver
from builder.config.model.names import is_label_value
from builder.config.tag_rules import image_names
from builder.config.translate import translate, unknown
from builder.config.yamlfile import YamlFile, read_yaml
from builder.errors import ConfigError, Mistake, UsageError
from builder.host.places import find_problem, find_problem_inside
from builder.kernel import parse_kernel_version
from builder.module_words import ModuleWord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.config.model.group import Group


def load_config(file: Path, *, today: date, outside: Sequence[Path] = (), untrusted: bool = False) -> Config:
    """Read versions.yaml and check it against itself, the files it names, and the calendar.

    Args:
        file: its place; what it names must lie in the same folder.
        today: the date that expiry is compared with.
        outside: further folders that it may name things in; only the command line gives them.
        untrusted: its keys may not be opened, no program of it may be started, and no pull secret used.

    Raises:
        ConfigError: holds every mistake of the file with its place.
    """
    document = read_yaml(file)
    if not isinstance(document.data, dict):
        raise ConfigError([document.mistake((), "must be a mapping with drivers, sources and groups")])
    try:
        config = Config.model_validate(_lists_as_tuples(document.data))
    except ValidationError as error:
        sound = _check_files(dict(_read_sound_drivers(document)), document, [file.parent, *outside])
        raise ConfigError([*translate(error.errors(), document), *_check_raw_dates(document, today), *sound]) from None
    for driver in config.drivers:
        driver._root = file.parent  # noqa: SLF001 - the loader completes what it has just made
    for component in config.components:
        component._root = file.parent  # noqa: SLF001 - as above
    keys = [config.publish.signer] if config.publish.signer else []
    for signer in [*config.signers.values(), *keys]:
        signer._root = file.parent  # noqa: SLF001 - as above
        signer._is_forbidden = untrusted  # noqa: SLF001 - as above
    config.registry._is_anonymous = untrusted  # noqa: SLF001 - as above
    if mistakes := [
        *_check_references(config, document),
        *_check_places(config, document, [file.parent, *outside]),
        *_check_files(dict(enumerate(config.drivers)), document, [file.parent, *outside]),
        *check_components(config, document, [file.parent, *outside]),
        *check_operator(config, document),
        *check_tekton(config, document),
        *_check_dates(config, document, today),
    ]:
        raise ConfigError(mistakes)
    return config


def _lists_as_tuples(value: Any) -> Any:
    """Strict models want tuples; YAML has lists."""
    if isinstance(value, dict):
        return {key: _lists_as_tuples(item) for key, item in value.items()}
    return tuple(_lists_as_tuples(item) for item in value) if isinstance(value, list) else value


def _check_references(config: Config, document: YamlFile) -> Iterator[Mistake]:
    names: dict[str, int] = {}
    for number, driver in enumerate(config.drivers):
        if driver.name in names:
            yield document.mistake(
                ("drivers", number, "name"),
                f"{driver.name!r} is already the name of drivers[{names[driver.name]}]",
            )
        names.setdefault(driver.name, number)
        yield from _check_kmm(driver, document, ("drivers", number, "kmm"))
    yield from _check_names(config, document)
    yield from _check_driver_globs(config, document)
    givers = [name for name, source in config.sources.items() if source.gives_base_images]
    for name, source in config.sources.items():
        if source.runtime_source not in {None, *givers}:
            sentence = unknown("source with base images", str(source.runtime_source), givers)
            yield document.mistake(("sources", name, "runtime"), sentence)
    for name, group in config.groups.items():
        yield from _check_group(config, document, name, group)
    if config.default_group not in config.groups:
        yield document.mistake(("default_group",), unknown("group", config.default_group, config.groups))


# A name of the usual length: what is too long with it would be too long for most kernels.
_SAMPLE = parse_kernel_version("5.14.0-427.68.1.el9_4.x86_64+rt")


def _check_names(config: Config, document: YamlFile) -> Iterator[Mistake]:
    """Two drivers whose images have one name, and tags that are too long, would be found out when all is built."""
    owners: dict[str, str] = {}
    longest = max((group.tag_suffix for group in config.groups.values()), key=len)
    for number, driver in enumerate(config.drivers):
        try:
            names = image_names(
                driver.image_name, driver.name, driver.version, _SAMPLE, config.publish.tags, suffix=longest
            )
        except UsageError as error:
            yield document.mistake(("drivers", number, "version"), error.message)
            continue
        for name in names:
            if (other := owners.setdefault(name, driver.name)) != driver.name:
                sentence = f"its images and those of {other} would have the same names, such as {name}"
                yield document.mistake(("drivers", number, "image"), sentence)
                break
    sources: set[str] = set()
    for number, mirror in enumerate(config.registry.mirrors):
        if mirror.source in sources:
            sentence = f"{mirror.source} has mirrors already: put them into one list, in their order"
            yield document.mistake(("registry", "mirrors", number, "source"), sentence)
        sources.add(mirror.source)


def _check_driver_globs(config: Config, document: YamlFile) -> Iterator[Mistake]:
    """An entry for a driver that does not exist does nothing, and its kernels are built all the same."""
    names = [driver.name for driver in config.drivers]
    excluded = [("exclude", number, entry.driver) for number, entry in enumerate(config.exclude)]
    for key, number, glob in [*excluded, *(("known_bad", at, bad.driver) for at, bad in enumerate(config.known_bad))]:
        if not any(fnmatchcase(name, glob) for name in names):
            yield document.mistake((key, number, "driver"), unknown("driver", glob, names))


def _check_group(config: Config, document: YamlFile, name: str, group: Group) -> Iterator[Mistake]:
    if group.source not in config.sources:
        yield document.mistake(("groups", name, "source"), unknown("source", group.source, config.sources))
    elif not config.sources[group.source].has_releases:
        for key in sorted({"releases", "include"} & group.model_fields_set):
            yield document.mistake(("groups", name, key), f"source {group.source!r} has no releases")
    for number, signer in enumerate(group.signers):
        place: tuple[str | int, ...] = ("groups", name, "signers", number)
        if signer not in config.signers:
            yield document.mistake(place, unknown("signer", signer, config.signers))
        elif signer in group.signers[:number]:
            yield document.mistake(place, f"{signer!r} is named twice")


def _may_have(driver: Driver, module: str) -> bool:
    """Tell whether a module can be among a driver's; one that leaves that to its dkms.conf may have any."""
    return not driver.modules or any(ModuleWord(word).fits(module) for word in driver.modules)


def _check_kmm(driver: Driver, document: YamlFile, path: tuple[str | int, ...]) -> Iterator[Mistake]:
    """What modprobe is to load must be among the driver's modules, where it names them; the version may be a label."""
    wanted: list[tuple[tuple[str | int, ...], str]] = [
        (("loading_order", index), name) for index, name in enumerate(driver.kmm.loading_order)
    ]
    if driver.kmm.module:
        wanted.append((("module",), driver.kmm.module))
    if driver.kmm.ordered_upgrade and not is_label_value(driver.version):
        sentence = f"nodes carry the version as a label, and {driver.version!r} cannot be one: no '+' and no '~'"
        yield document.mistake((*path, "ordered_upgrade"), sentence)
    build = driver.kmm.in_cluster_build
    if build and build.sign and (words := [word for word in driver.modules if not ModuleWord(word).is_name]):
        sentence = (
            f"KMM signs files by their names, and {words[0]!r} in 'modules' is no name: write out which there are"
        )
        yield document.mistake((*path, "in_cluster_build", "sign"), sentence)
    for place, name in wanted:
        if not _may_have(driver, name):
            yield document.mistake((*path, *place), unknown("module", name, driver.modules))


def _check_places(config: Config, document: YamlFile, allowed: Sequence[Path]) -> Iterator[Mistake]:
    """Whatever is read or handed on must lie in the project; only secrets lie elsewhere, and are trusted parts."""
    root = document.file.parent
    named: list[tuple[tuple[str | int, ...], str, Path]] = []
    for number, driver in enumerate(config.drivers):
        named.append((("drivers", number, "source"), driver.source, driver.source_dir))
        named.append((("drivers", number, "containerfile"), driver.containerfile, driver.containerfile_file))
    for name, signer in config.signers.items():
        named.append((("signers", name, "certificate"), signer.certificate, signer.resolve(signer.certificate)))
    if key := config.publish.signer:
        named.append((("publish", "signer", "public_key"), key.public_key, key.resolve(key.public_key)))
    for path, text, place in named:
        if problem := find_problem(text, place, allowed):
            yield document.mistake(path, problem)
    for name, source in config.sources.items():
        for file in source.named_files:
            if problem := find_problem(file.text, root / file.text, [*allowed, *map(Path, file.folders)]):
                yield document.mistake(("sources", name, file.key), problem)


def _read_sound_drivers(document: YamlFile) -> Iterator[tuple[int, Driver]]:
    """Yield the drivers of a file that is wrong elsewhere: what they lack on disk is told in the same round."""
    entries = document.data.get("drivers")
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        with contextlib.suppress(ValidationError):
            driver = Driver.model_validate(_lists_as_tuples(entry))
            driver._root = document.file.parent  # noqa: SLF001 - the loader completes what it has just made
            yield number, driver


def _check_files(drivers: Mapping[int, Driver], document: YamlFile, allowed: Sequence[Path]) -> Iterator[Mistake]:
    for number, driver in drivers.items():
        if find_problem(driver.source, driver.source_dir, allowed):  # told already; of what lies there nothing is
            continue
        path: tuple[str | int, ...] = ("drivers", number)
        if not driver.source_dir.is_dir():
            yield document.mistake((*path, "source"), f"there is no folder {driver.source}")
            continue
        if not driver.containerfile_file.is_file():
            yield document.mistake((*path, "containerfile"), f"there is no file {driver.containerfile}")
        if driver.dkms:
            yield from _check_source_file(driver, driver.dkms, document, (*path, "dkms"))
        for index, name in enumerate(driver.firmware):
            yield from _check_source_file(driver, name, document, (*path, "firmware", index))
        yield from _check_licenses(driver, document, path)
        yield from _check_boot_files(driver, document, (*path, "boot"))


_ABSENT = f"cannot be opened: {os.strerror(errno.ENOENT)}"


def _check_licenses(driver: Driver, document: YamlFile, path: tuple[str | int, ...]) -> Iterator[Mistake]:
    """The default is a name that nobody wrote: of a file that is not there, the key has to be named."""
    is_default = "licenses" not in driver.model_fields_set
    for index, name in enumerate(driver.licenses):
        problem = find_problem_inside(driver.source_dir, name)
        if not (is_default and problem and problem.endswith(_ABSENT)):
            yield from _check_source_file(driver, name, document, (*path, "licenses", index))
            continue
        found = [file for file in _list_files(driver.source_dir) if is_license_name(file)]
        meant = f"licenses: [{', '.join(found[:3])}]" if found else "licenses: [COPYING]"
        sentence = f"'licenses' is not given, and there is no file {name} in {driver.source}, which is its default"
        advice = "name what is there" if found else "name the files with the driver's licence, which images must hold"
        yield document.mistake(path, f"{sentence}: {advice}, such as {meant}")


def _list_files(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
    except OSError:  # whoever reads the source says so
        return []


def _check_source_file(driver: Driver, name: str, document: YamlFile, path: tuple[str | int, ...]) -> Iterator[Mistake]:
    if problem := find_problem_inside(driver.source_dir, name):
        why = "" if problem.endswith(_ABSENT) else f": it {problem}"
        yield document.mistake(path, f"there is no file {name} in {driver.source}{why}")


def _check_boot_files(driver: Driver, document: YamlFile, path: tuple[str | int, ...]) -> Iterator[Mistake]:
    files = [(("smoke_test",), driver.boot.smoke_test)] if driver.boot.smoke_test else []
    for place, name in [*files, *((("files", index), name) for index, name in enumerate(driver.boot.files))]:
        yield from _check_source_file(driver, name, document, (*path, *place))
    named: list[tuple[tuple[str | int, ...], str]] = [(("load", module), module) for module in driver.boot.load]
    for index, parameters in enumerate(driver.boot.parameters):
        named += [(("parameters", index, "modules", module), module) for module in parameters.modules]
    for place, module in named:
        if not _may_have(driver, module):
            yield document.mistake((*path, *place), unknown("module", module, driver.modules))


def _check_dates(config: Config, document: YamlFile, today: date) -> Iterator[Mistake]:
    for number, bad in enumerate(config.known_bad):
        if bad.expires < today:
            yield _expired(document, number, bad.expires, bad.owner)
    for number, driver in enumerate(config.drivers):
        for index, entry in enumerate(driver.boot.allow):
            if entry.expires < today:
                place = ("drivers", number, "boot", "allow", index, "expires")
                sentence = f"expired on {entry.expires}: repair what it excuses, or renew it"
                yield document.mistake(place, sentence)


def _check_raw_dates(document: YamlFile, today: date) -> Iterator[Mistake]:
    """Report expired entries also when something else in the file is wrong."""
    entries = document.data.get("known_bad")
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        expires = entry.get("expires") if isinstance(entry, dict) else None
        if type(expires) is date and expires < today:
            yield _expired(document, number, expires, entry.get("owner"))


def _expired(document: YamlFile, number: int, expires: date, owner: object) -> Mistake:
    sentence = f"expired on {expires}: ask its owner ({owner}) whether to fix, renew or remove it"
    return document.mistake(("known_bad", number, "expires"), sentence)
