"""A private apt: Debian's own resolver and signature check, run on a package world of its own.

apt reads nothing of the host's configuration, sees no installed package and changes nothing outside its folder. It
verifies the archive's signatures, lists what there is, and says which exact packages a wish list comes to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import SourceError, SourceUnreachableError
from builder.run import Command, find_tool, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from builder.kernel import Arch

# A stanza of apt's package index: 'Key: value' lines, continued by lines that begin with a space (deb822(5)).
_FIELD = re.compile(r"^([A-Za-z0-9-]+):[ \t]*(.*)$", re.MULTILINE)
_UNREACHABLE = re.compile(r"Could not (resolve|connect)|Connection (failed|timed out)|Temporary failure|[^0-9]50[0-9] ")
IMAGE_WITH_APT = "docker.io/library/debian:bookworm-slim"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package of the index: sizes in bytes."""

    name: str
    version: str
    arch: str
    depends: str
    url: str
    size: int
    installed: int
    sha256: str

    @property
    def key(self) -> str:
        return f"{self.name}_{self.version}_{self.arch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """One line of sources.list: an archive and suites of it."""

    url: str
    suites: tuple[str, ...]


class Apt:
    """apt for one architecture in ``folder``; call ``update`` before anything else."""

    def __init__(
        self,
        folder: Path,
        arch: Arch,
        archives: Sequence[Archive],
        keyring: Path,
        image: str = IMAGE_WITH_APT,
    ) -> None:
        self._folder = folder
        self._arch = arch
        self._archives = archives
        self._keyring = keyring
        self._image = image

    def update(self) -> None:
        """Fetch and verify the package lists.

        Raises:
            SourceUnreachableError: an archive did not answer.
            SourceError: a signature is wrong or the keyring is missing.
        """
        self._write_configuration()
        outcome = self._run("apt-get", "update", "-o", "APT::Update::Error-Mode=any")
        if outcome is None:
            return
        if _UNREACHABLE.search(outcome):
            raise SourceUnreachableError(f"the Debian archive did not answer:\n{outcome}", hint="try again later")
        raise SourceError(
            f"apt refused the Debian archive:\n{outcome}",
            hint=f"the archive's keys are expected in {self._keyring} (package debian-archive-keyring)",
        )

    def packages(self, names: re.Pattern[str]) -> list[Package]:
        """Return every version of the packages whose whole name matches."""
        found = []
        for stanza in self._stanzas():
            name = stanza.split("\n", 1)[0].removeprefix("Package: ")
            if names.fullmatch(name):
                found.append(self._package(dict(_FIELD.findall(stanza))))
        return found

    def resolve(self, wishes: Iterable[str]) -> list[Package]:
        """Return the packages that a wish list comes to on an empty machine, in the order of installation.

        Raises:
            SourceError: the wishes cannot be met together.
        """
        argv = ("apt-get", "install", "-qq", "-y", "--print-uris", "-o", "Acquire::ForceHash=SHA256", *wishes)
        outcome = run(self._command(*argv))
        if not outcome:
            raise SourceError(f"apt cannot resolve {' '.join(wishes)}:\n{outcome.stderr.strip()}")
        digests = re.findall(r"SHA256:([0-9a-f]{64})", outcome.stdout)
        wanted = set(digests)
        found = {}
        for stanza in self._stanzas():
            digest = stanza.partition("\nSHA256: ")[2][:64]
            if digest in wanted:
                found[digest] = self._package(dict(_FIELD.findall(stanza)))
        return [found[digest] for digest in digests]

    def _package(self, fields: Mapping[str, str]) -> Package:
        depends = ", ".join(fields[name] for name in ("Pre-Depends", "Depends") if name in fields)
        try:
            return Package(
                name=fields["Package"],
                version=fields["Version"],
                arch=fields["Architecture"],
                depends=depends,
                url=fields["Url"],
                size=int(fields["Size"]),
                installed=int(fields.get("Installed-Size", 0)) * 1024,
                sha256=fields["SHA256"],
            )
        except (KeyError, ValueError) as error:
            raise SourceError(
                f"the package index says nothing usable about {fields.get('Package')}: {error}"
            ) from error

    def _stanzas(self) -> Iterator[str]:
        lists = self._folder / "state" / "lists"
        for archive in self._archives:
            base = re.sub(r"^https?://", "", archive.url.rstrip("/")).replace("/", "_")
            for suite in archive.suites:
                index = lists / f"{base}_dists_{suite}_main_binary-{self._arch.oci}_Packages"
                for stanza in index.read_text(encoding="utf-8").split("\n\n"):
                    if stanza.strip():
                        yield stanza.replace("\nFilename: ", f"\nUrl: {archive.url.rstrip('/')}/", 1)

    def _write_configuration(self) -> None:
        for folder in ("state/lists/partial", "cache/archives/partial"):
            (self._folder / folder).mkdir(parents=True, exist_ok=True)
        (self._folder / "status").touch()
        lines = [
            f"deb [signed-by={self._keyring}] {archive.url} {suite} main\n"
            for archive in self._archives
            for suite in archive.suites
        ]
        (self._folder / "sources.list").write_text("".join(lines))
        settings = {
            "Dir": self._folder,
            "Dir::State": "state",
            "Dir::State::status": self._folder / "status",
            "Dir::Cache": "cache",
            "Dir::Etc::sourcelist": self._folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::Etc::trusted": "/dev/null",
            "Dir::Etc::trustedparts": "/dev/null",
            "APT::Architecture": self._arch.oci,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        text = "".join(f'{name} "{value}";\n' for name, value in settings.items())
        (self._folder / "apt.conf").write_text(f'{text}APT::Architectures {{ "{self._arch.oci}"; }};\n')

    def _run(self, *argv: str) -> str | None:
        """Return None on success, else all output."""
        outcome = run(self._command(*argv))
        return None if outcome else f"{outcome.stdout}\n{outcome.stderr}".strip()

    def _command(self, *argv: str) -> Command:
        environment = {"APT_CONFIG": str(self._folder / "apt.conf")}
        if find_tool("apt-get") is not None:
            return Command(argv=argv, environment=environment)
        return Command(
            argv=(
                *_in_container(self._image, self._folder, self._keyring),
                "env",
                *_pairs(environment),
                *argv,
            )
        )


def _in_container(image: str, folder: Path, keyring: Path) -> tuple[str, ...]:
    """Return the words that run a command in a Debian image, with the apt folder at its own path."""
    script = (
        'container=$(buildah from --quiet "$1") || exit; trap "buildah rm \\"$container\\" >/dev/null" EXIT; '
        'folder=$2; keyring=$3; shift 3; buildah run --isolation chroot --volume "$folder:$folder" '
        '--volume "$keyring:$keyring:ro" "$container" -- "$@"'
    )
    return ("sh", "-c", script, "apt-in-container", image, str(folder), str(keyring))


def _pairs(environment: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in environment.items())
