"""Reads a dkms.conf without executing it: a bash fragment, of which plain assignments are understood.

What the keys mean: dkms(8) and dkms 3.0's own reading of them. Whatever would need a shell to know is refused with
its place, and versions.yaml can say it instead.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import ConfigError, Mistake

if TYPE_CHECKING:
    from pathlib import Path

    from builder.kernel import KernelVersion

_MOST_BYTES = 256 * 1024
_ASSIGNMENT = re.compile(
    r"\s*(?:export\s+)?(?P<key>[A-Za-z_][A-Za-z0-9_]*)(?:\[(?P<index>\d+)\])?=(?P<value>.*)", re.DOTALL
)
_REFERENCE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
# Variables that dkms gives a build, and what the Containerfile calls the same thing.
_BUILD_VARIABLES = {
    "kernelver": "$KERNEL_FULL_VERSION",
    "kernel_source_dir": "$KERNEL_SRC_DIR",
    "arch": "$(uname -m)",
}
_NEEDED = frozenset(
    {
        "PACKAGE_NAME", "PACKAGE_VERSION", "MAKE", "BUILT_MODULE_NAME", "BUILT_MODULE_LOCATION", "DEST_MODULE_NAME",
        "PATCH", "BUILD_EXCLUSIVE_KERNEL", "BUILD_EXCLUSIVE_ARCH", "PRE_BUILD",
    }
)  # fmt: skip
_ADVICE = "give 'make' and 'modules' in versions.yaml instead of 'dkms'"


@dataclass(frozen=True, slots=True, kw_only=True)
class DkmsModule:
    """A module that dkms would install: the file that the build leaves, and the name it gets."""

    built_file: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DkmsRecipe:
    """What a dkms.conf says about a build; ``command`` runs in the source folder."""

    name: str
    version: str
    command: str
    modules: tuple[DkmsModule, ...]
    only_kernels: str = ""
    only_arches: str = ""

    def excludes(self, kernel: KernelVersion) -> str | None:
        """Return why the driver declares itself unfit for a kernel, or None."""
        if self.only_kernels and not re.search(self.only_kernels, kernel.raw):
            return f"dkms.conf builds only for kernels like {self.only_kernels}"
        if self.only_arches and not re.search(self.only_arches, kernel.arch):
            return f"dkms.conf builds only for architectures like {self.only_arches}"
        return None


def read_dkms_conf(file: Path) -> DkmsRecipe:
    """Read a dkms.conf.

    Raises:
        ConfigError: it cannot be read, or a key that matters needs a shell to know its value.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            [Mistake(file=file, line=1, column=1, path="", message=f"cannot be read: {error}")]
        ) from error
    if len(content) > _MOST_BYTES:
        raise ConfigError([Mistake(file=file, line=1, column=1, path="", message="is too large for a dkms.conf")])
    return _Reader(file).read(text)


