"""Building component images: what is refused, whose fault it is, and what a killed run leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fakes.components import Parts


def _failure(parts: Parts) -> tuple[int, str, str, str]:
    """Build, and return exit code, class, code and detail of the one failure."""
    code, (result,) = parts.build()
    assert result["status"] == "failed", result
    failure = result["failure"]
    return code, failure["failure_class"], failure["code"], failure["detail"]


def test_an_image_is_built_proven_started_named_and_recorded(parts: Parts) -> None:
    parts.offer()
    code, (result,) = parts.build()
    assert (code, result["status"], result["digest"]) == (0, "built", parts.digest())
    assert result["self_test"] | {"seconds": 0} == {
        "outcome": "passed", "why": "", "by": "native", "command": ["/bin/plugin", "self-test"], "seconds": 0,
    }  # fmt: skip
    assert list(result["timings"]) == ["wheels", "base", "assemble", "verify", "self-test"]
    key = parts.plan().plan.decisions[0].key
    assert {name: image for name, image in parts.names().items() if "unproven" not in name} == {
        f"localhost/kmodsmith/component:{key}": "plugin-0.1.0-x86_64",
        "localhost/plugin:0.1.0-amd64": "plugin-0.1.0-x86_64",
    }
    assert not [name for name in parts.names() if "unproven" in name]
    recorded = parts.project().journal.components["plugin-0.1.0/x86_64"]
    assert (recorded.key, recorded.digest, recorded.outcome) == (key, parts.digest(), "built")
    assert parts.reasons() == ["skip: up-to-date"]
    assert parts.build()[1][0]["status"] == "skipped"
    assert parts.started() == 1


def test_an_image_that_cannot_be_read_stops_no_other(parts: Parts) -> None:
    parts.declare({"name": "tools"})
    parts.offer()
    exported = parts.store / "plugin-0.1.0-x86_64" / "exported"
    for file in exported.iterdir():
        if file.name != "manifest.json":
            file.write_bytes(file.read_bytes()[:100])
    code, (broken, good) = parts.build()
    assert (broken["status"], good["status"]) == ("failed", "built")
    assert code == broken_code(broken) != 1
    assert broken["failure"]["code"] != "defect"


def broken_code(result: dict[str, Any]) -> int:
    return {"fit": 13, "infrastructure": 17}[result["failure"]["failure_class"]]


def test_an_image_that_vanishes_is_infrastructure(parts: Parts) -> None:
    parts.offer()
    parts.hook("before-push", "echo 'Error: no space left on device' >&2; exit 125")
    code, kind, _, _ = _failure(parts)
    assert (code, kind) == (17, "infrastructure")


def test_a_run_that_was_killed_before_its_journal_is_proven_by_the_next(parts: Parts) -> None:
    parts.offer()
    parts.build()
    journal = parts.project().work_dir / "journal.jsonl"
    journal.unlink()
    assert parts.reasons() == ["prove: not-on-record"]
    _, (result,) = parts.build()
    assert (result["status"], result["digest"]) == ("proven", parts.digest())
    assert parts.project().journal.components["plugin-0.1.0/x86_64"].derived
    assert (parts.reasons(), parts.started()) == (["skip: up-to-date"], 1)


def test_an_image_that_does_not_stand_its_proof_is_built_anew(parts: Parts) -> None:
    parts.offer()
    parts.build()
    (parts.project().work_dir / "journal.jsonl").unlink()
    parts.hook("self-test", "exit 1")
    assert _failure(parts)[:3] == (13, "fit", "self-test-failed")
    assert not [name for name in parts.names() if "component" in name]
    (parts.store / "self-test").unlink()
    assert parts.build()[1][0]["status"] == "built"


def test_a_name_that_was_given_away_is_given_back(parts: Parts) -> None:
    parts.offer()
    parts.build()
    with (parts.store / "names").open("a") as file:
        file.write("localhost/plugin:0.1.0-amd64 6.1.0-9-amd64\n")
    assert parts.reasons() == ["tag: name-missing"]
    assert parts.build()[1][0]["status"] == "tagged"
    assert parts.names()["localhost/plugin:0.1.0-amd64"] == "plugin-0.1.0-x86_64"
    parts.declare(image="localhost/elsewhere/plugin")
    assert parts.reasons() == ["tag: name-missing"], "a name is nothing that an image is made of"
    parts.build()
    assert parts.project().journal.components["plugin-0.1.0/x86_64"].image == "localhost/elsewhere/plugin:0.1.0-amd64"
    assert parts.started() == 1


def test_an_image_whose_name_somebody_takes_meanwhile_is_not_believed(parts: Parts) -> None:
    parts.offer()
    parts.hook("before-inspect", 'for last; do :; done; echo "$last 6.1.0-9-amd64" >>"$store/names"')
    code, kind, word, _ = _failure(parts)
    assert (code, kind, word) == (17, "infrastructure", "image-replaced")


def test_a_strangers_image_never_counts_as_another(parts: Parts) -> None:
    parts.declare(image="quay.test/org/plugin")
    parts.offer()
    parts.build()
    trusted = parts.plan().plan.decisions[0]
    stranger = parts.plan(untrusted=True).plan.decisions[0]
    assert (stranger.action, stranger.image) == ("build", "localhost/untrusted/plugin:0.1.0-amd64")
    assert stranger.key != trusted.key
    parts.offer(untrusted=True)
    code, (result,) = parts.build("--untrusted")
    assert (code, result["status"]) == (0, "built")
    parts.offer()
    assert parts.reasons() == ["skip: up-to-date"], "and what is trusted has its own journal"
    labels = [word for call in parts.bench.calls("build") for word in call if word.startswith("io.kmodsmith.untrusted")]
    assert labels == ["io.kmodsmith.untrusted=yes"]
