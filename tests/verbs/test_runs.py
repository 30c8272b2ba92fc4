"""Runs that are killed, interrupted, or at work at the same time, with a buildah on PATH that pretends."""

from __future__ import annotations

import base64
import errno
import json
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.locks import debian_of
from fakes.project import KERNELS, make_source
from fakes.published_image import NAME, SIGNER, make_published_image
from fakes.registry import FakeRegistry, pretend_registry

from builder.boot.stage import Booter
from builder.build import cells as build_module
from builder.build.runs import BuildReport
from builder.errors import FailureClass
from builder.evidence.journal import Journal
from builder.evidence.records import PublishEvidence
from builder.host.line_file import LineFile
from builder.host.locks import hold_lock_file, hold_project, share_store
from builder.plan.discovery import discover_project
from builder.plan.matrix import Selector
from builder.plan.project import open_project
from builder.publish.attest.statements import PROVENANCE_PREDICATE
from builder.publish.cells import publish_project
from builder.publish.result import PublishStatus
from builder.registry.access import RegistryAccess
from builder.registry.credentials import Credentials
from builder.sources.debian import discover as debian
from builder.sources.lock import Lock, LockedNodeKernel
from builder.sources.lock_file import read_lock, write_lock
from builder.sources.openshift.lock import LockedOpenShift, LockedRelease

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakes.bench import Bench

    from builder.boot.stage import BootReport, BootRequest

_KERNEL = "6.1.0-10-amd64"
_OTHER = "6.1.0-9-amd64"


class _KilledError(BaseException):
    """In place of SIGKILL, which would take the tests along."""


@pytest.fixture
def registry(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    """A registry that the project publishes to, signed; the archive has nothing new."""
    server = FakeRegistry(lists_referrers=True)

    def open_pretended(_settings: object, _root: Path, cache_dir: Path) -> RegistryAccess:
        return RegistryAccess(pretend_registry(server, cache_dir), Credentials(), frozenset())

    def nothing_new(_settings: object, previous: Any, *_: object, **__: object) -> debian.DebianAnswer:
        return debian.DebianAnswer(locked=previous, lost={}, problems=[])

    @contextmanager
    def open_signer(_config: object) -> Iterator[object]:
        yield SIGNER

    for module in ("builder.publish.cells", "builder.publish.reading"):
        monkeypatch.setattr(f"{module}.open_registries", open_pretended)
    monkeypatch.setattr("builder.publish.cells.open_image_signer", open_signer)
    # The sample lock's packages have no versions to name.
    monkeypatch.setattr("builder.sources.debian.source.DebianSource._describe", lambda *_: ())
    monkeypatch.setattr("builder.sources.debian.discover.discover", nothing_new)
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text().replace("    vendor:", "    image: quay.test/demo\n    vendor:"))
    bench.offer_with_keys()
    return server


def _tags(server: FakeRegistry) -> set[str]:
    return {name for _, name in server.manifests if not name.startswith("sha256")}


