"""Reads what release payloads and the images that they name say of kernels, by registry metadata alone.

What is read are manifests, configurations and the top layers. Several releases are read at once, what they share once.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from builder.config.problem_codes import ProblemCode
from builder.errors import FormatError, KmodsmithError, SourceError
from builder.host.once import Once
from builder.kernel import Arch
from builder.pullspec import Pullspec, parse_pullspec
from builder.sources.doubt import Doubt
from builder.sources.openshift import payload as formats
from builder.sources.openshift.lock import LockedStream, release_key, split_key
from builder.sources.openshift.releases import GIVEN
from builder.sources.openshift.witnesses import DERIVED, NODE, TOOLKIT, state_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from builder.config.model.openshift import OpenShiftKernels
    from builder.host.progress import Progress
    from builder.kernel import KernelVersion
    from builder.registry.manifest import Manifest
    from builder.registry.reader import Registry
    from builder.sources.openshift.payload import OsStream, ToolkitRelease

# More do not help: with two cores, parsing is what takes the time.
_READ_AT_ONCE = 8
# Extensions list their kernels in a file of their own from 4.19 on.
_FIRST_EXTENSIONS = (4, 19)


def read_given(settings: OpenShiftKernels, reader: ReleaseReader) -> dict[str, list[str]] | Doubt:
    """Return payloads by key of the releases that versions.yaml names; why not, if any of them cannot be read."""
    found: dict[str, list[str]] = {}
    for text in settings.releases:
        name = parse_pullspec(text)
        for arch in settings.arches:
            try:
                image, version = reader.identify(name, arch)
            except (SourceError, FormatError) as error:
                code = ProblemCode(code_of(error))
                return Doubt(code=code, subject=GIVEN, sentence=f"{text}: {error.message}")
            payloads = found.setdefault(release_key(version, arch), [])
            payloads += [str(image)] if str(image) not in payloads else []
    return found


def code_of(error: KmodsmithError) -> Literal["unreachable", "malformed"]:
    """Return what an error says of the release, channel or image that it is about."""
    return "malformed" if isinstance(error, FormatError) else "unreachable"


def find_gone(registry: Registry, toolkits: Iterable[str]) -> set[str]:
    """Return the toolkits of which every place says now that they do not exist."""
    names = sorted(toolkits)
    with ThreadPoolExecutor(max_workers=_READ_AT_ONCE, thread_name_prefix="toolkits") as pool:
        answers = list(pool.map(lambda name: registry.is_gone(parse_pullspec(name)), names))
    return {name for name, is_gone in zip(names, answers, strict=True) if is_gone}


def read_releases(
    reader: ReleaseReader, payloads: Mapping[str, str], progress: Progress
) -> Iterator[tuple[str, Reading]]:
    with ThreadPoolExecutor(max_workers=_READ_AT_ONCE, thread_name_prefix="discover") as pool:
        futures = {pool.submit(reader.read, key, payload): key for key, payload in payloads.items()}
        try:
            for number, future in enumerate(as_completed(futures), start=1):
                progress(number, len(futures))
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@dataclass(slots=True)
class Reading:
    """What was read of a release, and what could not be: a kind and a sentence each."""

    streams: dict[str, LockedStream] = field(default_factory=dict)
    problems: list[tuple[Literal["unreachable", "malformed"], str]] = field(default_factory=list)

    @property
    def kind(self) -> Literal["", "unreachable", "malformed"]:
        """That of the first problem."""
        return self.problems[0][0] if self.problems else ""

    def note(self, error: KmodsmithError) -> None:
        hint = f" ({error.hint})" if error.hint else ""
        self.problems.append((code_of(error), f"{error.message}{hint}"))

    def doubts(self, key: str) -> list[Doubt]:
        """Return the problems as what is in doubt about a release."""
        return [Doubt(code=ProblemCode(kind), subject=key, sentence=line) for kind, line in self.problems]


def _check_version(found: str, version: str, image: Pullspec) -> None:
    if found.partition("+")[0] != version.partition("+")[0]:
        raise FormatError(f"{image} says that it is {found}, not {version}")


class ReleaseReader:
    """Reads releases; what several share is read once. Safe to use from several threads."""

    def __init__(self, registry: Registry, largest_layer: int) -> None:
        self._registry = registry
        self._largest_layer = largest_layer
        self._once = Once()

    def identify(self, name: Pullspec, arch: Arch) -> tuple[Pullspec, str]:
        """Return a release image by digest and the version that it says it is.

        Raises:
            SourceError: its registry does not have it, refuses, or does not answer.
            FormatError: it is no release image, or one for another architecture.
        """
        image, manifest = self._registry.image(name, arch.oci)
        labels, own_arch = self._labels(image, manifest)
        if own_arch and own_arch != arch.oci:
            raise FormatError(f"{name} is for {own_arch}, not for {arch.oci}")
        version = labels.get("io.openshift.release") or self._references(image, manifest).version
        formats.minor_of(version)
        return image, version

    def read(self, key: str, payload: str) -> Reading:
        """Read a release; never raises what a registry or a payload can be blamed for."""
        reading = Reading()
        version, arch = split_key(key)
        try:
            image, manifest = self._registry.image(parse_pullspec(payload), arch.oci)
            references = self._references(image, manifest)
            _check_version(references.version, version, image)
        except (SourceError, FormatError) as error:
            reading.note(error)
            return reading
        for stream in references.streams:
            reading.streams[stream.tag] = self._read_stream(stream, version, arch, reading)
        return reading

    def _references(self, image: Pullspec, manifest: Manifest) -> formats.Payload:
        content = self._registry.find_file(image, manifest, formats.IMAGE_REFERENCES, largest_layer=self._largest_layer)
        if content is None:
            raise FormatError(f"{image} is no release image: its top layers have no {formats.IMAGE_REFERENCES}")
        try:
            return formats.parse_payload(content)
        except FormatError as error:
            raise FormatError(f"{image}: {error.message}") from None

    def _read_stream(self, stream: OsStream, version: str, arch: Arch, reading: Reading) -> LockedStream:
        kernels: dict[KernelVersion, list[str]] = {}
        toolkit, rhel = "", ""
        if stream.toolkit is not None:
            toolkit = str(stream.toolkit)
            try:
                name, release = self._toolkit(stream.toolkit, arch, version)
                toolkit, rhel = str(name), release.rhel
                for number, kernel in enumerate(release.kernels):
                    is_derived = number > 0 and arch is Arch.AARCH64
                    kernels.setdefault(kernel, []).append(DERIVED if is_derived else TOOLKIT)
            except (SourceError, FormatError) as error:
                reading.note(error)
        image = str(stream.image)
        for read in (self._node_kernel, self._extension_kernels):
            try:
                for kernel, place in read(stream, arch, version):
                    kernels.setdefault(kernel, []).append(f"{NODE}{place}")
            except (SourceError, FormatError) as error:
                reading.note(error)
        witnesses = {kernel: tuple(words) for kernel, words in sorted(kernels.items(), key=lambda item: item[0].raw)}
        return LockedStream(
            state=state_of(witnesses, toolkit),
            kernels=witnesses,
            toolkit=toolkit,
            image=image,
            build=stream.build,
            rhel=rhel,
        )

    def _toolkit(self, name: Pullspec, arch: Arch, version: str) -> tuple[Pullspec, ToolkitRelease]:
        def read() -> tuple[Pullspec, bytes]:
            image, manifest = self._registry.image(name, arch.oci)
            content = self._registry.find_file(
                image, manifest, formats.TOOLKIT_RELEASE, largest_layer=self._largest_layer
            )
            if content is None:
                limit = self._largest_layer >> 20
                raise FormatError(
                    f"{image} is no toolkit: no layer above the first of more than {limit} MiB has "
                    f"{formats.TOOLKIT_RELEASE}"
                )
            return image, content

        image, content = self._once.get(("toolkit", name, arch), read)
        return image, formats.parse_toolkit_release(content, arch=arch, release=version)

    def _node_kernel(self, stream: OsStream, arch: Arch, version: str) -> list[tuple[KernelVersion, str]]:
        """Return the kernel of an operating system image: from its list of packages, else from its labels."""
        del version

        def read() -> list[tuple[KernelVersion, str]]:
            image, manifest = self._registry.image(stream.image, arch.oci)
            labels, _ = self._labels(image, manifest)
            top = manifest.layers[-1:]
            if formats.is_metalayer(labels) and top and top[0].size <= self._largest_layer:
                found = self._registry.files(image, top[0], {formats.PACKAGE_LIST}, largest_layer=self._largest_layer)
                if formats.PACKAGE_LIST in found:
                    return [(formats.parse_package_list(found[formats.PACKAGE_LIST], arch), "meta.json")]
            label = formats.kernel_of_labels(labels, arch)
            return [label] if label else []

        return self._once.get(("node", stream.image, arch), read)

    def _extension_kernels(self, stream: OsStream, arch: Arch, version: str) -> list[tuple[KernelVersion, str]]:
        if (
            stream.extensions is None
            or arch not in {Arch.X86_64, Arch.AARCH64}
            or formats.minor_of(version) < _FIRST_EXTENSIONS
        ):
            return []
        name = stream.extensions

        def read() -> list[tuple[KernelVersion, str]]:
            image, manifest = self._registry.image(name, arch.oci)
            content = self._registry.find_file(image, manifest, formats.EXTENSIONS, largest_layer=self._largest_layer)
            kernels = formats.parse_extensions(content, arch) if content is not None else []
            return [(kernel, "extensions.json") for kernel in kernels]

        return self._once.get(("extensions", name, arch), read)

    def _labels(self, image: Pullspec, manifest: Manifest) -> tuple[dict[str, str], str]:
        if manifest.config is None:
            raise FormatError(f"{image} is a list of images, not one")
        return formats.parse_labels(self._registry.blob(image, manifest.config))
