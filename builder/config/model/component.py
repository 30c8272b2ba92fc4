"""``components``: user-space images, such as a device plugin's. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PrivateAttr, model_validator

from builder.config.model.declaration import Declaration, complain, form
from builder.config.model.device_plugin import DevicePlugin
from builder.config.model.file_names import DEFAULT_LICENSES, RelativeFile
from builder.config.model.image_names import PinnedImage, Repository
from builder.config.model.names import BuildArgName, DriverVersion, Name, PackageName, Text
from builder.kernel import Arch

if TYPE_CHECKING:
    from typing import Self

# Build arguments of component images that kmodsmith sets itself; see docs/components.md.
RESERVED_COMPONENT_ARGS = frozenset({"BASE_IMAGE", "BUILD_IMAGE", "TARGETARCH"})
OWN_LABEL_PREFIX = "io.kmodsmith."


class Wheels(Declaration):
    """Python packages of a component image: wheels by hash, fetched before the build, which has no network."""

    lock: RelativeFile
    """File of requirements with hashes, relative to versions.yaml, as `uv pip compile --generate-hashes` writes it."""
    python: Annotated[str, form(r"^3\.\d{1,2}$", 'a version of Python such as "3.11", in quotes')]
    """Version of the Python in the image, which chooses among the wheels."""


class Component(Declaration):
    """A user-space image: one for each architecture, not for each kernel; see docs/components.md."""

    name: Name
    """Name of the component: label `name`, and the name of its images where `image` names none."""
    version: DriverVersion
    """Version of the image, the tag under which it is published."""
    source: RelativeFile
    """Folder of the source, relative to versions.yaml and in the same folder as it; it becomes the build context."""
    containerfile: RelativeFile
    """Containerfile, relative to versions.yaml. Its last stage is put together by copying alone; a stage named `build`
    may run commands, and leaves in /out what goes into the image."""
    target: Annotated[str, form(r"^[a-z][a-z0-9-]*$", "the name of a stage of the Containerfile")] | None = None
    """Stage of the Containerfile that is the image; default: the last one."""
    arches: Annotated[tuple[Annotated[Arch, Field(strict=False)], ...], Field(min_length=1)] = (Arch.X86_64,)
    """Architectures to build for."""
    image: Repository | None = None
    """Image name with its registry and without tag: `quay.io/organisation/device-plugin`. Default: localhost/ and the
    component's name, which stays in this machine's store."""
    base_image: PinnedImage | None = None
    """Base of the image, pinned by digest, for example a UBI; default: the small one of the Debian source, with
    `packages`."""
    packages: tuple[PackageName, ...] = ()
    """Debian packages of the default base, with what they depend on: `[python3.11]`. `discover` writes them into the
    lock."""
    wheels: Wheels | None = None
    """Python packages: they lie in the build context `wheels`, unpacked."""
    build_image: PinnedImage | None = None
    """Image in which the stage `build` runs, pinned by digest; default: the small one of the Debian source, with
    `build_packages`."""
    build_packages: tuple[PackageName, ...] = ()
    """Debian packages of the default image in which the stage `build` runs: `[gcc, libc6-dev, make, dash]`."""
    build_args: dict[BuildArgName, str] = {}
    """Further arguments of the Containerfile."""
    licenses: Annotated[tuple[RelativeFile, ...], Field(min_length=1)] = DEFAULT_LICENSES
    """Licence files, relative to versions.yaml; they lie in the build context `licenses`, for /licenses."""
    self_test: tuple[Text, ...] = ()
    """Command that is run in the finished image, as its own user and without network: exit code 0 proves the image."""
    on_request: bool = False
    """Built, published and planned only where `--component` names it: for what is large and changes seldom."""
    device_plugin: DevicePlugin | None = None
    """The image is a device plugin's: `emit device-plugin` writes what runs it."""
    labels: dict[Annotated[str, form(r"^[a-z0-9]([a-z0-9./-]*[a-z0-9])?$", "the name of a label")], Text] = {}
    """Further labels."""
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
    def wheels_file(self) -> Path | None:
        return self._root / self.wheels.lock if self.wheels else None

    @property
    def license_files(self) -> tuple[Path, ...]:
        return tuple(self._root / name for name in self.licenses)

    @property
    def image_name(self) -> str:
        return self.image or f"localhost/{self.name}"

    @model_validator(mode="after")
    def _check(self) -> Self:
        for kind, packages in (("base_image", self.packages), ("build_image", self.build_packages)):
            if getattr(self, kind) and packages:
                other = "packages" if kind == "base_image" else "build_packages"
                raise complain(f"give either {kind} or {other}, not both: {other} go into the default of {kind}")
        for key in ("packages", "build_packages", "arches"):
            if len(set(getattr(self, key))) < len(getattr(self, key)):
                raise complain(f"{key} names one twice")
        names = [name.rpartition("/")[2] for name in self.licenses]
        if len(set(names)) < len(names):
            raise complain("licenses has two files that would have one name in /licenses")
        if self.target == "build":
            raise complain("target: the stage 'build' is what the image is compiled in, not the image itself")
        if reserved := RESERVED_COMPONENT_ARGS & self.build_args.keys():
            raise complain(f"build_args: kmodsmith sets {min(reserved)} itself")
        own = {"name", "version", "release", "vendor", "summary", "description", "maintainer"}
        if taken := sorted(name for name in self.labels if name in own or name.startswith(OWN_LABEL_PREFIX)):
            raise complain(f"labels: kmodsmith sets {taken[0]} itself")
        return self
