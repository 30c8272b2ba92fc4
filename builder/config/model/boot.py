"""``boot`` of a driver: how it is tested on its kernels. Pure."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from builder.config.model.declaration import Declaration, complain
from builder.config.model.file_names import RelativeFile
from builder.config.model.names import ModuleName, Text
from builder.config.regexp import compile_regexp
from builder.errors import FormatError

if TYPE_CHECKING:
    from typing import Self

# Devices of QEMU that stand for no vendor's hardware; what is known of each is in boot/devices.py.
BOOT_DEVICES = ("edu", "pci-testdev")


def _check_boot_device(value: object) -> object:
    if value in BOOT_DEVICES:
        return value
    shown = repr(value)[:60]
    raise complain(f"{shown} is no device that guests of boot tests can have: {', '.join(BOOT_DEVICES)} are")


# Two reports without a letter or digit in common: what is found in both is what every report has.
_REPORTS = ("abc: abc: abc", "xyz: xyz: xyz")


def _check_pattern(text: str) -> str:
    try:
        pattern = compile_regexp(text)
        is_everything = bool(pattern.search("")) or all(map(pattern.search, _REPORTS))
    except FormatError as error:
        raise complain(f"{text!r} is not a regular expression: {error.message}") from None
    if is_everything:
        raise complain(f"{text!r} matches everything, so that every fault would be excused")
    return text


class ParameterSet(Declaration):
    """Module parameters to try in a boot test."""

    name: Text
    """What the set is, for people."""
    modules: Annotated[dict[ModuleName, Text], Field(min_length=1)]
    """Parameters by module, as `insmod` takes them: `max_dev=64 default_msg="two words"`."""
    refused: bool = False
    """The module must refuse to be loaded with them; then exactly one module is named."""
    default: bool = False
    """Take them wherever nothing else is tried, for modules that cannot be loaded without parameters: they are then
    never loaded without."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.refused and self.default:
            raise complain("default and refused exclude each other: what is taken everywhere must be accepted")
        if self.refused and len(self.modules) != 1:
            raise complain("refused is about one module: name exactly one in modules")
        return self


class AllowedMessage(Declaration):
    """Something that a boot test finds and that is excused for now."""

    pattern: Annotated[str, AfterValidator(_check_pattern)]
    """Regular expression (RE2); searched in what the boot test reports: `code: step: message (place)`."""
    reason: Text
    """Why it is no fault, or who repairs it."""
    expires: Annotated[date, Field(strict=False)]
    """Last day on which the entry is valid (YYYY-MM-DD); after it, the file is an error until somebody decides."""


class ExpectedLoad(Declaration):
    """What a module answers where its hardware is missing, as in every guest."""

    expect: Literal["ENODEV", "ENXIO", "EIO", "ENOSYS", "EOPNOTSUPP", "ETIMEDOUT"]
    """Error that its init must return; any other, or loading after all, is a failure."""
    because: Text
    """Which hardware it is that no guest has; stands in results."""


class BootTimeouts(Declaration):
    """Seconds that a guest may take. Software emulation is about ten times slower than hardware."""

    boot: Annotated[int, Field(ge=5, le=86_400)] = 90
    """Until the guest's first process runs."""
    load: Annotated[int, Field(ge=1, le=86_400)] = 20
    """For each module."""
    smoke_test: Annotated[int, Field(ge=1, le=86_400)] = 60
    """For each run of the smoke test."""
    unload: Annotated[int, Field(ge=1, le=86_400)] = 20
    """For each module, and at least 30 for each device that is taken away."""


class BootTest(Declaration):
    """How a driver is tested on its kernels; see docs/boot.md."""

    mode: Literal["auto", "secure", "plain"] = "auto"
    """secure: UEFI Secure Boot, kernel locked down, the signers' certificates enrolled. plain: none of it. auto: secure
    where the kernel is signed and has lockdown."""
    smoke_test: RelativeFile | None = None
    """Program or script of the source that exercises the loaded modules; exit code 0 means that all is well. The guest
    has busybox and what `files` brings, nothing else."""
    files: tuple[RelativeFile, ...] = ()
    """Further files of the source for the smoke test; they lie in its working folder under their own names."""
    load: dict[ModuleName, ExpectedLoad] = {}
    """Modules whose hardware no guest has, by name. Their refusal is tested, with the kernel's of copies that are not
    signed; they and what needs them are not exercised, and results say so. Sets of `parameters` that name such a module
    must make it load."""
    opt_out: Text | None = None
    """Why no boot test of this driver makes sense, such as hardware that must answer in every module: none is made, and
    plans say so. What `publish.require_boot` wants is not fulfilled by it."""
    parameters: tuple[ParameterSet, ...] = ()
    """Sets of module parameters to try after the defaults, or in their place (`default`)."""
    devices: tuple[Annotated[Literal["edu", "pci-testdev"], BeforeValidator(_check_boot_device)], ...] = ()
    """Devices of QEMU that guests get, so that a driver's probe runs: `edu` (PCI 1234:11e8), `pci-testdev` (1b36:0005).
    A module that names one in its table must bind to it."""
    hot_plug: bool = True
    """Take each device that a module names away and put it back after the smoke test, which is run again then."""
    repeat: Annotated[int, Field(ge=1, le=10_000)] = 1
    """How often everything is loaded and unloaded with the defaults; from 12 on, growing memory is a failure."""
    in_tree: tuple[ModuleName, ...] = ()
    """Modules of the kernel itself to load before, by name or alias; those that modprobe would load (dependencies and
    soft dependencies) are loaded anyway."""
    memory: Annotated[int, Field(ge=128, le=65_536)] = 512
    """MiB of the guest."""
    cpus: Annotated[int, Field(ge=1, le=64)] = 1
    """Processors of the guest; more than one finds more races and takes longer."""
    timeouts: BootTimeouts = BootTimeouts()
    """Time-outs of the steps."""
    allow: tuple[AllowedMessage, ...] = ()
    """What is excused for now."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [name.rpartition("/")[2] for name in self.files]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise complain(f"files has two that would both be {twice[0]} beside the smoke test")
        if twice := sorted({name for name in self.devices if self.devices.count(name) > 1}):
            raise complain(f"devices has {twice[0]} twice, and a guest gets one of each")
        if [item.default for item in self.parameters].count(True) > 1:
            raise complain("parameters has two sets that are the default")
        for item in self.parameters:
            if item.refused and item.modules.keys() & self.load.keys():
                sentence = "it is refused anyway for want of hardware (load), which cannot be told apart"
                raise complain(f"parameters {item.name!r} is to be refused by {min(item.modules)}: {sentence}")
        return self

    def inputs(self) -> dict[str, Any]:
        """Return what a pass depends on: without the mode, and without keys of later versions that say nothing."""
        settings = self.model_dump(mode="json") | {"mode": ""}
        # A driver without devices is tested as it was before there were any.
        return settings if self.devices else {k: v for k, v in settings.items() if k not in {"devices", "hot_plug"}}
