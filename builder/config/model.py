"""``versions.yaml``: what a vendor wants built. This module is its only declaration.

The JSON schema and the reference page are generated from these classes (``emit/reference.py``). Values keep the
spelling of the file; ``Driver.source_dir`` and its like give the absolute places, so that host paths never get into
a cell's key. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date  # noqa: TC003 - pydantic reads annotations
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    model_validator,
)
from pydantic_core import PydanticCustomError

from builder.config.parsed import ParsedKernel  # noqa: TC001 - pydantic reads annotations
from builder.config.pkcs11_uri import parse_pkcs11_uri
from builder.config.problem_codes import ProblemCode  # noqa: TC001 - as above
from builder.config.regexp import compile_regexp
from builder.config.release_kinds import ReleaseKind
from builder.config.tag_rules import check_tag_rule, is_own_tag
from builder.errors import FormatError, SignerError, UsageError
from builder.host.bounds import Limits
from builder.kernel import Arch, Variant
from builder.module_words import ModuleWord
from builder.pullspec import find_host_problem, find_repository_problem, parse_pullspec

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


# Devices of QEMU that stand for no vendor's hardware; what is known of each is in boot/devices.py.
BOOT_DEVICES = ("edu", "pci-testdev")


_LABEL_VALUE = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_DRIVER_VERSION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.+~-]{0,61}[A-Za-z0-9])?")
_LONGEST_NAME, _LONGEST_PATH = 255, 1024  # NAME_MAX of Linux; of PATH_MAX, a part is the project's own
# Where Debian's packages and administrators put the keys of archives.
KEYRING_FOLDERS = ("/usr/share/keyrings", "/etc/apt/keyrings")


def _complain(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("kmodsmith", "{sentence}", {"sentence": sentence})


def _check_driver_version(text: str) -> str:
    if not _DRIVER_VERSION.fullmatch(text):
        raise _complain(
            f"{text!r} cannot stand in tags, labels and file names: up to 63 letters, digits, '.', '_', '+', '~' and "
            "'-', a letter or digit first and last"
        )
    return text


def is_label_value(text: str) -> bool:
    """Tell whether Kubernetes takes a text as the value of a label that is not empty."""
    return bool(re.fullmatch(_LABEL_VALUE, text))


def _check_no_space(text: str) -> str:
    if re.search(r"\s|[;&|$`<>\"'\\]", text) or not text.isprintable():
        raise _complain(f"{text!r} holds a space or a character that shells treat specially")
    return text


def _check_path(text: str) -> str:
    parts = [part.encode(errors="surrogatepass") for part in text.split("/")]
    if "\0" in text or max(map(len, parts)) > _LONGEST_NAME or len(text.encode(errors="surrogatepass")) > _LONGEST_PATH:
        raise _complain(f"{text[:60]!r}... is no name that a file can have: it is too long, or holds a NUL")
    return text


def _check_jobs(value: object) -> object:
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    raise _complain(f"must be auto or a number of at least 1, not {value!r}")


def _check_image(text: str) -> str:
    try:
        parse_pullspec(text)
    except FormatError as error:
        raise _complain(error.message) from None
    if problem := find_host_problem(text):
        raise _complain(f"{text!r} is not a full image name such as quay.io/org/name@sha256:...: {problem}")
    return text


def _check_pinned_image(text: str) -> str:
    if not parse_pullspec(_check_image(text)).is_pinned:
        raise _complain(f"{text!r} must name the image by digest: {text.partition('@')[0]}@sha256:...")
    return text


def _check_repository(text: str) -> str:
    if problem := find_repository_problem(text):
        raise _complain(problem)
    if f"{text}/".startswith("localhost/kmodsmith/"):
        raise _complain(f"{text!r}: names below localhost/kmodsmith/ are kmodsmith's own, and prune removes them")
    return text


def _check_image_prefix(text: str) -> str:
    host = text.partition("/")[0]
    if problem := find_host_problem(f"{host}/"):
        raise _complain(f"{text!r} must begin with a registry's host, such as quay.io: {problem}")
    _check_image(f"{text}:tag" if "/" in text else f"{text}/name:tag")
    if host != host.lower():
        raise _complain(f"{text!r} would never be found: write {host.lower()}{text.removeprefix(host)}")
    return text


def _check_archive(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_address = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_address = False
    if not is_address:
        raise _complain("is not an address such as http://deb.debian.org/debian")
    if parts.username is not None or parts.password is not None:
        raise _complain("a password does not belong into a file, and this one would get into the lock: take it out")
    if parts.query or parts.fragment:
        raise _complain("must not have a query or fragment (? or #): files are looked for below it")
    return text


def _check_debian_arch(arch: Arch) -> Arch:
    if arch not in {Arch.X86_64, Arch.AARCH64}:
        raise _complain(f"Debian's toolkits are made for machines that are x86_64 or aarch64, not {arch}")
    return arch


def _check_graph(text: str) -> str:
    names = set(re.findall(r"\{([^{}]*)\}", text))
    if "://" in text and not re.match(r"https?://", text):
        raise _complain(f"{text!r} is neither an address that begins with http:// or https:// nor a file")
    if "://" in text and names:
        raise _complain(f"{text!r}: an address is asked with channel and arch as parameters, and has no fields")
    if unknown := sorted(names - {"channel", "arch"}):
        raise _complain(f"{text!r} has the unknown field {{{unknown[0]}}}; known: {{channel}}, {{arch}}")
    return text


def _check_git_address(text: str) -> str:
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname)
    except ValueError:
        has_host = False
    if not has_host:
        raise _complain(f"{text!r} is not an address such as https://git.example.com/organisation/drivers.git")
    if parts.password is not None:
        raise _complain("a password does not belong into a file that goes into clusters: take it out")
    return text


def _check_pkcs11(text: str) -> str:
    if "pin-value" not in text:  # which has a sentence of its own
        try:
            parse_pkcs11_uri(text)
        except SignerError as error:
            raise _complain(error.message) from None
    return text


def _check_label_key(text: str) -> str:
    prefix, separator, name = text.rpartition("/")
    is_name = re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", name)
    is_prefix = re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", prefix)
    if not is_name or (separator and not is_prefix):
        raise _complain(f"{text!r} cannot be the key of a label of Kubernetes: prefix.example/name, or a name")
    return text


def _check_tag_rule(text: str) -> str:
    try:
        check_tag_rule(text)
    except UsageError as error:
        raise _complain(error.message) from None
    return text


def _check_glob(text: str) -> str:
    if not text.strip("*?"):
        raise _complain(f"{text!r} fits everything, so that nothing new of this kind would ever be noticed")
    return text


def _check_pattern(text: str) -> str:
    try:
        is_everything = compile_regexp(text).search("") is not None
    except FormatError as error:
        raise _complain(f"{text!r} is not a regular expression: {error.message}") from None
    if is_everything:
        raise _complain(f"{text!r} matches everything, so that every fault would be excused")
    return text


FORMS: dict[str, str] = {}
"""What each pattern of the models asks for, in words: those who write the file need not read regular expressions."""


def _check_boot_device(value: object) -> object:
    if value in BOOT_DEVICES:
        return value
    shown = repr(value)[:60]
    raise _complain(f"{shown} is no device that guests of boot tests can have: {', '.join(BOOT_DEVICES)} are")


def _form(pattern: str, words: str, **more: Any) -> Any:
    """Return a field that must fit a pattern, and keep what that is in words."""
    FORMS[pattern] = words
    return Field(pattern=pattern, **more)


Name = Annotated[
    str,
    _form(
        r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        "small letters, digits and '-', a letter or digit first and last",
        max_length=39,
    ),
]
DriverVersion = Annotated[str, AfterValidator(_check_driver_version)]
ModuleName = Annotated[
    str, _form(r"^[A-Za-z0-9_-]+$", "the name of a module, without folder and .ko", description="without .ko")
]
ModuleText = Annotated[
    str,
    _form(
        r"^\??[A-Za-z0-9_*-]+$",
        "the name of a module, without folder and .ko; `probe-*` for one or more, `?name` for one that may be missing",
        description="without .ko",
    ),
]
FileName = Annotated[str, Field(min_length=1), AfterValidator(_check_path)]
KeyringFile = Annotated[str, _form(r"^/[A-Za-z0-9._/+-]+$", "an absolute path without blanks", max_length=255)]
RelativeFile = Annotated[FileName, AfterValidator(_check_no_space)]
Glob = Annotated[str, Field(min_length=1)]
Text = Annotated[str, Field(min_length=1)]
PackageName = Annotated[
    str,
    _form(
        r"^[a-z0-9][a-z0-9+.-]{1,127}$",
        "the name of a Debian package, such as libxtables-dev; its version is what the archive has",
    ),
]
Channel = Annotated[str, _form(r"^[0-9a-z.-]+$", "the name of a channel, such as fast-4.18", max_length=64)]
Minor = Annotated[str, _form(r"^\d{1,4}\.\d{1,4}$", 'a minor such as "4.18", in quotes')]
ImagePrefix = Annotated[
    str,
    _form(
        r"^[a-zA-Z0-9.-]+(:\d+)?(/[a-z0-9._/-]*[a-z0-9])?$",
        "a registry, or a registry and the beginning of a repository, such as quay.io/organisation",
    ),
    AfterValidator(_check_image_prefix),
]
RegistryHost = Annotated[
    str, _form(r"^[a-z0-9.-]+(:\d+)?$", "a host, with its port if need be, such as registry.site:5000; no https://")
]
Pullspec = Annotated[str, AfterValidator(_check_image)]
LabelKey = Annotated[str, Field(min_length=1), AfterValidator(_check_label_key)]
LabelValue = Annotated[
    str,
    _form(
        rf"^({_LABEL_VALUE})?$",
        "a label's value: up to 63 letters, digits, '.', '_' and '-', a letter or digit first and last",
    ),
]
TagRule = Annotated[str, AfterValidator(_check_tag_rule)]
Repository = Annotated[str, AfterValidator(_check_repository)]
PinnedImage = Annotated[
    str,
    _form(
        r"^\S+@sha256:[0-9a-f]{64}$",
        "an image by its digest, quay.io/organisation/base@sha256:...; 'skopeo inspect' tells it",
    ),
    AfterValidator(_check_pinned_image),
]
DebianArch = Annotated[Arch, Field(strict=False), AfterValidator(_check_debian_arch)]
Flavour = Annotated[
    str,
    _form(r"^((rt|cloud)-)?(amd64|arm64)$", "a flavour as Debian spells it, such as amd64, cloud-arm64 or rt-amd64"),
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Reuse(_Model):
    """Kernels that get modules compiled for another one; a cell fails unless symbol CRCs prove that they fit."""

    kernel: Glob
    """Glob over kernel versions that get the modules."""
    compiled_for: ParsedKernel
    """Kernel version (`uname -r`) that they are compiled for; same architecture and variant."""
    reason: Text
    """Why; for people."""


class ToolkitImage(_Model):
    """A toolkit image of your own, which takes the place of the kernels' toolkits in compiles; see docs/toolkits.md."""

    kernel: Glob
    """Glob over the kernel versions whose modules are compiled in it."""
    image: PinnedImage
    """The image, by digest, built `FROM` the toolkit of exactly these kernels."""


