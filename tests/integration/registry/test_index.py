"""A driver's index in the real registry server: written here, read by the operator's own client, moved forward by two."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import multiprocessing
import subprocess
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from fakes.driver_indexes import INDEX_SIGNER, INDEX_STRANGER, adding
from kmod_operator.index.choosing import choose
from kmod_operator.index.reading import read_index
from kmod_operator.index.registry import FetchError, fetch_index
from kmod_operator.rollout.world import IndexState

from builder.errors import SourceError
from builder.publish.attachments import Attachments
from builder.publish.index_document import is_index_tag
from builder.publish.index_place import IndexInTheWayError, IndexReader, IndexWriter
from builder.publish.verifier import Verifier
from builder.pullspec import Pullspec, parse_pullspec
from builder.registry.credentials import Credentials
from builder.registry.reader import Registry
from builder.registry.transport import Connection, Transport
from builder.registry.writer import Uploader
from integration.registry_server import RegistryServer, serve_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from builder.signing.image_key import OpenImageSigner

pytestmark = [pytest.mark.buildah]


class _Site:
    """A repository of a server, and machines that write there, each with a cache of its own."""

    def __init__(self, server: RegistryServer, folder: Path, repository: str) -> None:
        self.server, self.folder = server, folder
        self.place = parse_pullspec(f"{server.host}/{repository}:index")
        self.auth = server.auth_file(folder)

    @contextlib.contextmanager
    def open(self) -> Iterator[Registry]:
        plain = Connection(plain_http=frozenset({self.server.host}))
        folder = self.folder / f"cache-{time.monotonic_ns()}"
        with contextlib.closing(Registry(Transport(Credentials([self.auth]), plain), folder)) as registry:
            yield registry

    def write(self, *kernels: str, signer: OpenImageSigner = INDEX_SIGNER) -> str:
        with self.open() as registry:
            writer = IndexWriter(registry, Uploader(registry.transport), signer, "drv", lambda: datetime.now(UTC))
            written = writer.write(self.place, adding(*kernels))
            assert written is not None
            return written.digest

    def fetch(self, place: Pullspec | None = None, secret: bytes | None = None) -> bytes:
        login = self.auth.read_bytes() if secret is None else secret
        return asyncio.run(fetch_index(str(place or self.place), login, plain_http=True))

    def kernels(self) -> set[str]:
        return set(read_index(self.fetch(), [INDEX_SIGNER.key.pem]).images["1.0.0"])

    def tags(self) -> list[str]:
        with self.open() as registry:
            return sorted(Uploader(registry.transport).tags.list_tags(self.place))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with serve_registry(tmp_path_factory.mktemp("index")) as running:
        yield running


@pytest.fixture
def site(server: RegistryServer, tmp_path: Path, request: pytest.FixtureRequest) -> _Site:
    return _Site(server, tmp_path, f"org/{abs(hash(request.node.name))}")


def test_the_operator_reads_what_was_published_by_tag_and_by_digest(site: _Site) -> None:
    digest = site.write("k1", "k2")
    content = site.fetch()
    assert site.fetch(site.place.at(digest)) == content
    state = choose(IndexState(), content, "", [INDEX_SIGNER.key.pem], "drv")
    assert state.index is not None
    assert (set(state.index.images["1.0.0"]), state.trouble) == ({"k1", "k2"}, "")
    assert len(site.tags()) == 2
    assert all(is_index_tag(tag) for tag in site.tags())


def test_the_server_refuses_who_has_no_password_and_it_is_told(site: _Site) -> None:
    site.write("k1")
    for secret, words in (
        (b'{"auths":{}}', "there is no pull secret for it"),
        (_wrong(site), "the pull secret for it is wrong"),
    ):
        with pytest.raises(FetchError, match=words):
            site.fetch(secret=secret)
    with pytest.raises(FetchError, match="does not have it"):
        site.fetch(site.place.at("other"))
    with pytest.raises(FetchError, match="cannot be reached|has not answered"):
        asyncio.run(fetch_index("127.0.0.1:9/x:index", plain_http=True))


def _wrong(site: _Site) -> bytes:
    return site.server.auth_file(site.folder, "user:wrong").read_bytes()


def test_a_second_publish_writes_nothing_and_a_newer_one_replaces_it(site: _Site) -> None:
    first = site.write("k1")
    assert site.write("k1") == first
    old = site.fetch()
    assert site.write("k2") != first
    assert site.kernels() == {"k1", "k2"}
    state = choose(IndexState(), site.fetch(), "", [INDEX_SIGNER.key.pem], "drv")
    assert choose(state, old, "", [INDEX_SIGNER.key.pem], "drv").trouble_reason == "OlderIndex"


def test_verify_judges_it_and_nobody_else_writes_over_it(site: _Site) -> None:
    site.write("k1")
    for signer, passed in ((INDEX_SIGNER, True), (INDEX_STRANGER, False)):
        with site.open() as registry:
            attachments = Attachments(registry, Uploader(registry.transport).tags)
            assert Verifier(registry, attachments, [signer.key]).verify(site.place).passed is passed
    with pytest.raises(IndexInTheWayError, match="was not made with the given key"):
        site.write("k2", signer=INDEX_STRANGER)
    assert site.kernels() == {"k1"}


def test_many_at_once_lose_nothing(site: _Site) -> None:
    site.write("k0")
    troubles: list[SourceError] = []

    def work(number: int) -> None:
        for turn in range(3):
            while True:
                try:
                    site.write(f"k{number}-{turn}")
                except SourceError as error:  # others write it all the time: the same command again
                    troubles.append(error)
                    continue
                break

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads)
    assert site.kernels() == {"k0", *(f"k{number}-{turn}" for number in range(3) for turn in range(3))}, troubles
    with site.open() as registry:
        newest = IndexReader(registry, Uploader(registry.transport).tags, [INDEX_SIGNER.key], "drv").read(site.place)
    assert newest is not None
    assert newest.index.tag == max(tag for tag in site.tags() if tag != "index"), (
        "the newest of all is the one that counts"
    )


def _write_once(site: _Site, kernel: str) -> None:
    site.write(kernel)


def test_a_process_that_is_killed_anywhere_is_finished_by_the_next(site: _Site) -> None:
    site.write("k0")
    context = multiprocessing.get_context("fork")
    for number in range(12):
        process = context.Process(target=_write_once, args=(site, f"k{number + 1}"))
        process.start()
        time.sleep(0.01 * number)
        process.kill()
        process.join()
        assert site.kernels() >= {"k0"}, "an index that is there is whole"
    before = site.kernels()
    site.write("last")
    assert site.kernels() >= before | {"last"}
    site.write("last")
    assert site.kernels() >= before | {"last"}


def test_other_tools_copy_it_as_any_artefact(site: _Site, tmp_path: Path) -> None:
    digest = site.write("k1")
    words = [
        "skopeo",
        "copy",
        "--quiet",
        "--all",
        "--preserve-digests",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
    ]
    to = f"{site.server.host}/mirror/drv"
    logins = ["--src-authfile", str(site.auth), "--dest-authfile", str(site.auth)]
    done: Any = subprocess.run(
        [*words, *logins, f"docker://{site.place}", f"docker://{to}:index"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert site.fetch(parse_pullspec(f"{to}@{digest}")) == site.fetch()


def test_its_size_leaves_room_in_a_config_map(site: _Site) -> None:
    """A year of kernels of a driver is far from what a ConfigMap takes."""
    site.write(*(f"5.14.0-{number}.1.el9_4.x86_64" for number in range(500)))
    assert len(gzip.compress(site.fetch())) < 256 * 1024
