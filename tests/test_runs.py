"""Runs that are killed, interrupted, or at work at the same time, with a buildah on PATH that pretends."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fake_registry import FakeRegistry
from test_build import bench, booting  # noqa: F401 - fixtures
from test_verify import _NAME, _SIGNER, _cell, _make_shop, _never, _publisher

from builder import build as build_module
from builder.attest.statements import PROVENANCE_PREDICATE
from builder.boot.stage import Booter
from builder.errors import FailureClass
from builder.evidence import Journal, PublishEvidence
from builder.publish.result import CellNames, PublishStatus
from builder.pull import RegistryAccess
from builder.registry import Credentials, Registry
from builder.sources import debian
from builder.workflow import BuildReport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from test_build import _Bench

    from builder.boot.stage import BootReport, BootRequest

_KERNEL = "6.1.0-10-amd64"
_OTHER = "6.1.0-9-amd64"


class _KilledError(BaseException):
    """In place of SIGKILL, which would take the tests along."""


@pytest.fixture
def registry(bench: _Bench, monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:  # noqa: F811 - as above
    """A registry that the project publishes to, signed; the archive has nothing new."""
    import httpx

    server = FakeRegistry(lists_referrers=True)

    def open_pretended(_settings: object, _root: Path, cache_dir: Path) -> RegistryAccess:
        transport = httpx.MockTransport(server)
        return RegistryAccess(Registry(Credentials(), cache_dir, transport=transport), Credentials(), frozenset())

    def nothing_new(_settings: object, previous: Any, *_: object, **__: object) -> debian.DebianAnswer:
        return debian.DebianAnswer(locked=previous, lost={}, problems=[])

    @contextmanager
    def open_signer(_config: object) -> Iterator[object]:
        yield _SIGNER

    for module in ("builder.pull", "builder.publish.reading"):
        monkeypatch.setattr(f"{module}.open_registries", open_pretended)
    monkeypatch.setattr("builder.publish.image_signer.open_image_signer", open_signer)
    # The sample lock's packages have no versions to name.
    monkeypatch.setattr("builder.sources.locked.DebianSource._describe", lambda *_: ())
    monkeypatch.setattr(debian, "discover", nothing_new)
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text().replace("    vendor:", "    image: quay.test/demo\n    vendor:"))
    bench.offer_with_keys()
    return server


def _tags(server: FakeRegistry) -> set[str]:
    return {name for _, name in server.manifests if not name.startswith("sha256")}


@pytest.mark.parametrize("point", ["tag_image", "find_image", "Journal.record"])
def test_a_run_that_is_killed_between_two_steps_is_finished_by_the_next_night(
    bench: _Bench,  # noqa: F811
    registry: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    def killed(*_: object) -> None:
        raise _KilledError

    with monkeypatch.context() as patch:
        patch.setattr(f"builder.build.{point}", killed)
        with pytest.raises(_KilledError):
            bench.run("build", "--kernel", _KERNEL)
    before = bench.started_builds()
    code, out, err = bench.run("nightly", "--json", "--kernel", _KERNEL)
    assert (code, [item["status"] for item in json.loads(out)["published"]]) == (0, ["published"]), err
    assert f"1.2.0-{_KERNEL}" in _tags(registry)
    assert bench.started_builds() == before + (point == "tag_image"), "what was proven is not built again"
    assert bench.run("nightly", "--kernel", _KERNEL)[0] == 0


def test_a_night_after_the_work_folder_was_lost_publishes_what_the_store_has(
    bench: _Bench,  # noqa: F811
    registry: FakeRegistry,
) -> None:
    bench.build("--kernel", _KERNEL)
    (bench.folder / ".kmodsmith" / "journal.jsonl").unlink()
    code, out, err = bench.run("nightly", "--json", "--kernel", _KERNEL)
    assert out, err
    assert (code, json.loads(out)["cells"]) == (0, {"proven": 1})
    assert f"1.2.0-{_KERNEL}" in _tags(registry)
    envelopes = [json.loads(blob)["dsseEnvelope"] for blob in registry.blobs.values() if b"dsseEnvelope" in blob]
    statements = [json.loads(base64.b64decode(envelope["payload"])) for envelope in envelopes]
    (predicate,) = [item["predicate"] for item in statements if item["predicateType"] == PROVENANCE_PREDICATE]
    assert predicate["runDetails"]["metadata"] == {}, "nobody knows which run built it"
    assert predicate["buildDefinition"]["internalParameters"]["derived"] == "yes"
    (evidence,) = Journal(bench.folder / ".kmodsmith" / "journal.jsonl").cells.values()
    assert evidence.derived
    assert json.loads(out)["freshness"] == []


def test_a_night_that_leaves_a_wanted_image_out_of_its_registry_is_no_success(
    bench: _Bench,  # noqa: F811
    registry: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "builder.nightly.build_project", lambda *_, **__: BuildReport(results=[], wall_s=0.0, run_id="")
    )
    code, _, err = bench.run("nightly", "--kernel", _KERNEL)
    assert (code, _tags(registry)) == (FailureClass.PUBLISH.exit_code, set())
    assert f"not in its registry: quay.test/demo:1.2.0-{_KERNEL}: no build of it is known here" in err


def test_what_was_interrupted_signs_boots_and_names_nothing_more(
    bench: _Bench,  # noqa: F811
    booting: dict[str, Any],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others wait where their images are read, until the run is told to stop; then they could go on."""
    boots: list[str] = []

    def boot(_self: Booter, request: BootRequest) -> BootReport:
        boots.append(request.kernel.raw)
        raise KeyboardInterrupt

    monkeypatch.setattr(Booter, "boot", boot)
    monkeypatch.setattr(build_module, "stop_all", (bench.store / "stopped").touch)
    wait = 'case "$*" in *6.12*) ;; *) while [ ! -f "$store/stopped" ]; do sleep 0.02; done ;; esac\n'
    (bench.store / "before-push").write_text(wait)
    assert bench.run("build", "--jobs", "4")[0] == 130
    assert boots == ["6.12.5+deb12-amd64"]
    assert (bench.store / "names").read_text() == "", "no name is left, neither final nor passing"


