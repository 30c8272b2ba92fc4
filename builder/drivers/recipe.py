"""How a driver is compiled: its entry in versions.yaml, or its dkms.conf, turned into build arguments."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from builder.digest import content_id
from builder.drivers.dkms import DkmsRecipe, read_dkms_conf, run_where_unreadable
from builder.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from builder.config.model import Driver
    from builder.kernel import KernelVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the Containerfile needs to know besides kernel, toolkit and base image; free of host paths."""

    name: str
    version: str
    command: str
    modules: tuple[str, ...]
    firmware: tuple[str, ...]
    licenses: tuple[str, ...]
    vendor: str
    summary: str
    description: str
    maintainer: str
    extra: Mapping[str, str] = field(default_factory=dict)
    dkms: DkmsRecipe | None = None

    @property
    def digest(self) -> str:
        return content_id({name: value for name, value in asdict(self).items() if name != "dkms"})

    @property
    def module_names(self) -> tuple[str, ...] | None:
        """Names of the modules that an image must hold; None where the driver does not say."""
        return tuple(name.rpartition(":")[2] for name in self.modules) or None

    def excludes(self, kernel: KernelVersion) -> str | None:
        """Say why the driver itself declares that it cannot be built for a kernel; None if it does not."""
        return self.dkms.excludes(kernel) if self.dkms else None

    @property
    def may_exclude(self) -> bool:
        """Whether a compile may end by saying that the driver does not want the kernel: only where that is asked."""
        return self.dkms is not None and self.dkms.is_asked

    @property
    def open_question(self) -> str:
        """What is told only by the driver's dkms.conf when it is run for a kernel; empty where nothing is."""
        return "; ".join(self.dkms.exclusions) if self.dkms else ""

    def build_arguments(self, kernel: KernelVersion, *, toolkit_image: str, base_image: str) -> dict[str, str]:
        """Return the arguments of driver-container/Containerfile; what KMM also sets is spelled as it does."""
        arguments = {
            "DTK_AUTO": toolkit_image,
            "BASE_IMAGE": base_image,
            "KERNEL_VERSION": kernel.raw,
            "KERNEL_FULL_VERSION": kernel.raw,
            "BUILD_COMMAND": self.command,
            "MODULES": " ".join(self.modules),
            "FIRMWARE": " ".join(self.firmware),
            "LICENSES": " ".join(self.licenses),
            "DRIVER_NAME": self.name,
            "DRIVER_VERSION": self.version,
            "VENDOR": self.vendor,
            "SUMMARY": self.summary,
            "DESCRIPTION": self.description,
            "MAINTAINER": self.maintainer,
        }
        return arguments | dict(self.extra)


def make_recipe(driver: Driver) -> Recipe:
    """Read a driver's recipe.

    Raises:
        ConfigError: the driver's dkms.conf does something that cannot be read without executing it.
    """
    dkms = _read_dkms(driver.dkms_file) if driver.dkms_file else None
    return Recipe(
        name=driver.name,
        version=driver.version,
        command=dkms.command if dkms else driver.command,
        modules=driver.modules or (_dkms_modules(dkms) if dkms else ()),
        firmware=driver.firmware,
        licenses=driver.licenses,
        vendor=driver.vendor,
        summary=driver.summary,
        description=driver.description,
        maintainer=driver.maintainer,
        extra=driver.build_args,
        dkms=dkms,
    )


def _read_dkms(file: Path) -> DkmsRecipe:
    try:
        return read_dkms_conf(file)
    except ConfigError as error:
        return run_where_unreadable(file, error)


def _dkms_modules(dkms: DkmsRecipe) -> tuple[str, ...]:
    return tuple(f"{module.built_file}:{module.name}" for module in dkms.modules)
