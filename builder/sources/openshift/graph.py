"""Asks the update graph of OpenShift or OKD: each channel for each architecture, several at once."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx

from builder.config.problem_codes import ProblemCode
from builder.errors import FormatError, SourceError, SourceUnreachableError
from builder.host.http import check_status, open_client, read_chunks, with_retries
from builder.sources.doubt import Doubt
from builder.sources.openshift import payload as formats
from builder.sources.openshift.release_reader import code_of
from builder.sources.openshift.releases import Channel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from builder.config.model.openshift import OpenShiftKernels
    from builder.sources.openshift.payload import GraphNode

_ASKED_AT_ONCE = 8
_LARGEST_GRAPH = 64 * 1024**2
_GRAPH_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}
_REFUSAL = "the update graph needs no account: look at the address and at proxy settings"


def ask_graph(
    settings: OpenShiftKernels, root: Path, client: httpx.Client | None
) -> Iterator[tuple[Channel, list[GraphNode] | Doubt]]:
    """Yield every channel with its nodes, or with why there are none."""
    own = client or open_client(follow_redirects=True)
    is_down = threading.Event()

    def ask(channel: Channel) -> list[GraphNode] | Doubt:
        try:
            return formats.parse_graph(_read_graph(settings, channel, root, own, is_down))
        except (SourceError, FormatError) as error:
            code = ProblemCode(code_of(error))
            return Doubt(code=code, subject=str(channel), sentence=error.message)

    channels = [Channel(name, arch) for name in settings.channels for arch in settings.arches]
    try:
        with ThreadPoolExecutor(max_workers=_ASKED_AT_ONCE, thread_name_prefix="graph") as pool:
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
