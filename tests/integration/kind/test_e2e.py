"""What ``nox -s e2e`` does before there is a cluster: whose it uses, and what makes it build anew."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import time
from typing import TYPE_CHECKING

import pytest
import yaml

from integration.kind import e2e, make, runc_wrap
from integration.kind.recipe import API_SERVER, ETCD, KIND, NODE, PAUSE
from integration.kind.world import find_world, name_world

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    file = tmp_path / "config"
    contexts = [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in ("production", "lab")]
    file.write_text(yaml.safe_dump({"current-context": "production", "contexts": contexts}))
    return file


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--kubeconfig", "FILE"], "go together"),
        (["--context", "lab"], "go together"),
        (["--kubeconfig", "FILE", "--context", "other"], "has no context 'other', only 'production', 'lab'"),
        (["--kubeconfig", "FILE.absent", "--context", "lab"], "is no kubeconfig"),
        (["--kubeconfig", "/dev/null", "--context", "lab"], "is no kubeconfig"),
    ],
)
def test_a_cluster_that_is_not_named_is_not_used(
    kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    monkeypatch.setattr("sys.argv", ["e2e", *(word.replace("FILE", str(kubeconfig)) for word in words)])
    with pytest.raises(SystemExit):
        e2e.main()
    assert told in capsys.readouterr().err


def test_a_cluster_that_is_named_is_used(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []

    def note(_prefix: list[str], _words: list[str], environment: dict[str, str]) -> int:
        seen.append(environment)
        return 0

    monkeypatch.setattr(e2e, "_run_pytest", note)
    monkeypatch.setattr("sys.argv", ["e2e", "--kubeconfig", str(kubeconfig), "--context", "lab"])
    assert e2e.main() == 0
    assert seen == [{"KMODSMITH_E2E_KUBECONFIG": str(kubeconfig), "KMODSMITH_E2E_CONTEXT": "lab"}]


def test_what_is_built_is_called_by_its_recipe() -> None:
    key = ETCD.key("go1.27")
    assert key == ETCD.key("go1.27")
    others = [
        dataclasses.replace(ETCD, link="-s"),
        dataclasses.replace(ETCD, tags="x"),
        dataclasses.replace(ETCD, packages={"a": "b"}),
    ]
    assert len({key, ETCD.key("go1.28"), *(part.key("go1.27") for part in others)}) == 5
    assert API_SERVER.key("go1.27") != NODE.key("go1.27"), "of one module, but not the same programs"


@pytest.mark.kind
def test_peers_are_built_beside_and_end_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever needs one meanwhile waits for it; where nobody does, nothing is left of an unfinished one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with e2e.build_beside():
        for _ in range(300):
            if list(tmp_path.glob("kmodsmith/e2e/.kmm-*.lock")):
                break
            time.sleep(0.1)
        (lock,) = tmp_path.glob("kmodsmith/e2e/.kmm-*.lock")
        with lock.open() as stream, pytest.raises(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with lock.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not list(tmp_path.glob("kmodsmith/e2e/kmm-*")), "what is there is whole"


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "/", "../etc", "a b", "A", "-a", "a-", "a\n", "é", "x" * 25])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    """What is called by it is removed, with all that is in it."""
    with pytest.raises(SystemExit, match="KMODSMITH_E2E_NAME is .*small letters"):
        name_world(name)


def test_a_world_is_called_by_its_name() -> None:
    assert [name_world(name) for name in ("e2e", "systemd", "x" * 24)] == [
        "kmodsmith-e2e", "kmodsmith-systemd", f"kmodsmith-{'x' * 24}",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "null", '{"outer": "x"}', '{"outer": null, "data_dir": 1}'])
def test_a_state_that_is_half_or_strange_is_no_world(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("integration.kind.world.PLACE", tmp_path)
    (tmp_path / "state.json").write_text(text)
    assert find_world() is None


def test_what_fetches_goes_around_a_world(
    fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A test inside may need a part before anybody has begun to build it."""
    fake_tools.add("around", "echo no network >&2; exit 1")
    monkeypatch.setattr(make, "find_go", lambda: "go")
    monkeypatch.setenv(make.BEYOND, "around --net=x --")
    with pytest.raises(make.BuildError, match=r"sigs.k8s.io/kind cannot be fetched:\nno network"):
        make.sources_of(KIND)
    with pytest.raises(make.BuildError, match="pause cannot be built:\nno network"):
        make._compile(PAUSE, tmp_path, "go", lambda _: None)
    download, build = fake_tools.calls("around")
    assert download == ["--net=x", "--", "go", "mod", "download", "-json", "sigs.k8s.io/kind"]
    assert build[:5] == ["--net=x", "--", "nice", "go", "build"]


def test_runc_is_asked_for_no_more_than_there_is(tmp_path: Path) -> None:
    allowed = runc_wrap._allowed("Name:\tx\nCapBnd:\t000001fffeffffff\n")  # what this machine withholds: SYS_RESOURCE
    assert len(allowed) == 40
    file = tmp_path / "config.json"
    process = {"capabilities": {"bounding": ["CAP_SYS_ADMIN", "CAP_SYS_RESOURCE"]}, "oomScoreAdj": -5}
    file.write_text(json.dumps({"process": process, "mounts": []}))
    runc_wrap._mend(file, allowed, inside="process")
    assert json.loads(file.read_text()) == {
        "process": {"capabilities": {"bounding": ["CAP_SYS_ADMIN"]}, "oomScoreAdj": 0},
        "mounts": [],
    }
    assert runc_wrap._value(["exec", "--process", "f", "id"], "--process", "-p") == "f"
    assert runc_wrap._value(["create", "--bundle=b", "id"], "--bundle", "-b") == "b"