@pytest.mark.parametrize("point", ["tag_image", "find_image", "Journal.record"])
def test_a_run_that_is_killed_between_two_steps_is_finished_by_the_next_night(
    bench: Bench,
    registry: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    def killed(*_: object) -> None:
        raise _KilledError

    with monkeypatch.context() as patch:
        patch.setattr(f"builder.build.cells.{point}", killed)
        with pytest.raises(_KilledError):
            bench.run("build", "--kernel", _KERNEL)
    before = bench.started_builds()
    code, out, err = bench.run("nightly", "--json", "--kernel", _KERNEL)
    assert (code, [item["status"] for item in json.loads(out)["published"]]) == (0, ["published"]), err
    assert f"1.2.0-{_KERNEL}" in _tags(registry)
    assert bench.started_builds() == before + (point == "tag_image"), "what was proven is not built again"
    assert bench.run("nightly", "--kernel", _KERNEL)[0] == 0


def test_a_night_after_the_work_folder_was_lost_publishes_what_the_store_has(
    bench: Bench,
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
    bench: Bench,
    registry: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "builder.publish.nightly.build_project", lambda *_, **__: BuildReport(results=[], wall_s=0.0, run_id="")
    )
    code, _, err = bench.run("nightly", "--kernel", _KERNEL)
    assert (code, _tags(registry)) == (FailureClass.PUBLISH.exit_code, set())
    assert f"not in its registry: quay.test/demo:1.2.0-{_KERNEL}: no build of it is known here" in err


def test_what_was_interrupted_signs_boots_and_names_nothing_more(
    bench: Bench,
    booting: dict[str, Any],
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


def _reuse(bench: Bench, compiled_for: str) -> None:
    entry = f"reuse: [{{kernel: '{_OTHER}', compiled_for: '{compiled_for}', reason: test}}]"
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text().replace("    vendor:", f"    {entry}\n    vendor:"))


_BOTH = ("--group", "all", "--kernel", _KERNEL, "--kernel", _OTHER, "--jobs", "2")


def _compiles(bench: Bench) -> int:
    calls = (call for call in bench.calls("build") if "--target" in call)
    return sum(any(word.startswith("BUILD_COMMAND=") for word in call) for call in calls)


def test_what_several_cells_share_is_compiled_once(bench: Bench) -> None:
    _reuse(bench, _KERNEL)
    bench.build(*_BOTH)
    assert _compiles(bench) == 1
    assert len(list((bench.folder / ".kmodsmith" / "compiled").iterdir())) == 1


def test_what_several_cells_share_fails_once_and_for_all_of_them(bench: Bench) -> None:
    _reuse(bench, _KERNEL)
    bench.break_kernel(_KERNEL, "/usr/src/driver/demo.c:3:1: error: expected ';'")
    _, report = bench.build(*_BOTH)
    assert (report["counts"], len(report["failures"][0]["cells"]), _compiles(bench)) == ({"failed": 2}, 2, 1)


def test_reuse_of_a_kernel_that_is_not_known_refuses_that_cell_alone(bench: Bench) -> None:
    _reuse(bench, "6.1.0-77-amd64")
    code, report = bench.build(*_BOTH)
    assert (code, report["counts"]) == (FailureClass.TOOLKIT.exit_code, {"built": 1, "refused": 1})
    refused = next(cell for cell in report["cells"] if cell["status"] == "refused")
    assert refused["kernel"] == _OTHER
    assert "those of 6.1.0-77-amd64 (reuse): the lock has no kernel" in bench.run("plan", "--json", *_BOTH[:-2])[1]


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
    image = make_published_image(FakeRegistry(), tmp_path)
    journal = Journal(tmp_path / "journal.jsonl")
    growing: Any = _Growing(journal)
    journal.published |= {"quay.test/a:1": growing, "quay.test/b:1": replace(_PUBLISHED, digest="sha256:4")}
    result = image.publisher(journal, None).publish(image.item(digest=image.facts.digest))
    assert (result.status, journal.published[str(NAME)].digest) == (PublishStatus.THERE, image.facts.digest)


@contextmanager
def _another_run(bench: Bench) -> Iterator[None]:
    """Somebody with another HOME, cache and project who uses the same store."""
    with share_store(bench.store):
        yield


_WORKING_CONTAINER = '{"containername":"other","imagename":"localhost/kmodsmith/toolkit:x","builder":true}'


def test_a_run_leaves_the_containers_of_another_one_alone_whatever_home_that_has(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (bench.store / "before-containers").write_text(f"echo '[{_WORKING_CONTAINER}]'; exit\n")
    with _another_run(bench):
        code, _, err = bench.run("build", "--kernel", _KERNEL)
    assert (code, bench.calls("rm"), "left behind" in err) == (0, [], False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(bench.folder.parent / "another-cache"))
    code, _, err = bench.run("build", "--kernel", _KERNEL, "--force")
    assert (code, bench.calls("rm"), "removed other, left behind" in err) == (0, [["rm", "other"]], True)


def test_prune_takes_nothing_away_from_another_run(bench: Bench) -> None:
    (bench.store / "names").write_text("localhost/kmodsmith/toolkit:old 1\n")
    with _another_run(bench):
        code, _, err = bench.run("prune")
        assert (code, "another run uses the container store" in err) == (5, True)
        assert bench.run("prune", "--dry-run")[0] == 0
    assert bench.calls("rmi") == []
    assert (bench.run("prune")[0], bench.calls("rmi")) == (0, [["rmi", "localhost/kmodsmith/toolkit:old"]])


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", f"localhost/demo:1.2.0-{_KERNEL}"),
        ("compat",),
        ("drift", _KERNEL, _KERNEL),
        ("sign", f"localhost/demo:1.2.0-{_KERNEL}", "--signer", "vendor", "--tag", "localhost/x:1"),
    ],
)
def test_who_looks_into_the_store_holds_it(bench: Bench, arguments: tuple[str, ...]) -> None:
    """While an image is read, nobody has the store alone; a look at the lock from within the pretended buildah."""
    bench.build("--kernel", _KERNEL)
    free = f"import fcntl, os; fcntl.flock(os.open('{bench.store}', os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    look = f'"{sys.executable}" -c "{free}" 2>/dev/null && echo free || echo held; '
    (bench.store / "before-push").write_text(f'{{ {look} }} >>"$store/seen"\n')
    bench.run(*arguments)
    assert set((bench.store / "seen").read_text().split()) == {"held"}


