"""Reads a vendor's dkms.conf without executing it, and says how dkms would build the modules.

dkms.conf is a bash fragment that dkms sources as root. Here it is hostile input: assignments and references
are read, what would have to be executed is refused with its place, unless no key that matters depends on it.
Then ``run_dkms.sh`` runs it, where everything of a driver runs: in the container of the compile.

What dkms does with the values is done likewise (``read_conf`` and ``actual_build`` of dkms 3.0.10): a command
that begins with ``make`` gets ``KERNELRELEASE=`` right behind that word, the last MAKE whose MAKE_MATCH fits
the kernel wins, white space is folded. Only its ``-jN`` is left to MAKEFLAGS. The commands come out as shell
code for the compile container, for its source folder, with KERNEL_FULL_VERSION and KERNEL_SRC_DIR set.
"""

from __future__ import annotations

import base64
import codecs
import difflib
import re
import shlex
import warnings
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from builder.drivers.shell_fragment import ShellFragment, ShellProblem, excerpt
from builder.errors import ConfigError, Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from builder.kernel import KernelVersion

_HINT = "give 'make' and 'modules' in versions.yaml instead of 'dkms'"
_MAX_BYTES = 256 * 1024

# What dkms sets before it reads the file. They stand in values as single private characters until it is known
# whether they end up inside quotes of a command, or in a name.
_KERNEL: Final = "\ue000"
_KERNEL_DIR: Final = "\ue001"
_MODULE: Final = "\ue002"
_MODULE_VERSION: Final = "\ue003"
_ARCH: Final = "\ue004"
_CPUS: Final = "\ue005"
_BUILD_DIR: Final = "\ue006"
_OF_DKMS = {
    "kernelver": _KERNEL,
    "kernel_source_dir": _KERNEL_DIR,
    "dkms_tree": "/var/lib/dkms",
    "source_tree": "/usr/src",
    "module": _MODULE,
    "module_version": _MODULE_VERSION,
    "arch": _ARCH,
    "parallel_jobs": _CPUS,
}
# What a dkms.conf likes to source. It sets CONFIG_... only, and a key that uses one of those is refused.
_KERNEL_CONFIG = re.compile(rf"{_KERNEL_DIR}/\.config|/boot/config-{_KERNEL}|/lib/modules/{_KERNEL}/build/\.config")
# What another key can not have been meant by: these have a use of their own.
_KEYS = frozenset({"PACKAGE_NAME", "PACKAGE_VERSION", "BUILT_MODULE_NAME", "DEST_MODULE_NAME"})
_NOT_FOLLOWED = ("POST_ADD", "PRE_INSTALL", "POST_INSTALL", "BUILD_DEPENDS", "MODULES_CONF")


@dataclass(frozen=True, slots=True, kw_only=True)
class DkmsModule:
    """One module: where the build leaves it, relative to the source, and the name it is installed under."""

    built_file: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DkmsRecipe:
    """What a dkms.conf says: ``make`` as shell commands, in ``notes`` what of the file is not followed."""

    name: str
    version: str
    make: tuple[str, ...]
    modules: tuple[DkmsModule, ...]
    build_exclusive_kernel: str | None = None
    build_exclusive_kernel_min: str | None = None
    build_exclusive_kernel_max: str | None = None
    build_exclusive_arch: str | None = None
    build_exclusive_config: tuple[str, ...] = ()
    obsolete_by: str | None = None
    notes: tuple[str, ...] = ()
    exclusions: tuple[str, ...] = ()
    """What only running the file for a kernel tells of whether dkms would build for it, with its line."""

    @property
    def command(self) -> str:
        """All of ``make`` as one command that stops at the first failure."""
        return self.make[0] if len(self.make) == 1 else " && ".join(f"{{ {part}; }}" for part in self.make)

    @property
    def is_asked(self) -> bool:
        """Whether the file is run for a kernel to tell whether dkms would build for it."""
        return bool(self.exclusions or self.build_exclusive_config)

    def excludes(self, kernel: KernelVersion) -> str | None:
        """Say why dkms would not build for a kernel, None if it would.

        BUILD_EXCLUSIVE_CONFIG is not looked at: it needs the kernel's .config.
        """
        own = _comparable(kernel.raw)
        if self.build_exclusive_kernel and not _matches(self.build_exclusive_kernel, kernel.raw):
            return f"BUILD_EXCLUSIVE_KERNEL {self.build_exclusive_kernel!r} does not match {kernel}"
        if self.build_exclusive_kernel_min and own < _comparable(self.build_exclusive_kernel_min):
            return f"{kernel} is older than BUILD_EXCLUSIVE_KERNEL_MIN {self.build_exclusive_kernel_min}"
        if self.build_exclusive_kernel_max and own > _comparable(self.build_exclusive_kernel_max):
            return f"{kernel} is newer than BUILD_EXCLUSIVE_KERNEL_MAX {self.build_exclusive_kernel_max}"
        if self.build_exclusive_arch and not _matches(self.build_exclusive_arch, kernel.arch):
            return f"BUILD_EXCLUSIVE_ARCH {self.build_exclusive_arch!r} does not match {kernel.arch}"
        if self.obsolete_by and own >= _comparable(self.obsolete_by):
            return f"OBSOLETE_BY says that kernels from {self.obsolete_by} on have the module themselves"
        return None


