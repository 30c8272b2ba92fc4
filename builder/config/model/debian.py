"""``sources`` of provider debian. Pure."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from builder.config.model.declaration import Declaration, complain, form
from builder.config.model.source import NamedFile, SourceSettings
from builder.kernel import Arch

# Where Debian's packages and administrators put the keys of archives.
KEYRING_FOLDERS = ("/usr/share/keyrings", "/etc/apt/keyrings")


def _check_archive(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_address = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_address = False
    if not is_address:
        raise complain("is not an address such as http://deb.debian.org/debian")
    if parts.username is not None or parts.password is not None:
        raise complain("a password does not belong into a file, and this one would get into the lock: take it out")
    if parts.query or parts.fragment:
        raise complain("must not have a query or fragment (? or #): files are looked for below it")
    return text


def _check_debian_arch(arch: Arch) -> Arch:
    if arch not in {Arch.X86_64, Arch.AARCH64}:
        raise complain(f"Debian's toolkits are made for machines that are x86_64 or aarch64, not {arch}")
    return arch


KeyringFile = Annotated[str, form(r"^/[A-Za-z0-9._/+-]+$", "an absolute path without blanks", max_length=255)]
DebianArch = Annotated[Arch, Field(strict=False), AfterValidator(_check_debian_arch)]
Flavour = Annotated[
    str,
    form(r"^((rt|cloud)-)?(amd64|arm64)$", "a flavour as Debian spells it, such as amd64, cloud-arm64 or rt-amd64"),
]


class DebianArchive(Declaration):
    """An archive and the suites of it that are read."""

    url: Annotated[
        str, form(r"^https?://\S+$", "an address such as http://deb.debian.org/debian"), AfterValidator(_check_archive)
    ]
    """Address of the archive or of a mirror."""
    suites: Annotated[
        tuple[Annotated[str, form(r"^[a-z0-9-]+(/[a-z0-9-]+)*$", "a suite such as bookworm-updates")], ...],
        Field(min_length=1),
    ]
    """Suites, for example bookworm and bookworm-updates."""


class DebianKernels(SourceSettings):
    """Kernels of the Debian archive, with toolkits made from its header packages."""

    provider: Literal["debian"]
    """Kind of the source."""
    archives: Annotated[tuple[DebianArchive, ...], Field(min_length=1)] = (
        DebianArchive(url="http://deb.debian.org/debian", suites=("bookworm", "bookworm-updates")),
        DebianArchive(url="http://deb.debian.org/debian-security", suites=("bookworm-security",)),
    )
    """Archives of one release of Debian."""
    flavours: Annotated[tuple[Flavour, ...], Field(min_length=1)] = (
        "amd64", "cloud-amd64", "rt-amd64", "arm64", "cloud-arm64", "rt-arm64",
    )  # fmt: skip
    """Kernel flavours as Debian spells them."""
    build_arches: Annotated[tuple[DebianArch, ...], Field(min_length=1)] = (Arch.X86_64,)
    """Architectures of machines that compile; other kernels are cross-compiled on them."""
    keyring: KeyringFile = "/usr/share/keyrings/debian-archive-keyring.gpg"
    """Keys that the archive's signature is checked with: below /usr/share/keyrings or /etc/apt/keyrings."""

    gives_base_images: ClassVar[bool] = True

    @property
    def machines(self) -> tuple[Arch, ...]:
        return self.build_arches

    @property
    def named_files(self) -> tuple[NamedFile, ...]:
        return (NamedFile(key="keyring", text=self.keyring, folders=KEYRING_FOLDERS),)
