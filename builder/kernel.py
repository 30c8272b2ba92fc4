"""A kernel version is the full ``uname -r`` string; everything else is read out of it.

Grammars (facts/seed-and-openshift.md section 2a, facts/matrix-data.md section 6; Debian from the names of its
linux-headers packages):

* RHEL: ``5.14.0-427.68.1.el9_4.x86_64``, ``…aarch64+64k``, ``…x86_64+rt``, older rt
  ``5.14.0-284.28.1.rt14.313.el9_2.x86_64``, RHEL 10 ``6.12.0-211.47.1.el10_2.x86_64``, CentOS
  ``6.12.0-219.el10.x86_64``, and ``4.18.0-193.24.1.el8_2.dt1.x86_64``.
* Debian: ``6.1.0-56-rt-amd64``, ``6.12.117+deb12-cloud-amd64``, ``6.12.117+deb12-arm64``. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, lru_cache

from builder.errors import UsageError


class Arch(StrEnum):
    """CPU architecture as kernels and RPM spell it."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"
    PPC64LE = "ppc64le"
    S390X = "s390x"

    @property
    def oci(self) -> str:
        """The spelling of OCI platforms, Cincinnati and Debian (GOARCH)."""
        return _OCI_ARCH[self]

    @classmethod
    def from_oci(cls, name: str) -> Arch:
        """Read the OCI (and Debian) spelling.

        Raises:
            KeyError: not an architecture that kmodsmith knows.
        """
        return _ARCH_OF_OCI[name]


_OCI_ARCH = {Arch.X86_64: "amd64", Arch.AARCH64: "arm64", Arch.PPC64LE: "ppc64le", Arch.S390X: "s390x"}
_ARCH_OF_OCI = {oci: arch for arch, oci in _OCI_ARCH.items()}


class Variant(StrEnum):
    """Kernel variant; ``cloud`` exists in Debian only."""

    STANDARD = "standard"
    RT = "rt"
    K64 = "64k"
    CLOUD = "cloud"


_RHEL = re.compile(
    r"(?P<xyz>\d+\.\d+\.\d+)-(?P<build>[0-9.]+?)(?:\.rt(?P<oldrt>\d+\.\d+))?"
    r"\.el(?P<major>\d+)(?:_(?P<minor>\d+))?(?:\.[a-z0-9.]+?)?"
    r"\.(?P<arch>x86_64|aarch64|ppc64le|s390x)(?:\+(?P<plus>rt|64k))?",
    re.ASCII,
)
_DEBIAN = re.compile(
    r"(?P<xyz>\d+\.\d+(?:\.\d+)?)(?:\+(?P<dist>[a-z0-9.+~]+))?(?:-(?P<abi>\d+))?"
    r"-(?:(?P<variant>rt|cloud)-)?(?P<arch>amd64|arm64)",
    re.ASCII,
)
_LONGEST = 64  # __NEW_UTS_LEN of Linux
_NOT_IN_TAG = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=False, order=False)
class KernelVersion:
    """A parsed kernel version; ``raw`` is the only key (design, rule 1)."""

    raw: str
    arch: Arch = field(compare=False)
    variant: Variant = field(compare=False)
    series: str = field(compare=False)
    """``6.1``, ``6.12``, or ``5.14.0`` with the RHEL minor: ``5.14.0-el9_4``."""

    def __str__(self) -> str:
        return self.raw

    @property
    def tag(self) -> str:
        """The form for image tags: KMM's own normalisation, every illegal character becomes ``_``."""
        return _NOT_IN_TAG.sub("_", self.raw)

    @property
    def noarch(self) -> str:
        """The version without its architecture: ``5.14.0-427.68.1.el9_4+rt``, ``6.1.0-56-cloud``."""
        return re.sub(rf"[.-]({self.arch}|{self.arch.oci})(?=\+|$)", "", self.raw)

    @cached_property
    def sort_key(self) -> tuple[object, ...]:
        """By architecture, then natural order: numbers as numbers, so 6.1.0-9 comes before 6.1.0-10."""
        parts = re.findall(r"\d+|[a-z]+", self.raw)
        natural = ((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)
        return (list(Arch).index(self.arch), *natural)


@lru_cache(maxsize=8192)
def parse_kernel_version(raw: str) -> KernelVersion:
    """Parse a ``uname -r`` string.

    Raises:
        UsageError: not shaped like a kernel version of RHEL or Debian (an rpm error sentence, an empty value).
    """
    if len(raw) <= _LONGEST and (match := _RHEL.fullmatch(raw)):
        minor = f"_{match['minor']}" if match["minor"] else ""
        variant = Variant(match["plus"]) if match["plus"] else Variant.RT if match["oldrt"] else Variant.STANDARD
        series = f"{match['xyz']}-el{match['major']}{minor}"
        return KernelVersion(raw, Arch(match["arch"]), variant, series)
    if len(raw) <= _LONGEST and (match := _DEBIAN.fullmatch(raw)):
        series = ".".join(match["xyz"].split(".")[:2])
        variant = Variant(match["variant"] or Variant.STANDARD)
        return KernelVersion(raw, Arch.from_oci(match["arch"]), variant, series)
    raise UsageError(
        f"{raw!r} is not a kernel version",
        hint="give the full 'uname -r' string, such as 5.14.0-427.68.1.el9_4.x86_64+rt or 6.1.0-56-amd64",
    )
