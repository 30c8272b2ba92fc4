"""Kernel sources OpenShift and OKD: from the update graph to kernels and toolkits, by registry metadata alone.

Graph -> release payload -> its ``image-references`` -> for each operating system its toolkit's release file, the
kernel that the operating system image itself names, and the rt and 64k kernels of its extensions. No image is pulled:
what is read are manifests, configurations and the top layers. All of it is by digest, so it is read once; the lock is
the memory, and a machine without a cache reads only what is new.
"""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import httpx

from builder.errors import FormatError, KmodsmithError, SourceError, SourceUnreachableError
from builder.host.http import check_status, read_chunks, with_retries
from builder.host.once import Once
from builder.host.progress import no_progress
from builder.kernel import Arch
from builder.pullspec import Pullspec, parse_pullspec
from builder.sources.openshift import payload as formats
from builder.sources.openshift.lock import LockedOpenShift, LockedRelease, LockedStream, release_key, split_key
from builder.sources.openshift.node_kernels import derive_kernels
from builder.sources.openshift.releases import Channel, choose_releases
from builder.sources.openshift.witnesses import DERIVED, NODE, TOOLKIT, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from builder.config.model import OpenShiftKernels
    from builder.host.progress import Progress
    from builder.kernel import KernelVersion
    from builder.registry.manifest import Manifest
    from builder.registry.reader import Registry
    from builder.sources.openshift.payload import GraphNode, OsStream, ToolkitRelease
    from builder.sources.openshift.releases import ChosenReleases
    from builder.sources.provider import DiscoverOptions

# More do not help: with two cores, parsing is what takes the time.
_READERS = 8
_LARGEST_GRAPH = 64 * 1024**2
_GRAPH_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}
# Extensions list their kernels in a file of their own from 4.19 on.
_FIRST_EXTENSIONS = (4, 19)
_REFUSAL = "the update graph needs no account: look at the address and at proxy settings"


@dataclass(slots=True)
class Discovered:
    """A source's new lock, and what is to be said about it."""

    locked: LockedOpenShift
    lost: dict[str, str]
    """Releases that left, with the stated reason."""
    problems: list[str] = field(default_factory=list)
    """What could not be read; the lock holds the older answers."""
    read: int = 0
    """Releases that were read."""
    bytes_read: int = 0


def discover(
    settings: OpenShiftKernels,
    previous: LockedOpenShift | None,
    registry: Registry,
    *,
    root: Path,
    now: datetime,
    options: DiscoverOptions,
    progress: Progress = no_progress,
    client: httpx.Client | None = None,
) -> Discovered:
    """Ask graph and registries which releases there are and which kernels they run.

    Args:
        settings: the source in versions.yaml.
        previous: what the lock holds of it.
        registry: reads images.
        root: folder that a local graph file is relative to.
        now: date for what is new.
        options: what to read again and what to believe.
        progress: told how many releases are read, of how many.
        client: what asks the graph; for tests.

    Raises:
        SourceError: nothing could be read and nothing is known from before.
    """
    stamp = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    reader = _Reader(registry, settings.largest_layer * 1024**2)
    before_bytes = registry.bytes_read
    answers = dict(_ask_graph(settings, root, client))
    chosen = choose_releases(
        settings,
        previous,
        answers,
        _read_given(settings, reader),
        now=stamp,
        today=now.date(),
        accept_loss=options.accept_loss,
    )
    known = previous.releases if previous else {}
    unsettled = {
        key: payload
        for key, payload in chosen.payloads.items()
        if payload and (options.refresh or not _is_settled(known.get(key), payload))
    }
    found = dict(_read_releases(reader, unsettled, progress))
    releases = _apply(chosen, found, previous)
    problems = [*chosen.problems, *((key, line) for key in unsettled for line in found[key].problems)]
    if not releases:
        raise SourceError("; ".join(_summarize(problems)) or "no channel has a release")
    locked = LockedOpenShift(
        provider=settings.provider,
        resolved=stamp,
        stale=chosen.stale,
        releases=releases,
        kernels=derive_kernels(releases, previous.kernels if previous else {}, newest_toolkits=options.newest_toolkits),
    )
    if previous is not None and previous.model_copy(update={"resolved": stamp}) == locked:
        locked = previous
    return Discovered(
        locked=locked,
        lost=chosen.lost,
        problems=_summarize(problems),
        read=len(found),
        bytes_read=registry.bytes_read - before_bytes,
    )