def read_dkms_conf(file: Path) -> DkmsRecipe:
    """Read a dkms.conf.

    Raises:
        ConfigError: all that cannot be read without executing it, each with its place.
    """
    text = _read_text(file)
    fragment = ShellFragment(text, known=_OF_DKMS, known_commands={"nproc": _CPUS}, harmless_sources=_KERNEL_CONFIG)
    maker = _RecipeMaker(fragment)
    recipe = maker.make_recipe()
    if recipe.is_asked:
        recipe = replace(recipe, make=(_run_it("check", file.name), *recipe.make))
    mistakes = [_mistake(file, text, problem) for problem in fragment.problems]
    mistakes += [_mistake(file, text, problem, key) for key, problem in maker.problems]
    if mistakes:
        raise ConfigError(set(mistakes), hint=_HINT)
    return recipe


# Mistakes that come from what a file does, not from what it is: a shell knows the answer.
_NEEDS_A_SHELL = re.compile(
    r"would have to be (?:executed|computed)|is not known|is known only to a running shell|more than a plain reference"
    r"|is not set by this file|it is computed|a loop sets it|may set it|a here-document cannot be read"
)


def run_where_unreadable(file: Path, error: ConfigError) -> DkmsRecipe:
    """Return a recipe that runs a dkms.conf for each kernel, where every mistake is one that a shell would not make.

    Raises:
        ConfigError: the same, where something else is wrong with the file.
    """
    if not all(_NEEDS_A_SHELL.search(mistake.message) for mistake in error.mistakes):
        raise error
    places = sorted({(mistake.line, mistake.message) for mistake in error.mistakes})
    notes = tuple(f"line {line}: {message}; so the file is run for each kernel" for line, message in places)
    return DkmsRecipe(name="", version="", make=(_run_it("run", file.name),), modules=(), exclusions=notes, notes=notes)


def _run_it(mode: str, conf: str) -> str:
    """Return the command that lets bash do with a dkms.conf what dkms does, in the container of the compile."""
    script = files("builder.drivers").joinpath("run_dkms.sh").read_bytes()
    # In one line, and as no words: the command stands in logs, in which errors are looked for.
    unpack = f"echo {base64.b64encode(script).decode()} | base64 -d >/tmp/run-dkms"
    return f"{unpack} && bash /tmp/run-dkms {mode} {shlex.quote(f'./{conf}')}"