class ParameterSet(_Model):
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
            raise _complain("default and refused exclude each other: what is taken everywhere must be accepted")
        if self.refused and len(self.modules) != 1:
            raise _complain("refused is about one module: name exactly one in modules")
        return self


class AllowedMessage(_Model):
    """Something that a boot test finds and that is excused for now."""

    pattern: Annotated[str, AfterValidator(_check_pattern)]
    """Regular expression (RE2); searched in what the boot test reports: `code: step: message (place)`."""
    reason: Text
    """Why it is no fault, or who repairs it."""
    expires: Annotated[date, Field(strict=False)]
    """Last day on which the entry is valid (YYYY-MM-DD); after it, the file is an error until somebody decides."""


class ExpectedLoad(_Model):
    """What a module answers where its hardware is missing, as in every guest."""

    expect: Literal["ENODEV", "ENXIO", "EIO", "ENOSYS", "EOPNOTSUPP", "ETIMEDOUT"]
    """Error that its init must return; any other, or loading after all, is a failure."""
    because: Text
    """Which hardware it is that no guest has; stands in results."""


class BootTimeouts(_Model):
    """Seconds that a guest may take. Software emulation is about ten times slower than hardware."""

    boot: Annotated[int, Field(ge=5, le=86_400)] = 90
    """Until the guest's first process runs."""
    load: Annotated[int, Field(ge=1, le=86_400)] = 20
    """For each module."""
    smoke_test: Annotated[int, Field(ge=1, le=86_400)] = 60
    """For each run of the smoke test."""
    unload: Annotated[int, Field(ge=1, le=86_400)] = 20
    """For each module, and at least 30 for each device that is taken away."""


