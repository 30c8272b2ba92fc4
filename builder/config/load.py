"""Reads ``versions.yaml``: its text, its models, and everything that two of its places or the disk must agree on."""

from __future__ import annotations

import difflib
import re
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from builder.config.model import (
    AllowedMessage,
    AnySource,
    BootTest,
    BootTimeouts,
    BuildSettings,
    Config,
    DebianArchive,
    Driver,
    DropRelease,
    Exclude,
    ExpectedLoad,
    Group,
    ImageSigner,
    InClusterBuild,
    KmmModule,
    KnownBad,
    KnownProblem,
    Mirror,
    ParameterSet,
    PublishSettings,
    RegistrySettings,
    Reuse,
    Signer,
    Toleration,
    is_label_value,
)
from builder.config.tag_rules import image_names
from builder.config.yamlfile import YamlFile, read_yaml
from builder.errors import ConfigError, Mistake, UsageError
from builder.host.places import find_problem, find_problem_inside
from builder.kernel import parse_kernel_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydantic_core import ErrorDetails


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
        found = error.errors()  # made anew each time
        problems = [problem for problem in found if not _is_consequence(problem, found)]
        mistakes = [_translate(problem, document) for problem in problems]
        raise ConfigError([*mistakes, *_check_raw_dates(document, today)]) from None
    for driver in config.drivers:
        driver._root = file.parent  # noqa: SLF001 - the loader completes what it has just made
    keys = [config.publish.signer] if config.publish.signer else []
    for signer in [*config.signers.values(), *keys]:
        signer._root = file.parent  # noqa: SLF001 - as above
        signer._is_forbidden = untrusted  # noqa: SLF001 - as above
    config.registry._is_anonymous = untrusted  # noqa: SLF001 - as above
    if mistakes := [
        *_check_references(config, document),
        *_check_places(config, document, [file.parent, *outside]),
        *_check_files(config, document),
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
            sentence = _unknown("source with base images", str(source.runtime_source), givers)
            yield document.mistake(("sources", name, "runtime"), sentence)
    for name, group in config.groups.items():
        yield from _check_group(config, document, name, group)
    if config.default_group not in config.groups:
        yield document.mistake(("default_group",), _unknown("group", config.default_group, config.groups))


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
            yield document.mistake((key, number, "driver"), _unknown("driver", glob, names))


def _check_group(config: Config, document: YamlFile, name: str, group: Group) -> Iterator[Mistake]:
    if group.source not in config.sources:
        yield document.mistake(("groups", name, "source"), _unknown("source", group.source, config.sources))
    elif not config.sources[group.source].has_releases:
        for key in sorted({"releases", "include"} & group.model_fields_set):
            yield document.mistake(("groups", name, key), f"source {group.source!r} has no releases")
    for number, signer in enumerate(group.signers):
        place: tuple[str | int, ...] = ("groups", name, "signers", number)
        if signer not in config.signers:
            yield document.mistake(place, _unknown("signer", signer, config.signers))
        elif signer in group.signers[:number]:
            yield document.mistake(place, f"{signer!r} is named twice")


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
    known = {name.replace("-", "_") for name in driver.modules}
    for place, name in wanted:
        if known and name.replace("-", "_") not in known:
            yield document.mistake((*path, *place), _unknown("module", name, driver.modules))


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


def _check_files(config: Config, document: YamlFile) -> Iterator[Mistake]:
    for number, driver in enumerate(config.drivers):
        path = ("drivers", number)
        if not driver.source_dir.is_dir():
            yield document.mistake((*path, "source"), f"there is no folder {driver.source}")
            continue
        if not driver.containerfile_file.is_file():
            yield document.mistake((*path, "containerfile"), f"there is no file {driver.containerfile}")
        if driver.dkms:
            yield from _check_source_file(driver, driver.dkms, document, (*path, "dkms"))
        for key, files in (("firmware", driver.firmware), ("licenses", driver.licenses)):
            for index, name in enumerate(files):
                yield from _check_source_file(driver, name, document, (*path, key, index))
        yield from _check_boot_files(driver, document, (*path, "boot"))


def _check_source_file(driver: Driver, name: str, document: YamlFile, path: tuple[str | int, ...]) -> Iterator[Mistake]:
    if problem := find_problem_inside(driver.source_dir, name):
        yield document.mistake(path, f"there is no file {name} in {driver.source}: it {problem}")


def _check_boot_files(driver: Driver, document: YamlFile, path: tuple[str | int, ...]) -> Iterator[Mistake]:
    files = [(("smoke_test",), driver.boot.smoke_test)] if driver.boot.smoke_test else []
    for place, name in [*files, *((("files", index), name) for index, name in enumerate(driver.boot.files))]:
        yield from _check_source_file(driver, name, document, (*path, *place))
    named: list[tuple[tuple[str | int, ...], str]] = [(("load", module), module) for module in driver.boot.load]
    for index, parameters in enumerate(driver.boot.parameters):
        named += [(("parameters", index, "modules", module), module) for module in parameters.modules]
    known = {name.replace("-", "_") for name in driver.modules}
    for place, module in named:
        if known and module.replace("-", "_") not in known:
            yield document.mistake((*path, *place), _unknown("module", module, driver.modules))


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


def _unknown(kind: str, word: str, known: Iterable[str]) -> str:
    return f"there is no {kind} {word!r}{_nearest(word, known)}"


def _nearest(word: str, known: Iterable[str]) -> str:
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f": did you mean {near[0]!r}?" if near else f"; known: {', '.join(words) or 'none'}"


def _is_consequence(problem: ErrorDetails, problems: list[ErrorDetails]) -> bool:
    """A list is not too short when it only lost the members that are reported themselves."""
    path = problem["loc"]
    return problem["type"] == "too_short" and any(
        other["loc"][: len(path)] == path and len(other["loc"]) > len(path) for other in problems
    )


def _translate(problem: ErrorDetails, document: YamlFile) -> Mistake:
    """Turn one of pydantic's errors into a mistake with a sentence in plain words."""
    path = tuple(part for part in problem["loc"] if part not in {"int", "str", "[key]"})
    if path[:1] == ("sources",):  # pydantic puts the provider into the path
        path = (*path[:2], *path[3:])
    kind, context, value = problem["type"], problem.get("ctx", {}), problem["input"]
    match kind:
        case "missing":
            return document.mistake(path[:-1], f"{path[-1]!r} is required and missing")
        case "extra_forbidden":
            known = _fields_at(path[:-1])
            return document.mistake(path, f"is not a known key{_nearest(str(path[-1]), known)}", at_key=True)
        case "enum" | "literal_error":
            known = re.findall(r"'([^']*)'", str(context["expected"]))
            return document.mistake(path, f"{value!r} is not allowed{_nearest(str(value), known)}")
        case "union_tag_not_found" | "union_tag_invalid":
            return _translate_provider(document, path, context)
        case "string_type" if isinstance(value, int | float | date):
            read_as = "it as true or false" if isinstance(value, bool) else f"{value} as a {_kind_of(value)}"
            return document.mistake(path, f"must be text, but YAML reads {read_as}: put it in quotes")
        case "string_pattern_mismatch":
            return document.mistake(path, f"{value!r} does not have the right form ({context['pattern']})")
        case "kmodsmith":
            return document.mistake(path, str(context["sentence"]))
    sentence = _WRONG_KIND.get(kind)
    if sentence:
        return document.mistake(path, f"must be {sentence}, not {_kind_of(value)}")
    return document.mistake(path, problem["msg"][:1].lower() + problem["msg"][1:])


def _translate_provider(document: YamlFile, path: tuple[str | int, ...], context: dict[str, Any]) -> Mistake:
    if "tag" not in context:
        return document.mistake(path, "'provider' is required and missing")
    known = re.findall(r"'([^']*)'", str(context["expected_tags"]))
    sentence = f"{context['tag']!r} is not allowed{_nearest(str(context['tag']), known)}"
    return document.mistake((*path, "provider"), sentence)


_WRONG_KIND = {
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "date_type": "a date such as 2027-03-31",
    "date_from_datetime_parsing": "a date such as 2027-03-31",
    "date_parsing": "a date such as 2027-03-31",
}


def _kind_of(value: object) -> str:
    if value is None:
        return "nothing"
    names = {
        bool: "true or false",
        int: "number",
        float: "number",
        str: "text",
        dict: "a mapping",
        tuple: "a list",
    }
    return names.get(type(value), "date" if isinstance(value, date) else type(value).__name__)


_MODELS: dict[str, type[BaseModel]] = {
    "drivers": Driver,
    "registry": RegistrySettings,
    "publish": PublishSettings,
    "signers": Signer,
    "groups": Group,
    "exclude": Exclude,
    "known_bad": KnownBad,
    "known_problems": KnownProblem,
    "build": BuildSettings,
}


# Models of lists and mappings below others, by the key that they stand under.
_INNER_MODELS: dict[str, type[BaseModel]] = {
    "archives": DebianArchive,
    "drop": DropRelease,
    "signer": ImageSigner,
    "in_cluster_build": InClusterBuild,
    "tolerations": Toleration,
    "kmm": KmmModule,
    "mirrors": Mirror,
    "reuse": Reuse,
    "timeouts": BootTimeouts,
    "allow": AllowedMessage,
    "parameters": ParameterSet,
    "load": ExpectedLoad,
}


def _fields_at(path: tuple[str | int, ...]) -> list[str]:
    if not path:
        return list(Config.model_fields)
    if path[0] == "sources" and len(path) == 2:  # noqa: PLR2004 - of whichever provider
        return [field for kind in get_args(AnySource) for field in kind.model_fields]
    inner = (_INNER_MODELS[str(part)] for part in reversed(path) if part in _INNER_MODELS)
    is_boot = path[0] == "drivers" and "boot" in path
    model = next(inner, BootTest if is_boot else _MODELS[str(path[0])])
    return list(model.model_fields)