def _read_text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(file, f"the file cannot be read: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise _unreadable(file, "the file is larger than 256 KiB, which no dkms.conf is")
    if data.startswith(codecs.BOM_UTF8):
        raise _unreadable(file, "the file begins with a byte order mark, which no shell understands: save it without")
    try:
        text = data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise _unreadable(file, "the file is not UTF-8 text") from error
    if bad := re.search(r"[\x00-\x08\x0b-\x1f\x7f\ue000-\uf8ff]", text):
        mistake = _mistake(file, text, ShellProblem(bad.start(), "the file holds a control character"))
        raise ConfigError([mistake], hint=_HINT)
    return text


def _unreadable(file: Path, message: str) -> ConfigError:
    return ConfigError([Mistake(file=file, line=1, column=1, path="", message=message)], hint=_HINT)


def _mistake(file: Path, text: str, problem: ShellProblem, key: str = "") -> Mistake:
    before = text[: problem.position]
    line = before.count("\n") + 1
    column = problem.position - (before.rfind("\n") + 1) + 1
    return Mistake(file=file, line=line, column=column, path=key, message=problem.message)


_PLAIN = re.compile(r"[\w.+~:#@-]+")
_MODULE_NAME = re.compile(r"[A-Za-z0-9_][\w+-]*")
_LOCATION = re.compile(r"(?:[\w+-][\w.+-]*/)*")
_SCRIPT = re.compile(rf"[\w{_KERNEL}-{_BUILD_DIR}./=:+@%, -]+")
_SHELL_FORM = {
    _KERNEL: "KERNEL_FULL_VERSION",
    _KERNEL_DIR: "KERNEL_SRC_DIR",
    _BUILD_DIR: "PWD",
    _CPUS: "(nproc)",
    _ARCH: "(uname -m)",
}
_MAX_REGEX = 300
_MAX_QUANTIFIERS = 6
_POSIX_CLASSES = {
    "[:digit:]": "0-9",
    "[:alpha:]": "A-Za-z",
    "[:alnum:]": "A-Za-z0-9",
    "[:lower:]": "a-z",
    "[:upper:]": "A-Z",
    "[:space:]": r"\s",
}


class _RecipeMaker:
    def __init__(self, fragment: ShellFragment) -> None:
        self._fragment = fragment
        self.problems: list[tuple[str, ShellProblem]] = []
        self._exclusion_notes: list[str] = []
        self._name = ""
        self._version = ""

    def make_recipe(self) -> DkmsRecipe:
        self._name = self._required("PACKAGE_NAME")
        self._version = self._required("PACKAGE_VERSION")
        if self._elements("PATCH") or self._elements("PATCH_MATCH"):
            self._complain("PATCH", "patches are not applied here: apply them in the driver's source")
        return DkmsRecipe(
            name=self._name,
            version=self._version,
            make=tuple(self._commands()),
            modules=tuple(self._modules()),
            build_exclusive_kernel=self._exclusion("BUILD_EXCLUSIVE_KERNEL", is_regex=True),
            build_exclusive_kernel_min=self._exclusion("BUILD_EXCLUSIVE_KERNEL_MIN"),
            build_exclusive_kernel_max=self._exclusion("BUILD_EXCLUSIVE_KERNEL_MAX"),
            build_exclusive_arch=self._exclusion("BUILD_EXCLUSIVE_ARCH", is_regex=True),
            build_exclusive_config=tuple((self._exclusion("BUILD_EXCLUSIVE_CONFIG") or "").split()),
            obsolete_by=self._exclusion("OBSOLETE_BY"),
            notes=(*self._exclusion_notes, *self._notes()),
            exclusions=tuple(self._exclusion_notes),
        )

    # Values

    def _complain(self, key: str, message: str, index: int = 0) -> None:
        elements = self._fragment.variables.get(key, {})
        value = elements.get(index) or next(iter(elements.values()), None)
        self.problems.append((key, ShellProblem(value.position if value else 0, message)))

    def _elements(self, key: str) -> dict[int, str]:
        """Return the elements of an array that are not empty; none if one of them is not known."""
        elements = self._fragment.variables.get(key, {})
        for index, value in elements.items():
            if value.problem:
                self._complain(key, value.problem, index)
                return {}
        texts = {index: self._resolve(value.text) for index, value in sorted(elements.items())}
        return {index: text for index, text in texts.items() if text}

    def _resolve(self, text: str) -> str:
        text = text.replace(_MODULE_VERSION, self._version).replace(_MODULE, self._name)
        folder = f"{re.escape(self._name)}/{re.escape(self._version)}/(?:build|source)"
        copy = f"{re.escape(self._name)}-{re.escape(self._version)}"
        text = re.sub(rf"/var/lib/dkms/{folder}(?![\w.+-])|/usr/src/{copy}(?![\w.+-])", _BUILD_DIR, text)
        return " ".join(text.split())

    def _plain(self, key: str) -> str:
        text = self._elements(key).get(0, "")
        if re.search(f"[{_KERNEL}-{_BUILD_DIR}]", text):
            self._complain(key, "depends on the kernel or the machine")
            return ""
        return text

    def _required(self, key: str) -> str:
        problems_before = len(self.problems)
        text = self._plain(key)
        if not _PLAIN.fullmatch(text) and len(self.problems) == problems_before:
            self._complain(key, f"is {text!r}, which dkms would not take" if text else f"is missing{self._meant(key)}")
        return text

    def _meant(self, key: str) -> str:
        """Return the key of the file that stands where one that it lacks was probably meant."""
        near = difflib.get_close_matches(key, self._fragment.variables.keys() - _KEYS, n=1, cutoff=0.85)
        return f": was it meant by {near[0]}?" if near else ""

    def _exclusion(self, key: str, *, is_regex: bool = False) -> str | None:
        """Read a key that only narrows down kernels: one under a condition is left to a shell, and that is noted."""
        value = self._fragment.variables.get(key, {}).get(0)
        if value and value.is_conditional:
            line = self._fragment.line_of(value.position)
            self._exclusion_notes.append(
                f"line {line}: {key} is set under a condition; dkms.conf is run for each kernel to tell"
            )
            return None
        text = self._plain(key)
        if is_regex and text and (problem := _problem_of_regex(text)):
            self._complain(key, problem)
        return text or None

    # Modules

    def _modules(self) -> Iterator[DkmsModule]:
        problems_before = len(self.problems)
        built_names = self._elements("BUILT_MODULE_NAME")
        locations = self._elements("BUILT_MODULE_LOCATION")
        names = self._elements("DEST_MODULE_NAME")
        destinations = self._elements("DEST_MODULE_LOCATION")
        if len(self.problems) > problems_before:
            return
        if not built_names and len(destinations) == 1:
            built_names = {next(iter(destinations)): self._name}  # as dkms does for a single module
        if not built_names:
            self._complain(
                "BUILT_MODULE_NAME", f"is missing: the file names no module{self._meant('BUILT_MODULE_NAME')}"
            )
        owners: dict[str, int] = {}
        for index in sorted(built_names.keys() | locations.keys() | names.keys() | destinations.keys()):
            built_name = built_names.get(index, "")
            location = locations.get(index, ".").rstrip("/") + "/"
            location = location.removeprefix(f"{_BUILD_DIR}/").removeprefix("./")
            name = names.get(index, built_name)
            if not self._is_module(index, built_name, location, name):
                continue
            if (other := owners.setdefault(name.replace("-", "_"), index)) != index:
                key = "DEST_MODULE_NAME" if index in names else "BUILT_MODULE_NAME"
                self._complain(key, f"{name!r} is the name of module {other} and of module {index}", index)
                continue
            yield DkmsModule(built_file=f"{location}{built_name}.ko", name=name)

    def _is_module(self, index: int, built_name: str, location: str, name: str) -> bool:
        before = len(self.problems)
        if not built_name:
            self._complain("BUILT_MODULE_NAME", f"is missing for module {index}", index)
        elif not _MODULE_NAME.fullmatch(built_name):
            self._complain("BUILT_MODULE_NAME", _problem_of_name(built_name), index)
        elif not _MODULE_NAME.fullmatch(name):
            self._complain("DEST_MODULE_NAME", _problem_of_name(name), index)
        if not _LOCATION.fullmatch(location):
            self._complain("BUILT_MODULE_LOCATION", f"{location!r} is not a folder inside the source", index)
        return len(self.problems) == before

    # Commands

    def _commands(self) -> Iterator[str]:
        if before := self._script("PRE_BUILD"):
            yield before
        makes = self._elements("MAKE")
        matches = self._elements("MAKE_MATCH")
        generic = f"make -C {_KERNEL_DIR} M={_BUILD_DIR}"
        command = self._shell_command(generic if 0 in matches else makes.get(0, generic))
        branches = [
            (pattern, self._shell_command(makes[index], index))
            for index, pattern in matches.items()
            if index in makes and self._is_usable_regex(index, pattern)
        ]
        for pattern, choice in branches:
            test = f'echo "$KERNEL_FULL_VERSION" | grep -Eq -e {shlex.quote(pattern)}'
            command = f"if {test}; then {choice}; else {command}; fi"
        yield command
        if after := self._script("POST_BUILD"):
            yield after

    def _is_usable_regex(self, index: int, pattern: str) -> bool:
        problem = _problem_of_regex(pattern)
        if problem:
            self._complain("MAKE_MATCH", problem, index)
        return problem is None

    def _script(self, key: str) -> str:
        """Read a script, which dkms starts without a shell from the build folder."""
        text = self._resolve(_LATE_REFERENCE.sub(_resolve_late_reference, self._elements(key).get(0, "")))
        if not text:
            return ""
        if not _SCRIPT.fullmatch(text) or text.startswith(("/", "-")) or ".." in text.split()[0].split("/"):
            self._complain(key, f"{excerpt(text)!r} is not a script of the source with plain arguments")
            return ""
        return _to_shell(f"./{text.removeprefix('./')}")

    def _shell_command(self, text: str, index: int = 0) -> str:
        text = self._resolve(_LATE_REFERENCE.sub(_resolve_late_reference, text))
        if "/var/lib/dkms" in text:
            self._complain("MAKE", "the command uses another driver's dkms folder", index)
        if re.search(r"\buname\b", text):
            self._complain("MAKE", "'uname' would name the kernel of the build machine", index)
        if text.startswith("make"):
            text = f"make KERNELRELEASE={_KERNEL}{text.removeprefix('make')}"
        if re.search(r"\b(?:cd|pushd)\b", text) and _BUILD_DIR in text:
            return f"build_dir=$PWD; {_to_shell(text, {**_SHELL_FORM, _BUILD_DIR: 'build_dir'})}"
        return _to_shell(text)

    def _notes(self) -> Iterator[str]:
        for key in _NOT_FOLLOWED:
            for value in self._fragment.variables.get(key, {}).values():
                yield f"line {self._fragment.line_of(value.position)}: {key} is not followed"


# dkms runs the commands with eval, in the shell that holds its variables: a reference that the file protected
# from being expanded, with single quotes or a backslash, is expanded then.
_LATE_REFERENCE = re.compile(r"(?<!\\)\$(?:\{(\w+)\}|(\w+))")


def _resolve_late_reference(match: re.Match[str]) -> str:
    return _OF_DKMS.get(match[1] or match[2], match[0])


def _to_shell(text: str, forms: dict[str, str] = _SHELL_FORM) -> str:
    """Put environment variables where dkms's values stand, also inside the single quotes of a command."""
    parts: list[str] = []
    quote = ""
    skip = False
    for character, following in zip(text, [*text[1:], ""], strict=True):
        if character in forms:
            parts.append(_reference(forms[character], following, quote))
        else:
            parts.append(character)
        if skip:
            skip = False
        elif character == "\\" and quote != "'":
            skip = True
        elif character in ("'", '"') and quote in ("", character):
            quote = "" if quote else character
    return "".join(parts)


def _reference(name: str, following: str, quote: str) -> str:
    is_joined = following.isalnum() or following == "_"
    reference = f"${{{name}}}" if is_joined and not name.startswith("(") else f"${name}"
    return f"'\"{reference}\"'" if quote == "'" else reference


def _comparable(version: str) -> str:
    """Pad numbers so that versions compare as text, as dkms's VER does."""
    return re.sub(r"\d+", lambda match: match[0].zfill(10), version)


def _matches(extended: str, text: str) -> bool:
    return re.search(_python_regex(extended), text) is not None


def _python_regex(extended: str) -> str:
    for name, members in _POSIX_CLASSES.items():
        extended = extended.replace(name, members)
    return extended


def _problem_of_name(name: str) -> str:
    if name.endswith(".ko"):
        return f"{name!r} is not the name of a module: leave out '.ko'"
    if "/" in name:
        return f"{name!r} is not the name of a module: its folder belongs into BUILT_MODULE_LOCATION"
    return f"{name!r} is not the name of a module"


def _problem_of_regex(extended: str) -> str | None:
    """Say why a regular expression is not used: it is broken, or could take for ever on a hostile purpose."""
    quantifiers = len(re.findall(r"(?<!\\)[*+{]", extended))
    is_risky = re.search(r"\)[*+{]|\(\?|[*+?}][*+?{]", extended) or quantifiers > _MAX_QUANTIFIERS
    if is_risky or len(extended) > _MAX_REGEX:
        return f"the regular expression {excerpt(extended)!r} is too involved to be tried safely"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(_python_regex(extended))
    except (re.error, Warning) as error:
        return f"{excerpt(extended)!r} is not a regular expression: {error}"
    return None