class BootTest(_Model):
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
            raise _complain(f"files has two that would both be {twice[0]} beside the smoke test")
        if twice := sorted({name for name in self.devices if self.devices.count(name) > 1}):
            raise _complain(f"devices has {twice[0]} twice, and a guest gets one of each")
        if [item.default for item in self.parameters].count(True) > 1:
            raise _complain("parameters has two sets that are the default")
        for item in self.parameters:
            if item.refused and item.modules.keys() & self.load.keys():
                sentence = "it is refused anyway for want of hardware (load), which cannot be told apart"
                raise _complain(f"parameters {item.name!r} is to be refused by {min(item.modules)}: {sentence}")
        return self

    def inputs(self) -> dict[str, Any]:
        """Return what a pass depends on: without the mode, and without keys of later versions that say nothing."""
        settings = self.model_dump(mode="json") | {"mode": ""}
        # A driver without devices is tested as it was before there were any.
        return settings if self.devices else {k: v for k, v in settings.items() if k not in {"devices", "hot_plug"}}


class Toleration(_Model):
    """A taint that nodes may have, spelled as in Kubernetes."""

    key: str = ""
    """Key of the taint; empty with the operator Exists: every taint."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """Whether the value counts."""
    value: str = ""
    """Value of the taint."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """Effect of the taint; empty: every effect."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.operator == "Equal" and not self.key:
            raise _complain("key is required, unless operator is Exists")
        if self.operator == "Exists" and self.value:
            raise _complain("value says nothing where operator is Exists: take one of them out")
        return self


class InClusterBuild(_Model):
    """How KMM builds, in the cluster, for kernels that have no image yet; see driver-container/README.md."""

    source: Annotated[str, _form(r"^https?://\S+\.tar\.gz$", "an address such as https://host/driver-1.0.tar.gz")]
    """Address of the source as .tar.gz with one top folder: an in-cluster build has no build context."""
    source_sha256: Annotated[str, _form(r"^[0-9a-f]{64}$", "the 64 digits that sha256sum prints")]
    """Its SHA-256."""
    sign: bool = False
    """Have KMM sign the modules, with a key in Secrets whose skeletons are emitted."""


class KmmModule(_Model):
    """What `emit kmm` says of a driver in its Module."""

    namespace: Name | None = None
    """Namespace of everything that is emitted; default: the driver's name."""
    module: ModuleName | None = None
    """What `modprobe` loads, with what it depends on; default: the last of `modules`."""
    loading_order: tuple[ModuleName, ...] = ()
    """Modules without symbols of each other that must be loaded after each other, the first to be loaded first; the
    last is `module`."""
    parameters: tuple[
        Annotated[str, _form(r"^\w+=\S*$", "a parameter and its value, such as max_dev=8, without blanks")], ...
    ] = ()
    """Module parameters: `max_dev=8`."""
    selector: Annotated[dict[LabelKey, LabelValue], Field(min_length=1)] = {"node-role.kubernetes.io/worker": ""}
    """Labels of the nodes that get the module; all must fit."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints that those nodes may have, besides cordons and pressure, for which no driver goes."""
    in_tree_modules_to_remove: tuple[ModuleName, ...] = ()
    """Modules of the kernel itself that are unloaded before."""
    pull_secret: Name | None = None
    """Secret with the pull secret of the image's registry; a skeleton is emitted."""
    ordered_upgrade: bool = False
    """Give the Module its version, so that nodes are upgraded one by one by their labels. Only when it is created."""
    in_cluster_build: InClusterBuild | None = None
    """Have KMM build for kernels that have no image yet; without it, nodes with such kernels get no module."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.loading_order and self.module and self.loading_order[-1] != self.module:
            raise _complain(f"loading_order must end with module ({self.module})")
        if len(self.loading_order) == 1 or len(set(self.loading_order)) < len(self.loading_order):
            raise _complain("loading_order needs at least two modules, each once")
        return self


_DEFAULT_LICENSES = ("LICENSE",)


class Driver(_Model):
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
    build_args: dict[
        Annotated[str, _form(r"^[A-Z_][A-Z0-9_]*$", "capital letters, digits and '_', no digit first")], str
    ] = {}
    """Further arguments of the Containerfile."""
    licenses: Annotated[tuple[RelativeFile, ...], Field(min_length=1)] = _DEFAULT_LICENSES
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
            raise _complain("give either make or dkms, not both")
        if not self.dkms and not self.modules:
            raise _complain("modules is required: name the modules that the build must produce")
        if len({ModuleWord(word).glob for word in self.modules}) != len(self.modules):
            raise _complain("modules names a module twice")
        if len(set(self.build_packages)) < len(self.build_packages):
            raise _complain("build_packages names a package twice")
        if reserved := RESERVED_BUILD_ARGS & self.build_args.keys():
            raise _complain(f"build_args: kmodsmith sets {min(reserved)} itself")
        return self


# Build arguments of component images that kmodsmith sets itself; see docs/components.md.
RESERVED_COMPONENT_ARGS = frozenset({"BASE_IMAGE", "BUILD_IMAGE", "TARGETARCH"})
OWN_LABEL_PREFIX = "io.kmodsmith."


class Wheels(_Model):
    """Python packages of a component image: wheels by hash, fetched before the build, which has no network."""

    lock: RelativeFile
    """File of requirements with hashes, relative to versions.yaml, as `uv pip compile --generate-hashes` writes it."""
    python: Annotated[str, _form(r"^3\.\d{1,2}$", 'a version of Python such as "3.11", in quotes')]
    """Version of the Python in the image, which chooses among the wheels."""


# What a socket's name may have beside kubelet's folder and the ending; and what the API allows for a driver's name.
_LONGEST_RESOURCE = 107 - len("/var/lib/kubelet/device-plugins/") - len(".sock")
_LONGEST_DRIVER = 63


class SmokeTest(_Model):
    """How a device is tried on a node where the operator has just brought a driver: in a pod that asks for one."""

    command: tuple[Text, ...] = ()
    """Command in the device plugin's image; exit code 0 means that the device works, and the last line says why not.
    Default: the image's own `try-devices`, which asks your class (docs/devices.md)."""
    timeout: Annotated[int, Field(ge=5, le=3600)] = 60
    """Seconds that it may take, with the pull of the image."""


