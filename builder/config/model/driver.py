"""``drivers``: what is built. Pure.

``Driver.source_dir`` and its like give the absolute places: values keep the spelling of the file, so that host paths
never get into a cell's key.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PrivateAttr, model_validator

from builder.config.model.boot import BootTest
from builder.config.model.declaration import Declaration, complain
from builder.config.model.file_names import DEFAULT_LICENSES, RelativeFile
from builder.config.model.image_names import PinnedImage, Repository
from builder.config.model.kmm import KmmModule
from builder.config.model.names import BuildArgName, DriverVersion, Glob, ModuleText, Name, PackageName, Text
from builder.config.parsed import ParsedKernel
from builder.module_words import ModuleWord

if TYPE_CHECKING:
    from typing import Self

    from builder.kernel import KernelVersion

# Build arguments that kmodsmith sets itself; see driver-container/README.md.
RESERVED_BUILD_ARGS = frozenset(
    {
        "BASE_IMAGE", "BUILD_COMMAND", "DESCRIPTION", "DRIVER_NAME", "DRIVER_VERSION", "DTK_AUTO", "FIRMWARE",
        "KERNEL_FULL_VERSION", "KERNEL_VERSION", "LICENSES", "MAINTAINER", "MODULES", "SOURCE", "SOURCE_SHA256",
        "SUMMARY", "VENDOR",
    }
)  # fmt: skip


class Reuse(Declaration):
    """Kernels that get modules compiled for another one; a cell fails unless symbol CRCs prove that they fit."""

    kernel: Glob
    """Glob over kernel versions that get the modules."""
    compiled_for: ParsedKernel
    """Kernel version (`uname -r`) that they are compiled for; same architecture and variant."""
    reason: Text
    """Why; for people."""


class ToolkitImage(Declaration):
    """A toolkit image of your own, which takes the place of the kernels' toolkits in compiles; see docs/toolkits.md."""

    kernel: Glob
    """Glob over the kernel versions whose modules are compiled in it."""
    image: PinnedImage
    """The image, by digest, built `FROM` the toolkit of exactly these kernels."""


class Driver(Declaration):
    """A vendor's source at one version."""

    name: Name
    """Name of the driver: part of image names and of Kubernetes labels, at most 39 characters, no dots."""
    version: DriverVersion
    """Version of the source as its vendor writes it (`1.4.0`, `0.43`, `20250329`), in quotes if it looks like a number.
    Versions are equal or different, never older or newer: which one is wanted is what stands here."""
    source: RelativeFile
    """Folder of the source, relative to versions.yaml and in the same folder as it; it becomes the build context.
    Elsewhere (`../mydriver`) only with `--allow-outside` on the command line."""
    modules: tuple[ModuleText, ...] = ()
    """Kernel modules that the build must produce, and no others: names, `probe-*` for one or more, `?test` for what
    some kernels do not get. May only be left out when `dkms` names them."""
    firmware: tuple[RelativeFile, ...] = ()
    """Firmware files of the source that go into the image below /firmware, without a leading `firmware/`."""
    containerfile: RelativeFile = "driver-container/Containerfile"
    """Containerfile, relative to versions.yaml; it must have the stage `modules`."""
    make: Text | None = None
    """Command that builds the modules in the source folder; default: `make modules`. It sees
    KERNEL_FULL_VERSION and KERNEL_SRC_DIR, and ARCH and CROSS_COMPILE in cross builds."""
    dkms: RelativeFile | None = None
    """A dkms.conf in the source folder to take command and modules from, instead of `make`."""
    build_args: dict[BuildArgName, str] = {}
    """Further arguments of the Containerfile."""
    licenses: Annotated[tuple[RelativeFile, ...], Field(min_length=1)] = DEFAULT_LICENSES
    """Licence files of the source that go to /licenses, which certification demands."""
    image: Repository | None = None
    """Image name with its registry and without tag: `quay.io/organisation/mydriver`. Default: localhost/ and the
    driver's name, which stays in this machine's store."""
    base_image: PinnedImage | None = None
    """Base of the final image, pinned by digest; default: the small one that the kernel source makes."""
    compress: Literal["none", "xz", "zst", "gz"] = "none"
    """Compression of the modules in the image, after signing; the nodes' kmod must know it (RHEL: xz)."""
    reuse: tuple[Reuse, ...] = ()
    """Kernels that get modules of another kernel instead of their own; off unless listed here."""
    build_packages: tuple[PackageName, ...] = ()
    """Debian packages that the build needs and toolkits lack: `[libxtables-dev]`. `discover` writes them into the lock,
    with what they depend on; they are there while modules are compiled and in no image. Not for OpenShift, see
    `toolkits`."""
    toolkits: tuple[ToolkitImage, ...] = ()
    """Toolkit images of your own for some kernels; the first that fits counts, and gets no `build_packages`."""
    boot: BootTest = BootTest()
    """How it is loaded and tested on its own kernels."""
    kmm: KmmModule = KmmModule()
    """How KMM loads it in clusters."""
    vendor: Text
    """Certification label `vendor`."""
    summary: Text
    """Certification label `summary`: one line."""
    description: Text
    """Certification label `description`."""
    maintainer: Text
    """Certification label `maintainer`."""

    _root: Path = PrivateAttr(default=Path())

    @property
    def source_dir(self) -> Path:
        return self._root / self.source

    @property
    def containerfile_file(self) -> Path:
        return self._root / self.containerfile

    @property
    def dkms_file(self) -> Path | None:
        return self.source_dir / self.dkms if self.dkms else None

    def own_toolkit(self, kernel: KernelVersion) -> str:
        """Return the image of the driver's own that a kernel's modules are compiled in; empty where there is none."""
        return next((item.image for item in self.toolkits if fnmatchcase(kernel.raw, item.kernel)), "")

    @property
    def command(self) -> str:
        return self.make or "make modules"

    @property
    def image_name(self) -> str:
        return self.image or f"localhost/{self.name}"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.dkms and self.make:
            raise complain("give either make or dkms, not both")
        if not self.dkms and not self.modules:
            raise complain("modules is required: name the modules that the build must produce")
        if len({ModuleWord(word).glob for word in self.modules}) != len(self.modules):
            raise complain("modules names a module twice")
        if len(set(self.build_packages)) < len(self.build_packages):
            raise complain("build_packages names a package twice")
        for key, names in (
            ("licenses", [name.rpartition("/")[2] for name in self.licenses]),
            ("firmware", [name.removeprefix("firmware/") for name in self.firmware]),
        ):
            if len(set(names)) < len(names):
                raise complain(f"{key} has two files that would have one name in /{key}")
        if reserved := RESERVED_BUILD_ARGS & self.build_args.keys():
            raise complain(f"build_args: kmodsmith sets {min(reserved)} itself")
        return self