def _apply(
    chosen: ChosenReleases, found: Mapping[str, _Reading], previous: LockedOpenShift | None
) -> dict[str, LockedRelease]:
    """Return the chosen releases: with what was read of them now, or with what was known."""
    releases = {}
    for key, payload in chosen.payloads.items():
        older = previous.releases.get(key) if previous else None
        release = older or LockedRelease()
        if key in found:
            release = _merge(release, found[key], previous)
        channels = dict(sorted(chosen.channels[key].items()))
        releases[key] = release.model_copy(update={"payload": payload, "channels": channels})
    return releases


def _is_settled(release: LockedRelease | None, payload: str) -> bool:
    """Tell whether a release was read: what digests name does not change, so reading again would tell nothing new."""
    return (
        release is not None
        and release.payload == payload
        and not release.problem
        and bool(release.streams)
        and all(stream.origin == ("payload",) for stream in release.streams.values())
    )


def _summarize(problems: Sequence[tuple[str, str]]) -> list[str]:
    """Return a line for each kind of problem: what is wrong with hundreds of releases has one cause."""
    found: dict[str, list[str]] = {}
    for subject, sentence in problems:
        found.setdefault(re.sub(r"sha256:[0-9a-f]{64}", "sha256:...", sentence), []).append(subject)
    lines = []
    for sentence, subjects in found.items():
        others = f" and {len(subjects) - 1} more" if len(subjects) > 1 else ""
        lines.append(f"{subjects[0]}{others}: {sentence}")
    return lines


def _merge(older: LockedRelease, reading: _Reading, previous: LockedOpenShift | None) -> LockedRelease:
    """Take a new reading; where it failed, keep what was known before, marked as stale."""
    if not reading.problems:
        return LockedRelease(streams=reading.streams)
    streams = dict(older.streams)
    for tag, stream in reading.streams.items():
        known = older.streams.get(tag, stream)
        kernels = {
            raw: tuple(dict.fromkeys([*known.kernels.get(raw, ()), *stream.kernels.get(raw, ())]))
            for raw in sorted({*known.kernels, *stream.kernels})
        }
        merged = {name: getattr(stream, name) or getattr(known, name) for name in ("toolkit", "image", "build", "rhel")}
        streams[tag] = LockedStream(state=state_of(kernels, merged["toolkit"]), kernels=kernels, **merged)
    had_kernels = any(stream.kernels for stream in older.streams.values())
    stale = (older.stale or (previous.resolved if previous else "")) if had_kernels else ""
    return LockedRelease(streams=streams, problem=reading.kind, stale=stale)


def _ask_graph(
    settings: OpenShiftKernels, root: Path, client: httpx.Client | None
) -> Iterator[tuple[Channel, list[GraphNode] | str]]:
    """Yield every channel with its nodes, or with the reason why there are none."""
    own = client or httpx.Client(timeout=30.0, follow_redirects=True)
    is_down = threading.Event()

    def ask(channel: Channel) -> list[GraphNode] | str:
        try:
            return formats.parse_graph(_read_graph(settings, channel, root, own, is_down))
        except (SourceError, FormatError) as error:
            return error.message

    channels = [Channel(name, arch) for name in settings.channels for arch in settings.arches]
    try:
        with ThreadPoolExecutor(max_workers=_READERS, thread_name_prefix="graph") as pool:
            yield from zip(channels, pool.map(ask, channels), strict=True)
    finally:
        if client is None:
            own.close()


def _read_graph(
    settings: OpenShiftKernels, channel: Channel, root: Path, client: httpx.Client, is_down: threading.Event
) -> bytes:
    arch = "multi" if settings.payloads == "multi" else channel.arch.oci
    address = settings.graph_address
    if not re.match(r"https?://", address):
        file = root / address.replace("{channel}", channel.name).replace("{arch}", arch)
        try:
            return file.read_bytes()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise SourceUnreachableError(f"the graph file {file} cannot be read: {why}") from None

    def read() -> bytes:
        query = {"channel": channel.name, "arch": arch}
        try:
            with client.stream("GET", address, params=query, headers=_GRAPH_HEADERS) as answer:
                check_status(answer, address, refusal=_REFUSAL)
                return b"".join(read_chunks(answer, _LARGEST_GRAPH, address))
        except httpx.HTTPError as error:
            raise SourceUnreachableError(f"{address}: {str(error) or type(error).__name__}") from error
        except httpx.InvalidURL as error:
            raise SourceError(f"{address}: {error}") from None

    if is_down.is_set():  # several tries for one channel are enough to find that out
        return read()
    try:
        return with_retries(read)
    except SourceUnreachableError:
        is_down.set()
        raise