class DevicePlugin(_Model):
    """How a component's image is run: on each node that has the driver, by `emit device-plugin` without privilege."""

    driver: Name
    """Driver whose devices it tells kubelet of: it runs where KMM says that this driver is loaded."""
    resource: Annotated[
        str,
        _form(
            r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
            r"/[A-Za-z0-9]([A-Za-z0-9_-]{0,52}[A-Za-z0-9])?$",
            "your domain, a slash and the class of device, such as drivers.example.com/ptemplate",
        ),
    ]
    """What pods ask for."""
    mode: Literal["DevicePlugin", "DRA", "Auto"] = "DevicePlugin"
    """DevicePlugin: devices are a number that kubelet counts. DRA: dynamic resources, each device by its own name; they
    need resource.k8s.io/v1 (Kubernetes 1.34). Auto: these where a cluster has them. DRA and Auto need rights in the
    cluster."""
    managed_by: Literal["daemonset", "kmm"] = "daemonset"
    """daemonset: `emit device-plugin` writes what runs it, without privilege. kmm: `emit kmm` puts it into the Module,
    and KMM runs it privileged."""
    injection: Literal["cdi", "nodes"] = "cdi"
    """cdi: the container runtime reads the devices from a file. nodes: kubelet is told the device files, for runtimes
    that do not know CDI."""
    source: Annotated[str, _form(r"^\w+(\.\w+)*:\w+$", "a class, module:Class, such as mydriver:MyDevices")] | None = (
        None
    )
    """Your class that knows the devices, in the image (docs/devices.md); default: that of the sample driver."""
    replicas: Annotated[int, Field(ge=1, le=1024)] = 1
    """How many pods share a device; more than 1 puts `.shared` behind the resource."""
    memory: Annotated[int, Field(ge=16, le=4096)] = 96
    """MiB of memory that it may use."""
    smoke_test: SmokeTest | None = None
    """The operator tries a device of each node with it before the node counts as ready; `{}` takes the defaults."""

    @property
    def driver_name(self) -> str:
        """The driver of dynamic resources, and the class that claims ask for: `class.vendor.example`."""
        domain, _, name = self.resource.partition("/")
        return f"{name.lower().replace('_', '-')}.{domain}"

    @model_validator(mode="after")
    def _check(self) -> Self:
        told = self.resource if self.replicas == 1 else f"{self.resource}.shared"
        if len(told) > _LONGEST_RESOURCE:
            raise _complain(f"resource: {told} has {len(told)} characters; kubelet's folder takes {_LONGEST_RESOURCE}")
        if self.mode == "DevicePlugin":
            return self
        for is_so, words in (
            (self.replicas > 1, "replicas: only a device plugin shares devices"),
            (self.injection != "cdi", "injection: only a device plugin gives devices without CDI"),
            (self.managed_by == "kmm", "managed_by: what KMM runs is a device plugin"),
            (
                len(self.driver_name) > _LONGEST_DRIVER,
                f"resource: the driver's name, {self.driver_name}, has {_LONGEST_DRIVER} characters at most",
            ),
        ):
            if is_so:
                raise _complain(f"{words}: set mode to DevicePlugin, not {self.mode}")
        return self


class Component(_Model):
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
    target: Annotated[str, _form(r"^[a-z][a-z0-9-]*$", "the name of a stage of the Containerfile")] | None = None
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
    build_args: dict[
        Annotated[str, _form(r"^[A-Z_][A-Z0-9_]*$", "capital letters, digits and '_', no digit first")], str
    ] = {}
    """Further arguments of the Containerfile."""
    licenses: Annotated[tuple[RelativeFile, ...], Field(min_length=1)] = _DEFAULT_LICENSES
    """Licence files, relative to versions.yaml; they lie in the build context `licenses`, for /licenses."""
    self_test: tuple[Text, ...] = ()
    """Command that is run in the finished image, as its own user and without network: exit code 0 proves the image."""
    on_request: bool = False
    """Built, published and planned only where `--component` names it: for what is large and changes seldom."""
    device_plugin: DevicePlugin | None = None
    """The image is a device plugin's: `emit device-plugin` writes what runs it."""
    labels: dict[Annotated[str, _form(r"^[a-z0-9]([a-z0-9./-]*[a-z0-9])?$", "the name of a label")], Text] = {}
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
                raise _complain(f"give either {kind} or {other}, not both: {other} go into the default of {kind}")
        for key in ("packages", "build_packages", "arches"):
            if len(set(getattr(self, key))) < len(getattr(self, key)):
                raise _complain(f"{key} names one twice")
        names = [name.rpartition("/")[2] for name in self.licenses]
        if len(set(names)) < len(names):
            raise _complain("licenses has two files that would have one name in /licenses")
        if self.target == "build":
            raise _complain("target: the stage 'build' is what the image is compiled in, not the image itself")
        if reserved := RESERVED_COMPONENT_ARGS & self.build_args.keys():
            raise _complain(f"build_args: kmodsmith sets {min(reserved)} itself")
        own = {"name", "version", "release", "vendor", "summary", "description", "maintainer"}
        if taken := sorted(name for name in self.labels if name in own or name.startswith(OWN_LABEL_PREFIX)):
            raise _complain(f"labels: kmodsmith sets {taken[0]} itself")
        return self


def _form_of_group() -> Any:
    return _form(
        r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$",
        "a domain of yours with a dot in it, such as drivers.example.com",
        max_length=189,  # with the longest plural, and a dot, it is the longest name that a kind may have
    )


class OperatorSettings(_Model):
    """What `emit operator` and `emit monitoring` write: a fork changes this and no code; see docs/operator-files.md."""

    component: Name
    """Component that is the operator's image; its version is that of the operator, `1.4.0`."""
    group: Annotated[str, _form_of_group()]
    """API group of the kind, a domain of yours; also the prefix of its labels and annotations."""
    documentation: Annotated[str, _form(r"^https?://[^\s#]+$", "an address such as https://example.com/operator.md")]
    """Where docs/operator-files.md, or your own page with its headings, is to be read: alerts point there."""
    kind: Annotated[
        str,
        _form(r"^[A-Z][A-Za-z0-9]{0,58}$", "a word that begins with a capital letter, such as KernelDriver"),
    ] = "KernelDriver"
    """Kind by which people say which driver they want; with `List` behind it, it is a name of at most 63 characters."""
    plural: Annotated[str, _form(r"^[a-z][a-z0-9]{0,62}$", "small letters and digits")] | None = None
    """Its plural, as in `kubectl get kerneldrivers`; default: the kind in small letters and an `s`."""
    name: Name = "kmod-operator"
    """Name of everything that the operator consists of, and of its package; another vendor's in the same cluster has
    another one."""
    namespace: Name | None = None
    """Namespace that it runs in, where indexes and the pull secret lie, and no other operator and no driver; default:
    `name`."""
    drivers: tuple[Name, ...] = ()
    """Drivers that it may bring; default: all that have an image in a registry."""
    pull_secret: Name = "kmod-operator-pull"  # noqa: S105 - the name of an object
    """The one Secret that it may read: the pull secret of the registry that it reads indexes from, and that its own
    image is pulled from. It may be absent where anybody may read."""
    display_name: Text | None = None
    """What consoles call it; default: the summary of the component."""
    channel: Annotated[
        str, _form(r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$", "small letters, digits, '.' and '-', such as stable")
    ] = "stable"
    """Channel of the catalog that it is offered in."""

    @property
    def plural_name(self) -> str:
        return self.plural or f"{self.kind.lower()}s"

    @property
    def namespace_name(self) -> str:
        return self.namespace or self.name

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.drivers)) < len(self.drivers):
            raise _complain("drivers names one twice")
        return self