class _Reader:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._values: dict[tuple[str, int], str] = {}
        self._lines: dict[tuple[str, int], int] = {}
        self._mistakes: list[Mistake] = []

    def read(self, text: str) -> DkmsRecipe:
        for number, line in _logical_lines(text):
            self._read_line(number, line)
        modules = self._modules()
        command = self._command()
        for key in ("PATCH",):
            if any(name == key for name, _ in self._values):
                self._complain(
                    self._line_of(key),
                    key,
                    f"patches are applied by dkms alone; apply them in the source, or {_ADVICE}",
                )
        if self._mistakes:
            raise ConfigError(self._mistakes, hint=_ADVICE)
        return DkmsRecipe(
            name=self._value("PACKAGE_NAME"),
            version=self._value("PACKAGE_VERSION"),
            command=command,
            modules=modules,
            only_kernels=self._regex("BUILD_EXCLUSIVE_KERNEL"),
            only_arches=self._regex("BUILD_EXCLUSIVE_ARCH"),
        )

    def _read_line(self, number: int, line: str) -> None:
        match = _ASSIGNMENT.match(line)
        if match is None:
            if any(re.search(rf"\b{key}\b", line) for key in _NEEDED) or re.match(
                r"\s*(if|for|while|case|source|\.)\b", line
            ):
                self._complain(number, "", f"cannot be known without running it: {line.strip()[:80]}")
            return
        key, index = match["key"], int(match["index"] or 0)
        if match["value"].startswith("("):
            self._complain(number, key, "is an array literal, which is not understood")
            return
        value = self._unquote(match["value"])
        if value is None or re.search(r"\$\(|`", value):
            if key in _NEEDED:
                self._complain(number, key, f"cannot be known without running it: {match['value'][:80]}")
            return
        self._values[key, index] = self._expand(value)
        self._lines[key, index] = number

    def _unquote(self, raw: str) -> str | None:
        try:
            words = shlex.split(raw.replace("$", "\0"), comments=True)
        except ValueError:
            return None
        return (words[0] if words else "").replace("\0", "$")

    def _expand(self, value: str) -> str:
        """Replace what the file itself has set, and dkms's variables by ours; the rest is the build's shell's."""

        def replace(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            if (name, 0) in self._values:
                return self._values[name, 0]
            return _BUILD_VARIABLES.get(name, match[0])

        # dkms builds in <tree>/<module>/<version>/build, which is where our sources are.
        value = re.sub(r"\$\{?dkms_tree\}?/\S*?/build\b", "$PWD", value)
        value = re.sub(r"/var/lib/dkms/\S*?/build\b", "$PWD", value)
        return _REFERENCE.sub(replace, value)

    def _command(self) -> str:
        make = self._values.get(("MAKE", 0))
        if make is None:
            return 'make -C "$KERNEL_SRC_DIR" M="$PWD" KERNELRELEASE="$KERNEL_FULL_VERSION"'
        words = make.strip()
        if re.match(r"'?make'?\b", words):  # dkms: a command that begins with make is told the kernel
            words = re.sub(r"^'?make'?", 'make KERNELRELEASE="$KERNEL_FULL_VERSION"', words)
        before = self._values.get(("PRE_BUILD", 0))
        return f"sh ./{before} && {words}" if before else words

    def _modules(self) -> tuple[DkmsModule, ...]:
        package = self._values.get(("PACKAGE_NAME", 0), "")
        indexes = sorted(index for key, index in self._values if key == "BUILT_MODULE_NAME")
        if not indexes and ("DEST_MODULE_LOCATION", 0) in self._values:
            self._values["BUILT_MODULE_NAME", 0] = package
            indexes = [0]
        if not indexes:
            self._complain(1, "BUILT_MODULE_NAME", "is missing: no module is named")
        found = []
        for index in indexes:
            built = self._values["BUILT_MODULE_NAME", index]
            folder = posixpath.normpath(self._values.get(("BUILT_MODULE_LOCATION", index)) or ".")
            name = self._values.get(("DEST_MODULE_NAME", index), built)
            path = posixpath.normpath(posixpath.join(folder, f"{built}.ko"))
            if not re.fullmatch(r"[A-Za-z0-9_./+-]+", f"{path}{name}") or path.startswith(("/", "..", ".")):
                self._complain(
                    self._lines.get(("BUILT_MODULE_NAME", index), 1),
                    "BUILT_MODULE_NAME",
                    f"{path!r} is no usable path",
                )
            found.append(DkmsModule(built_file=path, name=name))
        return tuple(found)

    def _value(self, key: str) -> str:
        return self._values.get((key, 0), "")

    def _regex(self, key: str) -> str:
        try:
            return re.compile(self._value(key)).pattern
        except re.error:
            return ""

    def _line_of(self, key: str) -> int:
        return min(line for (name, _), line in self._lines.items() if name == key)

    def _complain(self, line: int, key: str, message: str) -> None:
        self._mistakes.append(Mistake(file=self._file, line=line, column=1, path=key, message=message))


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Join continuation lines and lines inside quotes; return the number of the first line of each."""
    found: list[tuple[int, str]] = []
    pending, start = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        start = start if pending else number
        pending += line
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        if _open_quote(pending):
            pending += "\n"
            continue
        if pending.strip() and not pending.lstrip().startswith("#"):
            found.append((start, pending))
        pending = ""
    if pending.strip():
        found.append((start, pending))
    return found


def _open_quote(line: str) -> bool:
    quote = ""
    escaped = False
    for character in line:
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == "#":
            return False
    return bool(quote)
