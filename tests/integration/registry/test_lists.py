"""Lists of several architectures in a real registry server: two machines publish at once, and a stranger writes tags."""

from __future__ import annotations

import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from fakes.image_keys import make_image_signer
from fakes.lists import make_item, make_list, put_image

from builder.evidence.journal import Journal
from builder.publish.attachments import AttachmentWriter
from builder.publish.attester import Attester
from builder.publish.publisher import Publisher, PublishTools
from builder.publish.result import PublishResult, PublishStatus
from builder.pullspec import parse_pullspec
from builder.registry.credentials import Credentials
from builder.registry.reader import Registry
from builder.registry.transport import Connection, Transport
from builder.registry.writer import Uploader
from integration.registry_server import RegistryServer, serve_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from builder.publish.publishable import PublishableList
    from builder.signing.image_key import OpenImageSigner

pytestmark = [pytest.mark.buildah]

_SIGNER = make_image_signer()
_ROUNDS = 8
_ARCHES = ("amd64", "arm64")
_DONE = {PublishStatus.PUBLISHED, PublishStatus.THERE, PublishStatus.COMPLETED}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with serve_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


class _Machine:
    """One machine that publishes, with a journal and a cache of its own."""

    def __init__(self, server: RegistryServer, folder: Path) -> None:
        folder.mkdir()
        transport = Transport(Credentials([server.auth_file(folder)]), Connection(plain_http=frozenset({server.host})))
        self.registry = Registry(transport, folder / "cache")
        self.uploader = Uploader(transport)
        self.attachments = AttachmentWriter(self.registry, self.uploader)
        self._publisher = Publisher(
            PublishTools(
                registry=self.registry, uploader=self.uploader, journal=Journal(folder / "journal.jsonl"),
                attester=Attester(self.attachments, _SIGNER), scratch=folder, run_id="r",
            )
        )  # fmt: skip

    def put(self, arch: str, shared: str, signer: OpenImageSigner | None = _SIGNER) -> str:
        return put_image(self.uploader, self.attachments, arch, shared, signer)

    def publish(self, shared: PublishableList) -> PublishResult:
        return self._publisher.publish_list(shared)


@pytest.fixture
def machines(server: RegistryServer, tmp_path: Path) -> Iterator[list[_Machine]]:
    with contextlib.ExitStack() as held:
        made = [_Machine(server, tmp_path / arch) for arch in _ARCHES]
        for machine in made:
            held.callback(machine.registry.close)
        yield made


def _shared(name: str) -> PublishableList:
    return make_list(name, *(make_item(arch, name) for arch in _ARCHES))


def test_two_machines_publish_their_parts_at_once(server: RegistryServer, machines: list[_Machine]) -> None:
    for number in range(_ROUNDS):
        name = f"{server.host}/org/drv:{number}"
        together = threading.Barrier(len(machines))

        def work(
            machine: _Machine, arch: str, name: str = name, together: threading.Barrier = together
        ) -> PublishResult:
            together.wait()
            machine.put(arch, name)
            return machine.publish(_shared(name))

        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(work, machines, _ARCHES))
        # This server can lose sight of a blob while another machine uploads it, too. That is no answer, and no harm.
        statuses = {result.status for result in results}
        assert statuses <= _DONE | {PublishStatus.WAITING, PublishStatus.UNKNOWN}, [item.why for item in results]
        assert any(result.status in _DONE for result in results), "the last one completes the list"
        assert [machine.publish(_shared(name)).is_failure for machine in machines] == [False, False]
        again = [machine.publish(_shared(name)) for machine in machines]
        assert {result.status for result in again} == {PublishStatus.THERE}
        assert len({result.digest for result in again}) == 1
        content = machines[0].uploader.tags.read_manifest(parse_pullspec(name))
        assert content is not None
        listed = json.loads(content)["manifests"]
        assert [entry["platform"]["architecture"] for entry in listed] == list(_ARCHES)


def test_a_stranger_who_may_write_tags_gets_no_part(server: RegistryServer, machines: list[_Machine]) -> None:
    name = f"{server.host}/org/stranger:1"
    machines[0].put("amd64", name)
    machines[1].put("arm64", name, signer=make_image_signer())
    result = machines[0].publish(_shared(name))
    assert result.status is PublishStatus.UNSIGNED
    assert machines[0].uploader.tags.resolve(parse_pullspec(name)) is None
    machines[1].put("arm64", name)
    assert machines[0].publish(_shared(name)).status is PublishStatus.PUBLISHED