class TektonTimes(_Model):
    """Minutes after which a pod of a pipeline is stopped."""

    plan: Annotated[int, Field(ge=1, le=1440)] = 30
    """Discovering and planning."""
    shard: Annotated[int, Field(ge=5, le=10_080)] = 240
    """One try of one shard: its compiles, boot tests and publishing."""
    gate: Annotated[int, Field(ge=1, le=1440)] = 60
    """Reading the evidence of all shards, and publishing lists and indexes."""


class TektonResources(_Model):
    """What the pod of one shard asks for, spelled as Kubernetes does."""

    cpu: Annotated[str, _form(r"^[1-9][0-9]*m?$", 'a number of processors such as "4" or 1500m')] = "2"
    """Processors; as many cells are built at once as fit."""
    memory: Annotated[str, _form(r"^[1-9][0-9]*(Mi|Gi)$", "MiB or GiB, such as 4Gi")] = "4Gi"
    """Memory, which is also its limit; more than build.compile_memory."""
    disk: Annotated[str, _form(r"^[1-9][0-9]*(Mi|Gi)$", "MiB or GiB, such as 40Gi")] = "40Gi"
    """Disk for toolkits, compiles and images, which is also its limit."""


class TektonSettings(_Model):
    """What `emit tekton` writes: the same plan on a cluster; see docs/tekton.md."""

    builder: PinnedImage
    """The builder image, by digest: all steps run in it. `publish --component builder` tells it."""
    repository: Repository
    """Where plans and evidence go in a registry, without tag: `quay.io/organisation/plans`."""
    source: Annotated[
        str,
        _form(
            r"^(https?|ssh)://[A-Za-z0-9@:%._~/+-]+$",
            "an address such as https://git.example.com/organisation/drivers.git",
        ),
        AfterValidator(_check_git_address),
    ]
    """Address of the git repository that has this file; without a password."""
    revision: Annotated[str, _form(r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", "a branch, a tag or a commit", max_length=200)] = (
        "main"
    )
    """What of it the nightly takes."""
    project: Annotated[
        str, _form(r"^(\.|[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*)$", "a folder of the repository")
    ] = "."
    """Folder of the repository that has this file."""
    name: Annotated[Name, Field(max_length=20)] = "kmodsmith"
    """What the names of all objects begin with; another one's pipelines in the same namespace have another."""
    namespace: Name | None = None
    """Namespace of the pipelines; default: `name`. Nothing else should run in it."""
    shards: Annotated[int, Field(ge=1, le=64)] = 8
    """Pods that build at once, at most."""
    retries: Annotated[int, Field(ge=0, le=5)] = 1
    """How often a shard's pod is started again when it was lost: it goes on where it was."""
    arches: Annotated[tuple[Annotated[Arch, Field(strict=False)], ...], Field(min_length=1)] = (Arch.X86_64,)
    """Architectures of nodes that build: each shard goes to a node of its own."""
    node_selectors: dict[Annotated[Arch, Field(strict=False)], dict[LabelKey, LabelValue]] = {}
    """Further labels of the nodes that build, by architecture."""
    isolation: Literal["user-namespaces", "privileged"] = "user-namespaces"
    """How a shard's pod may lock compiles up. user-namespaces: it is root in a user namespace of its own (hostUsers:
    false) and nobody outside of it. privileged: it is root of its node, for clusters that cannot do the former."""
    kvm: LabelKey | None = None
    """Resource by which nodes offer /dev/kvm, such as devices.kubevirt.io/kvm; boot tests without it are emulated."""
    resources: TektonResources = TektonResources()
    """What the pod of one shard asks for."""
    minutes: TektonTimes = TektonTimes()
    """When pods are stopped."""
    schedule: Annotated[
        str,
        _form(r"^([0-9*,/-]+ ){2}[0-9*,/-]+ [0-9A-Za-z*,/-]+ [0-9A-Za-z*,/-]+$", "five fields as of cron: 17 2 * * *"),
    ] = "17 2 * * *"
    """When the nightly begins, as cron spells it."""
    time_zone: Annotated[str, _form(r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$", "a time zone such as Europe/Prague")] = (
        "Etc/UTC"
    )
    """Time zone of the schedule."""
    group: Name | None = None
    """Group that is built, without component images; default: `default_group`, and all component images."""
    release_group: Name | None = None
    """Group that a release builds; default: `group`."""
    registry_secret: Name = "kmodsmith-registry"  # noqa: S105 - the name of an object
    """Secret (kubernetes.io/dockerconfigjson) that images are pulled and pushed with; pods that build strangers'
    changes do not get it."""
    authorities: Name | None = None
    """ConfigMap with the certificates (PEM, key `ca-bundle.crt`) of all authorities that registries, git and kernel
    sources are trusted by, where those of the builder image are not enough. OpenShift fills one that has the label
    config.openshift.io/inject-trusted-cabundle: "true"."""
    signing_secret: Name = "kmodsmith-signing"  # noqa: S105 - as above
    """Secret with the private keys: `NAME.pem` for each signer, `images.pem` for publish.signer. Only the container
    that signs sees it."""

    @property
    def namespace_name(self) -> str:
        return self.namespace or self.name

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.arches)) < len(self.arches):
            raise _complain("arches names one twice")
        if others := sorted(self.node_selectors.keys() - set(self.arches)):
            raise _complain(f"node_selectors: {others[0]} is none of arches, so no shard goes there")
        for labels in self.node_selectors.values():
            if "kubernetes.io/arch" in labels:
                raise _complain("node_selectors: kubernetes.io/arch is what arches is about")
        return self