def test_what_is_asked_for_twice_at_once_is_written_once(bench: Bench, tmp_path: Path) -> None:
    with hold_project(bench.folder / ".kmodsmith"):
        code, _, err = bench.run("discover")
        assert (code, "another run is at work" in err) == (5, True)
    with hold_lock_file(bench.folder / "versions.lock.yaml"):
        code, _, err = bench.run("--work-dir", str(tmp_path / "other"), "discover")
        assert (code, "another run is asking the kernel sources" in err) == (5, True)


def test_discover_goes_on_from_what_the_lock_says_by_then(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A lock that was written between reading it and having it alone is not written over."""
    project = open_project(bench.folder)
    assert len(project.lock.kernel_versions("debian")) == len(KERNELS)
    write_lock(Lock(sources={"debian": make_source(_KERNEL)}), project.lock_file)
    seen: list[Any] = []

    def look(_settings: object, previous: Any, *_: object, **__: object) -> debian.DebianAnswer:
        seen.append(previous)
        return debian.DebianAnswer(locked=previous, lost={}, problems=[])

    monkeypatch.setattr("builder.sources.debian.discover.discover", look)
    discover_project(project)
    assert [list(source.kernels) for source in seen] == [[_KERNEL]]


def test_prune_of_a_lock_with_more_than_versions_yaml_names(bench: Bench) -> None:
    file = bench.folder / "versions.lock.yaml"
    lock = read_lock(file)
    kept = debian_of(lock)
    no_base = {name: names for name, names in kept.package_sets.items() if not name.startswith("runtime-aarch64")}
    sources: dict[str, Any] = {"debian": kept.model_copy(update={"package_sets": no_base})}
    toolkit = f"quay.test/toolkit@sha256:{'1' * 64}"
    gone = LockedNodeKernel(releases=("4.17.1",), streams=("rhel-coreos",), toolkit=toolkit, toolkits=(toolkit,))
    sources["old"] = LockedOpenShift(
        provider="openshift", resolved="2026-11-23T00:00:00Z", releases={"4.17.1-x86_64": LockedRelease()},
        kernels={"5.14.0-427.50.1.el9_4.x86_64": gone},
    )  # fmt: skip
    write_lock(Lock(sources=sources), file)
    code, out, err = bench.run("prune", "--dry-run")
    assert (code, out) == (0, "0 would be removed\n"), err


def test_a_lock_that_finds_no_room_is_left_as_it_was(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = bench.folder / "versions.lock.yaml"
    before = sorted(bench.folder.iterdir()), file.read_text()
    smaller = debian.DebianAnswer(locked=make_source(_KERNEL), lost={}, problems=[])
    monkeypatch.setattr("builder.sources.debian.discover.discover", lambda *_, **__: smaller)

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(type(file), "replace", refuse)
        code, _, err = bench.run("discover")
    assert (code, "No space left on device" in err, "defect" in err) == (6, True, False)
    assert before == (sorted(path for path in bench.folder.iterdir() if path.name != ".kmodsmith"), file.read_text())


def test_a_run_that_cannot_record_what_it_did_ends_with_a_sentence(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_self: LineFile, line: bytes) -> None:
        if b'"type":"cell"' in line:
            raise OSError(errno.ENOSPC, "No space left on device", "journal.jsonl")

    bench.offer_with_keys()
    with monkeypatch.context() as patch:
        patch.setattr(LineFile, "append", refuse)
        code, _, err = bench.run("build", "--kernel", _KERNEL)
    assert (code, "what was done cannot be recorded: No space left on device" in err) == (6, True)
    assert bench.build("--kernel", _KERNEL)[1]["counts"] == {"proven": 1}


def test_what_was_interrupted_publishes_nothing_more(
    bench: Bench,
    registry: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One image waits where it is read out of the store; the other is published by then, and somebody interrupts."""
    _, report = bench.build("--kernel", _KERNEL, "--kernel", "6.12*")
    waiting = next(cell["key"] for cell in report["cells"] if cell["kernel"] != _KERNEL)
    monkeypatch.setattr("builder.publish.cells.stop_all", (bench.store / "stopped").touch)
    wait = f'case "$*" in *{waiting}*) while [ ! -f "$store/stopped" ]; do sleep 0.02; done ;; esac\n'
    (bench.store / "before-push").write_text(wait)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    project = open_project(bench.folder)
    with pytest.raises(KeyboardInterrupt):
        publish_project(project, Selector(kernels=(_KERNEL, "6.12*")), progress=interrupt)
    assert _tags(registry) == {f"1.2.0-{_KERNEL}"}
    assert bench.run("publish", "--kernel", _KERNEL, "--kernel", "6.12*")[0] == 0
    assert len(_tags(registry)) == 2