def _read_given(settings: OpenShiftKernels, reader: _Reader) -> dict[str, str] | str:
    """Return payloads by key of the releases that versions.yaml names; why not, if any of them cannot be read."""
    found: dict[str, str] = {}
    for text in settings.releases:
        name = parse_pullspec(text)
        for arch in settings.arches:
            try:
                image, version = reader.identify(name, arch)
            except (SourceError, FormatError) as error:
                return f"{text}: {error.message}"
            found[release_key(version, arch)] = str(image)
    return found


def _read_releases(reader: _Reader, payloads: Mapping[str, str], progress: Progress) -> Iterator[tuple[str, _Reading]]:
    with ThreadPoolExecutor(max_workers=_READERS, thread_name_prefix="discover") as pool:
        futures = {pool.submit(reader.read, key, payload): key for key, payload in payloads.items()}
        try:
            for number, future in enumerate(as_completed(futures), start=1):
                progress(number, len(futures))
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@dataclass(slots=True)
class _Reading:
    """What was read of a release. ``kind`` is that of the first problem: unreachable or malformed."""

    streams: dict[str, LockedStream] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    kind: Literal["", "unreachable", "malformed"] = ""

    def note(self, error: KmodsmithError) -> None:
        hint = f" ({error.hint})" if error.hint else ""
        self.problems.append(f"{error.message}{hint}")
        self.kind = self.kind or ("malformed" if isinstance(error, FormatError) else "unreachable")


def _check_version(found: str, version: str, image: Pullspec) -> None:
    if found.partition("+")[0] != version.partition("+")[0]:
        raise FormatError(f"{image} says that it is {found}, not {version}")


class _Reader:
    """Reads releases; what several share is read once. Safe to use from several threads."""

    def __init__(self, registry: Registry, largest_layer: int) -> None:
        self._registry = registry
        self._largest_layer = largest_layer
        self._once = Once()

    def identify(self, name: Pullspec, arch: Arch) -> tuple[Pullspec, str]:
        """Return a release image by digest and the version that it says it is; raises as ``Registry.image`` does."""
        image, manifest = self._registry.image(name, arch.oci)
        labels, own_arch = self._labels(image, manifest)
        if own_arch and own_arch != arch.oci:
            raise FormatError(f"{name} is for {own_arch}, not for {arch.oci}")
        version = labels.get("io.openshift.release") or self._references(image, manifest).version
        formats.minor_of(version)
        return image, version

    def read(self, key: str, payload: str) -> _Reading:
        """Read a release; never raises what a registry or a payload can be blamed for."""
        reading = _Reading()
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

    def _read_stream(self, stream: OsStream, version: str, arch: Arch, reading: _Reading) -> LockedStream:
        kernels: dict[str, list[str]] = {}
        toolkit, rhel = "", ""
        if stream.toolkit is not None:
            toolkit = str(stream.toolkit)
            try:
                name, release = self._toolkit(stream.toolkit, arch, version)
                toolkit, rhel = str(name), release.rhel
                for number, kernel in enumerate(release.kernels):
                    is_derived = number > 0 and arch is Arch.AARCH64
                    kernels.setdefault(kernel.raw, []).append(DERIVED if is_derived else TOOLKIT)
            except (SourceError, FormatError) as error:
                reading.note(error)
        image = str(stream.image)
        for read in (self._node_kernel, self._extension_kernels):
            try:
                for kernel, place in read(stream, arch, version):
                    kernels.setdefault(kernel.raw, []).append(f"{NODE}{place}")
            except (SourceError, FormatError) as error:
                reading.note(error)
        witnesses = {raw: tuple(words) for raw, words in sorted(kernels.items())}
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