class DebianArchive(_Model):
    """An archive and the suites of it that are read."""

    url: Annotated[
        str, _form(r"^https?://\S+$", "an address such as http://deb.debian.org/debian"), AfterValidator(_check_archive)
    ]
    """Address of the archive or of a mirror."""
    suites: Annotated[
        tuple[Annotated[str, _form(r"^[a-z0-9-]+(/[a-z0-9-]+)*$", "a suite such as bookworm-updates")], ...],
        Field(min_length=1),
    ]
    """Suites, for example bookworm and bookworm-updates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFile:
    """A file that a kernel source names under ``key``, and folders where it may lie besides the project."""

    key: str
    text: str
    folders: tuple[str, ...] = ()


class SourceSettings(_Model):
    """What every kernel source of versions.yaml says of itself."""

    gives_base_images: ClassVar[bool] = False
    """Small base images for drivers without `base_image`, and the busybox of boot tests, come out of it."""
    has_releases: ClassVar[bool] = False
    """Its kernels are those of releases, which groups can choose by."""

    provider: str
    """Kind of the source."""

    @property
    def runtime_source(self) -> str | None:
        """The source that versions.yaml names for the base images that this one does not give."""
        return None

    @property
    def machines(self) -> tuple[Arch, ...]:
        """Architectures of machines that it makes images for to build in."""
        return ()

    @property
    def named_files(self) -> tuple[NamedFile, ...]:
        """Files that are read for it."""
        return ()

    def why_left_out(self, version: str, today: date) -> str:
        """Return why a release is not wanted; empty where it is, or where the source has none."""
        del version, today
        return ""


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


class DropRelease(_Model):
    """Releases that are not wanted."""

    release: Glob
    """Glob over release versions, such as `4.16.3` or `*-rc.*`."""
    reason: Text
    """Why; shown when they leave the lock."""


class OpenShiftKernels(SourceSettings):
    """Kernels of OpenShift or OKD releases, with the Driver Toolkits of their payloads."""

    provider: Literal["openshift", "okd"]
    """Kind of the source; they differ in the address of the update graph only."""
    channels: tuple[Channel, ...] = ()
    """Update channels, such as fast-4.18 and eus-4.16. Of each, only releases of its own minor count."""
    arches: Annotated[tuple[Annotated[Arch, Field(strict=False)], ...], Field(min_length=1)] = (Arch.X86_64,)
    """Architectures of nodes."""
    releases: tuple[Pullspec, ...] = ()
    """Further release images, by tag or digest: `quay.io/openshift-release-dev/ocp-release:4.18.12-x86_64`."""
    payloads: Literal["single", "multi"] = "single"
    """Which payloads the graph is asked for: those of one architecture, or those of all."""
    graph: Annotated[Text, AfterValidator(_check_graph)] | None = None
    """Address of the update graph, or a file relative to versions.yaml; `{channel}` and `{arch}` in its name are
    replaced. Default: api.openshift.com, or OKD's."""
    end_of_life: dict[Minor, Annotated[date, Field(strict=False)]] = {}
    """Last day of a minor's support (`"4.14": 2025-10-31`); its kernels leave the lock the day after."""
    drop: tuple[DropRelease, ...] = ()
    """Releases that are not wanted."""
    largest_layer: Annotated[int, Field(ge=1, le=4096)] = 64
    """MiB of a layer that may be read for one file. Toolkits have theirs in a small last layer, unless squashed."""
    runtime: Name | None = None
    """Source of provider debian that gives what OpenShift does not have: the small base image for drivers without
    `base_image`, and the busybox of boot tests. Default: the first there is."""

    has_releases: ClassVar[bool] = True

    @property
    def runtime_source(self) -> str | None:
        return self.runtime

    def why_left_out(self, version: str, today: date) -> str:
        for entry in self.drop:
            if fnmatchcase(version, entry.release):
                return f"dropped in versions.yaml: {entry.reason}"
        end = self.end_of_life.get(".".join(version.split(".")[:2]))
        return f"end of life since {end}" if end is not None and end < today else ""

    @property
    def graph_address(self) -> str:
        return self.graph or _GRAPHS[self.provider]

    @property
    def named_files(self) -> tuple[NamedFile, ...]:
        """Files that `graph` stands for; none where it is an address."""
        if re.match(r"https?://", self.graph_address):
            return ()
        named = {
            self.graph_address.replace("{channel}", channel).replace("{arch}", arch)
            for channel in self.channels
            for arch in ("multi", *(arch.oci for arch in self.arches))
        }
        return tuple(NamedFile(key="graph", text=name) for name in sorted(named))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.channels and not self.releases:
            raise _complain("give channels, such as [fast-4.18], or releases")
        return self


_MIB = 1024**2
_GRAPHS = {
    "openshift": "https://api.openshift.com/api/upgrades_info/v1/graph",
    "okd": "https://amd64.origin.releases.ci.openshift.org/graph",
}


class Mirror(_Model):
    """Where else images are, spelled as in an ImageDigestMirrorSet."""

    source: ImagePrefix
    """Registry, or registry and the beginning of a repository."""
    mirrors: Annotated[tuple[ImagePrefix, ...], Field(min_length=1)]
    """What takes the place of `source`, in the order in which they are asked."""
    mirrorSourcePolicy: Literal["AllowContactingSource", "NeverContactSource"] = "AllowContactingSource"  # noqa: N815
    """NeverContactSource: for sites without a way out."""


class RegistrySettings(_Model):
    """How registries are read and written; a pull secret is never in this file."""

    auth_files: tuple[FileName, ...] = ()
    """Files with pull secrets, as `podman login` writes them, relative to versions.yaml; the first that has the longest
    prefix of an image's name counts. Read before those that podman and docker use."""
    mirrors: tuple[Mirror, ...] = ()
    """Mirrors, for disconnected sites."""
    plain_http: tuple[RegistryHost, ...] = ()
    """Hosts that are spoken to without TLS."""
    unverified_tls: tuple[RegistryHost, ...] = ()
    """Hosts whose certificate is not verified."""
    token_services: dict[RegistryHost, tuple[RegistryHost, ...]] = {}
    """Hosts that get a registry's password because its tokens come from there: `registry.site: [gitlab.site]`. The
    registry itself and the token services of Docker Hub, GitLab and Red Hat need no entry; see docs/publish.md."""
    timeout: Annotated[int, Field(ge=1, le=600)] = 30
    """Seconds that a server may be silent."""

    _is_anonymous: bool = PrivateAttr(default=False)

    @property
    def is_anonymous(self) -> bool:
        """Whether no pull secret may be used, wherever it lies: the file is not trusted."""
        return self._is_anonymous

    def forget_secrets(self) -> Self:
        """Return settings with which no pull secret is used."""
        settings = self.model_copy()
        settings._is_anonymous = True  # noqa: SLF001 - its own
        return settings

    def without_tls(self, host: str) -> Self:
        """Return settings with which one host is spoken to without TLS, as a command line may say."""
        return self.model_copy(update={"plain_http": (*self.plain_http, host)})


