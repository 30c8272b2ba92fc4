"""What ``nox -s e2e`` does before there is a cluster: whose it uses, and what makes it build anew."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import time
from typing import TYPE_CHECKING

import pytest
import yaml

from integration.kind import e2e, runc_wrap
from integration.kind.recipe import API_SERVER, ETCD, NODE

if TYPE_CHECKING:
    from pathlib import Path


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