def _reuse(bench: _Bench, compiled_for: str) -> None:  # noqa: F811
    entry = f"reuse: [{{kernel: '{_OTHER}', compiled_for: '{compiled_for}', reason: test}}]"
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text().replace("    vendor:", f"    {entry}\n    vendor:"))


_BOTH = ("--group", "all", "--kernel", _KERNEL, "--kernel", _OTHER, "--jobs", "2")


def _compiles(bench: _Bench) -> int:  # noqa: F811
    calls = (call for call in bench.calls("build") if "--target" in call)
    return sum(not any(":facts-" in word for word in call) for call in calls)


def test_what_several_cells_share_is_compiled_once(bench: _Bench) -> None:  # noqa: F811
    _reuse(bench, _KERNEL)
    bench.build(*_BOTH)
    assert _compiles(bench) == 1
    assert len(list((bench.folder / ".kmodsmith" / "compiled").iterdir())) == 1


def test_what_several_cells_share_fails_once_and_for_all_of_them(bench: _Bench) -> None:  # noqa: F811
    _reuse(bench, _KERNEL)
    bench.break_kernel(_KERNEL, "/usr/src/driver/demo.c:3:1: error: expected ';'")
    _, report = bench.build(*_BOTH)
    assert (report["counts"], len(report["failures"][0]["cells"]), _compiles(bench)) == ({"failed": 2}, 2, 1)


@pytest.mark.parametrize(
    ("unknown", "words"),
    [("6.1.0-77-amd64", "the lock has no kernel 6.1.0-77-amd64"), ("6.1", "'6.1' is not a kernel version")],
)
def test_reuse_of_a_kernel_that_is_not_known_refuses_that_cell_alone(
    bench: _Bench,  # noqa: F811
    unknown: str,
    words: str,
) -> None:
    _reuse(bench, unknown)
    code, report = bench.build(*_BOTH)
    assert (code, report["counts"]) == (FailureClass.TOOLKIT.exit_code, {"built": 1, "refused": 1})
    refused = next(cell for cell in report["cells"] if cell["status"] == "refused")
    assert refused["kernel"] == _OTHER
    assert words in bench.run("plan", "--json", *_BOTH[:-2])[1]


class _Growing:
    """An entry of a journal to which another thread adds one while this is being looked at."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @property
    def digest(self) -> str:
        thread = threading.Thread(target=self._journal.record_publish, args=(_PUBLISHED,))
        thread.start()
        thread.join(0.05)
        return "sha256:2"


_PUBLISHED = PublishEvidence(cell="c", key="k", name="n", digest="sha256:3", run="r", finished="f")


def test_a_journal_to_which_others_add_is_looked_through(tmp_path: Path) -> None:
    shop = _make_shop(FakeRegistry(), tmp_path)
    journal = Journal(tmp_path / "journal.jsonl")
    growing: Any = _Growing(journal)
    journal.published |= {"quay.test/a:1": growing, "quay.test/b:1": replace(_PUBLISHED, digest="sha256:4")}
    publisher = _publisher(shop, journal, None)
    result = publisher.publish(_cell(), CellNames(own=(str(_NAME),)), shop.facts.digest, _never)
    assert (result.status, journal.published[str(_NAME)].digest) == (PublishStatus.THERE, shop.facts.digest)