class KeyPlace(_Model):
    """Exactly one way to a private key."""

    key_file: FileName | None = None
    """Private key, PEM or DER, relative to versions.yaml; nobody but its owner may be able to read it."""
    pkcs11: (
        Annotated[
            str,
            _form(
                r"^pkcs11:\S+$",
                "a PKCS#11 URI such as pkcs11:token=vendor;object=kmod?module-path=/usr/lib/softhsm/libsofthsm2.so",
            ),
            AfterValidator(_check_pkcs11),
        ]
        | None
    ) = None
    """PKCS#11 URI (RFC 7512) of a private key on a token, with module-path: the key never leaves the token. The module
    is loaded on the host, so it is trusted as `command` is."""
    command: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    """Program that gets a digest (raw bytes, stdin) and prints its signature (base64); {algorithm} becomes sha256
    and so on. For cloud KMS and signing hosts; RSA: PKCS#1 v1.5, ECDSA: DER. It runs on the host, as whoever builds:
    who may change this file may run anything there, unless `--untrusted` forbids it (docs/security.md)."""
    passphrase_env: (
        Annotated[str, _form(r"^[A-Za-z_][A-Za-z0-9_]*$", "the name of an environment variable, without $")] | None
    ) = None
    """Environment variable with the key file's passphrase or the token's PIN."""
    passphrase_file: FileName | None = None
    """File with the key file's passphrase or the token's PIN."""
    pass_environment: tuple[
        Annotated[str, _form(r"^[A-Za-z_][A-Za-z0-9_]*$", "the name of an environment variable, without $")], ...
    ] = ()
    """Environment variables that the PKCS#11 module or the command needs; no others are passed on."""

    _WAYS: ClassVar = ("key_file", "pkcs11", "command")
    _root: Path = PrivateAttr(default=Path())
    _is_forbidden: bool = PrivateAttr(default=False)

    @property
    def is_forbidden(self) -> bool:
        """Whether the key may not be opened, and no program started for it: the file is not trusted."""
        return self._is_forbidden

    @property
    def way(self) -> tuple[str, str | tuple[str, ...]]:
        """Which of the ways it is, and what it says."""
        return next((name, value) for name in self._WAYS if (value := getattr(self, name)) is not None)

    def resolve(self, name: str) -> Path:
        """Return the absolute place of a file that the entry names."""
        try:
            return self._root / Path(name).expanduser()
        except RuntimeError:  # there is no such user: then it is a folder of that name
            return self._root / name

    @model_validator(mode="after")
    def _check(self) -> Self:
        ways = [name for name in self._WAYS if getattr(self, name) is not None]
        if len(ways) != 1:
            known = f"{', '.join(self._WAYS[:-1])} and {self._WAYS[-1]}"
            raise _complain(f"give exactly one of {known}, not {' and '.join(ways) or 'none'}")
        if self.passphrase_env and self.passphrase_file:
            raise _complain("give either passphrase_env or passphrase_file, not both")
        if self.pkcs11 and "pin-value" in self.pkcs11:
            raise _complain("a PIN does not belong into a file: use passphrase_env or passphrase_file, not pin-value")
        return self


class Signer(KeyPlace):
    """Somebody who signs modules: a certificate, and exactly one way to its private key."""

    certificate: RelativeFile
    """X.509 certificate, PEM or DER, relative to versions.yaml."""
    digest: Literal["sha256", "sha384", "sha512"] = "sha256"
    """Digest algorithm; the kernels that load the modules must have it (CONFIG_MODULE_SIG_HASH tells)."""


class ImageSigner(KeyPlace):
    """Who signs images and what is attested of them; another key than those that sign modules."""

    public_key: RelativeFile
    """Public key, PEM, relative to versions.yaml: what clusters are given. ECDSA P-256, as cosign makes it, or RSA."""


class Group(_Model):
    """A named selection of kernels."""

    source: str
    """Kernel source."""
    description: str = ""
    """For people."""
    kernels: Annotated[tuple[Glob, ...], Field(min_length=1)] = ("*",)
    """Globs over kernel versions (`uname -r`)."""
    releases: tuple[Glob, ...] = ()
    """Globs over versions of OpenShift: only kernels that such a release runs. Empty: those of every release."""
    include: Annotated[tuple[Annotated[ReleaseKind, Field(strict=False)], ...], Field(min_length=1)] = (ReleaseKind.GA,)
    """Kinds of releases that count. ga: generally available. candidate: ec, fc, rc and nightlies. hotfix: hotfixes and
    assemblies, made for one customer. What `releases` names in full, without a glob, counts whatever its kind."""
    arches: Annotated[tuple[Annotated[Arch, Field(strict=False)], ...], Field(min_length=1)] = tuple(Arch)
    """Architectures."""
    variants: Annotated[tuple[Annotated[Variant, Field(strict=False)], ...], Field(min_length=1)] = tuple(Variant)
    """Kernel variants."""
    newest: bool = False
    """Only the newest kernel of each series, variant and architecture."""
    signers: tuple[Name, ...] = ()
    """Who signs the modules; two while certificates are being rotated: a kernel that trusts either loads them."""
    tag_suffix: Annotated[
        str,
        _form(r"^(-[a-z0-9]([a-z0-9-]*[a-z0-9])?)?$", "a '-' and small letters or digits, such as -dev", max_length=20),
    ] = ""
    """What the tags of its images end with, such as `-dev`: groups that take the same kernels and sign otherwise must
    differ in it, or one would take the names of the other's images."""
    signing: Literal["optional", "required", "production"] = "optional"
    """optional: without signers, images are labelled as unsigned. required: no cell without a signer. production:
    in addition, no development key."""


class Exclude(_Model):
    """A combination that is not meant to exist."""

    kernel: Glob
    """Glob over kernel versions."""
    driver: Glob = "*"
    """Glob over driver names."""
    reason: Text
    """Why; shown in every plan."""


class KnownBad(_Model):
    """A combination that is broken for now, with somebody who looks after it."""

    kernel: Glob
    """Glob over kernel versions."""
    driver: Glob = "*"
    """Glob over driver names."""
    reason: Text
    """What is wrong; shown in every plan."""
    owner: Text
    """Who looks after it."""
    expires: Annotated[date, Field(strict=False)]
    """Last day on which the entry is valid (YYYY-MM-DD); after it, the file is an error until somebody decides."""


