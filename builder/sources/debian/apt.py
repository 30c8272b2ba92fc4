"""A private apt: Debian's own resolver and signature check, run on a package world of its own.

apt reads nothing of the host's configuration, sees no installed package and changes nothing outside its folder. It
verifies the archive's signatures, lists what there is, and says which exact packages a wish list comes to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from debian.debian_support import Version

from builder.errors import HostError, SourceError, SourceUnreachableError
from builder.host.run import Command, find_tool, run
from builder.host.surroundings import find_surroundings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from builder.kernel import Arch

# A stanza of apt's package index: 'Key: value' lines, continued by lines that begin with a space (deb822(5)).
_FIELD = re.compile(r"^([A-Za-z0-9-]+):[ \t]*(.*)$", re.MULTILINE)
_UNREACHABLE = re.compile(
    r"Could not (resolve|connect|handshake)|Unable to connect|Connection (failed|timed out|refused)|Temporary failure"
    r"|Network is unreachable|[^0-9]50[0-9] |[^0-9]429 "
    r"|Hash Sum mismatch|File has unexpected size|Mirror sync in progress"  # it is being updated
)
# Debian Policy, 5.6.1 and 5.6.12, and what the lock may hold; Url is the archive's address and Filename.
_LONGEST_DEPENDS = 8192
_FORMS = {
    "Package": re.compile(r"[a-z0-9][a-z0-9+.-]{1,127}"),
    "Version": re.compile(r"[0-9A-Za-z.+:~-]{1,128}"),
    "Architecture": re.compile(r"[a-z0-9-]{1,32}"),
    "Url": re.compile(r"https?://(?!\S*/\.\.?/)[^\s?#]+\.deb"),
    "Size": re.compile(r"[0-9]{1,12}"),
    "Installed-Size": re.compile(r"[0-9]{1,12}"),
    "SHA256": re.compile(r"[0-9a-f]{64}"),
}
_OF_THIS_MACHINE = frozenset({"disk-full", "out-of-memory", "storage-error"})
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
    """apt for one architecture in ``folder``; call ``update`` before anything else.

    Have the folder alone until the last answer is read: another run that updates it writes over its configuration and
    its lists, and what is read of them then is of the other run's archives, or of the host's own configuration.
    """

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
        self.unusable: dict[str, str] = {}
        """Packages of the index that cannot be used, by name, and why."""

    def update(self) -> None:
        """Fetch and verify the package lists.

        Raises:
            SourceUnreachableError: an archive did not answer.
            HostError: there is no room for the lists.
            SourceError: a signature is wrong or the keyring is missing.
        """
        self._write_configuration()
        outcome = self._run("apt-get", "update", "-o", "APT::Update::Error-Mode=any")
        if outcome is None:
            return
        found = find_surroundings(outcome)
        if found and found.code in _OF_THIS_MACHINE:
            raise HostError(f"apt could not be run, or not write its lists: {found.detail}", hint=found.hint)
        if (found and found.code == "registry-unreachable") or _UNREACHABLE.search(outcome):
            raise SourceUnreachableError(f"the Debian archive did not answer:\n{outcome}", hint="try again later")
        raise SourceError(
            f"apt refused the Debian archive:\n{outcome}",
            hint=f"the archive's keys are expected in {self._keyring} (package debian-archive-keyring)",
        )

    def packages(self, names: re.Pattern[str]) -> list[Package]:
        """Return every version of the packages whose whole name matches; those that say nothing usable go elsewhere.

        Raises:
            SourceError: there is no index.
        """
        found = []
        for stanza in self._stanzas():
            name = stanza.split("\n", 1)[0].removeprefix("Package: ")
            if names.fullmatch(name):
                try:
                    found.append(_read_package(stanza))
                except SourceError as error:
                    self.unusable[name] = error.message
        return found

    def resolve(self, wishes: Iterable[str]) -> list[Package]:
        """Return the packages that a wish list comes to on an empty machine, in the order of installation.

        Raises:
            SourceError: the wishes cannot be met together.
        """
        argv = ("apt-get", "install", "-qq", "-y", "--print-uris", "-o", "Acquire::ForceHash=SHA256", *wishes)
        outcome = run(self._command(*argv))
        if not outcome:
            raise SourceError(f"apt cannot resolve {' '.join(wishes)}:\n{outcome.stderr.strip() or outcome.explain()}")
        digests = re.findall(r"SHA256:([0-9a-f]{64})", outcome.stdout)
        wanted = set(digests)
        found = {}
        for stanza in self._stanzas():
            digest = stanza.partition("\nSHA256: ")[2][:64]
            if digest in wanted:
                found[digest] = _read_package(stanza)
        if missing := wanted - found.keys():
            raise SourceError(
                f"apt cannot resolve {' '.join(wishes)}:\nit names {min(missing)}, which is in none of its own indexes"
            )
        return [found[digest] for digest in digests]

    def _stanzas(self) -> Iterator[str]:
        for archive, index in self._indexes():
            try:
                text = Path(index).read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                raise SourceError(f"the package index {index} cannot be read: {error}") from None
            for stanza in text.split("\n\n"):
                if stanza.strip():
                    yield stanza.lstrip("\n").replace("\nFilename: ", f"\nUrl: {archive.rstrip('/')}/", 1)

    def _indexes(self) -> list[tuple[str, str]]:
        """Return the archive and the file of each index; only apt knows how it names files (``_`` becomes ``%5f``)."""
        listing = ("apt-get", "indextargets", "--format", "$(REPO_URI) $(FILENAME)", "Created-By: Packages")
        lines = run(self._command(*listing)).check().stdout.splitlines()
        found = [(archive, file) for archive, _, file in (line.partition(" ") for line in lines) if file]
        if not found:
            raise SourceError("the Debian archive serves no package index for this architecture")
        return found

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
        return None if outcome else f"{outcome.stdout}\n{outcome.stderr}".strip() or outcome.explain()

    def _command(self, *argv: str) -> Command:
        environment = {"APT_CONFIG": str(self._folder / "apt.conf")}
        if find_tool("apt-get") is not None:
            return Command(argv=argv, environment=environment)
        if find_tool("buildah") is None:
            hint = "'nox -s doctor -- --install' installs buildah, with which apt runs in a Debian image"
            raise HostError("neither apt-get nor buildah is installed, so nobody can ask a Debian archive", hint=hint)
        return Command(
            argv=(
                *_in_container(self._image, self._folder, self._keyring),
                "env",
                *_pairs(environment),
                *argv,
            )
        )


def _read_package(stanza: str) -> Package:
    """Read a stanza of an index; what it says gets into addresses, file names and the lock, so its form is checked.

    Raises:
        SourceError: something is missing, or has another form than it must have.
    """
    fields = {"Installed-Size": "0", **dict(_FIELD.findall(stanza))}
    try:
        texts = {name: fields[name] for name in _FORMS}
        if wrong := [name for name, form in _FORMS.items() if not form.fullmatch(texts[name])]:
            raise ValueError(f"{wrong[0]} is {texts[wrong[0]][:80]!r}")  # noqa: TRY301 - one place words it
        Version(texts["Version"])
        depends = ", ".join(fields[name] for name in ("Pre-Depends", "Depends") if name in fields)
        if len(depends) > _LONGEST_DEPENDS:
            raise ValueError(f"Depends has {len(depends)} characters")  # noqa: TRY301 - as above
        return Package(
            name=texts["Package"],
            version=texts["Version"],
            arch=texts["Architecture"],
            depends=depends,
            url=texts["Url"],
            size=int(texts["Size"]),
            installed=int(texts["Installed-Size"]) * 1024,
            sha256=texts["SHA256"],
        )
    except (KeyError, ValueError) as error:
        name = fields.get("Package", "a package without a name")[:80]
        raise SourceError(f"the package index says nothing usable about {name!a}: {error}") from None


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