class KnownProblem(_Model):
    """Something outside of this file that is wrong for now, with somebody who looks after it: it is no news.

    It is told as before, and does not decide exit codes. An entry that fits nothing, or has expired, is told, too; see
    docs/openshift.md.
    """

    code: Annotated[ProblemCode, Field(strict=False)]
    """What is wrong: the code that `discover` puts behind a problem, or `plan` before a refusal."""
    about: Annotated[Glob, AfterValidator(_check_glob)]
    """Glob over what it is about: a release and its architecture (`4.18.3-x86_64`), a channel and an architecture
    (`fast-4.18 x86_64`), a kernel version, a flavour of Debian, or a source."""
    reason: Text
    """What is wrong, and what is done about it; shown wherever the problem is told."""
    owner: Text
    """Who looks after it."""
    expires: Annotated[date, Field(strict=False)]
    """Last day on which the entry counts (YYYY-MM-DD); after it, the problem decides exit codes again."""


class BuildSettings(_Model):
    """How cells are built."""

    jobs: Annotated[int | str, BeforeValidator(_check_jobs)] = "auto"
    """Cells at once; auto: as many as cores and memory allow."""
    memory_per_job: Annotated[int, Field(ge=64)] = 1024
    """MiB that one cell may need; bounds `auto`."""
    compile_memory: Annotated[int, Field(ge=64, le=2**24)] = 4096
    """MiB of memory that one compile may use; one that needs more is stopped."""
    compile_processes: Annotated[int, Field(ge=64, le=2**22)] = 4096
    """Processes that one compile may have at once."""
    compile_disk: Annotated[int, Field(ge=64, le=2**30)] = 20480
    """MiB that one compile may write."""
    timeout_minutes: Annotated[int, Field(ge=1, le=10_080)] = 30
    """After this long a compile is stopped."""
    retries: Annotated[int, Field(ge=0, le=5)] = 2
    """How often a cell is tried again when the infrastructure, not the driver, failed."""
    compile_cache: Annotated[int, Field(ge=0, le=2**24)] = 2048
    """MiB that ccache's results may take, which make the next kernel's compile shorter; 0: no compile looks anywhere
    and nothing is kept. Modules are the same with and without."""
    compile_cache_check: Annotated[int, Field(ge=0, le=100)] = 2
    """Of a hundred compiles that took something from the cache, so many are done again without it and compared."""
    boot: Literal["always", "changed", "never"] = "never"
    """Which cells a build loads on their kernels, in virtual machines. changed: those that are new, or whose image,
    kernel or test changed since they passed. always: all that are selected. An image that fails gets no name."""

    def limits(self, *, most: BuildSettings | None = None) -> Limits:
        """Return what one compile may use, nothing above ``most``."""
        bounds = [self] if most is None else [self, most]
        return Limits(
            memory_bytes=min(bound.compile_memory for bound in bounds) * _MIB,
            processes=min(bound.compile_processes for bound in bounds),
            disk_bytes=min(bound.compile_disk for bound in bounds) * _MIB,
        )


AnySource = DebianKernels | OpenShiftKernels
"""A kernel source of any provider; a new one is added here."""


class PublishSettings(_Model):
    """How images are named in registries, and who signs them. Which registry, each driver's `image` says."""

    tags: Annotated[tuple[TagRule, ...], Field(min_length=1)] = ("version-kernel",)
    """Tags of an image, the first being the one that plans show. version-kernel: `{version}-{kernel}`. kernel: the
    kernel alone, as KMM's day-1 wants it; then the driver's version belongs into the name of the image. Or a pattern
    of {driver}, {version}, {kernel}, {kernel_noarch} (the kernel without its architecture), {arch} and {variant}: where
    images of several architectures get the same tag, it stands for a list of them. None is ever moved."""
    signer: ImageSigner | None = None
    """Who signs images; without it they are published unsigned, and nothing is attested."""
    builder: Annotated[
        str, _form(r"^[a-z][a-z0-9+.-]*:\S+$", "a URI such as https://ci.example.com/builder or urn:example:laptop")
    ] = "urn:kmodsmith:builder:local"
    """URI that says in provenance whose machine builds: another for laptops than for a guarded pipeline."""
    require_boot: Literal["any", "secure", "signed"] = "any"
    """What a boot test must have proved before an image is published, and for verify to pass. any: nothing more than
    build.boot wants. secure: its modules load under Secure Boot and lockdown, if only as copies with a throwaway
    signature. signed: they do with their own signatures."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not is_own_tag(self.tags[0]):
            raise _complain(f"tags: the first must hold {{kernel}}, or kernels share it; {self.tags[0]!r} does not")
        return self


class Config(_Model):
    """The whole of versions.yaml."""

    drivers: Annotated[tuple[Driver, ...], Field(min_length=1)]
    """What is built."""
    sources: Annotated[dict[Name, Annotated[AnySource, Field(discriminator="provider")]], Field(min_length=1)]
    """Where kernels and their toolkits come from."""
    registry: RegistrySettings = RegistrySettings()
    """How registries are read and written."""
    signers: dict[Name, Signer] = {}
    """Who can sign modules."""
    groups: Annotated[dict[Name, Group], Field(min_length=1)]
    """Which kernels are built for."""
    default_group: str
    """The group that is meant when none is named."""
    exclude: tuple[Exclude, ...] = ()
    """Combinations that are not meant to exist."""
    known_bad: tuple[KnownBad, ...] = ()
    """Combinations that are broken for now."""
    known_problems: tuple[KnownProblem, ...] = ()
    """Problems of releases, channels and kernels that are no news."""
    build: BuildSettings = BuildSettings()
    """How cells are built."""
    publish: PublishSettings = PublishSettings()
    """How images are named in registries."""
    components: tuple[Component, ...] = ()
    """User-space images, such as a device plugin: they are built beside the drivers, one for each architecture."""
    operator: OperatorSettings | None = None
    """The operator that brings drivers onto nodes of clusters."""
    tekton: TektonSettings | None = None
    """Pipelines that build, publish and renew all of this on a cluster."""

    @property
    def image_packages(self) -> set[tuple[Arch, tuple[str, ...]]]:
        """What component images, and the images that they are built in, want of packages, by architecture."""
        builders = {arch for source in self.sources.values() for arch in source.machines}
        return {
            (arch, tuple(sorted(packages)))
            for component in self.components
            for packages, arches in ((component.packages, component.arches), (component.build_packages, builders))
            for arch in arches
            if packages
        }

    def runtime_of(self, source: str) -> str | None:
        """Return the source that gives a source's base images: itself, the one that it names, or the first that can.

        A lock can have sources that versions.yaml does not name any more.
        """
        settings = self.sources.get(source)
        if settings is not None and settings.gives_base_images:
            return source
        first = next((name for name, other in self.sources.items() if other.gives_base_images), None)
        return (settings.runtime_source if settings else None) or first
