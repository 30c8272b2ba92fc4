"""The page and its pictures."""

from __future__ import annotations

from fakes.tekton_facts import EVERYTHING, tekton_facts

from builder.emit.tekton.pipelines import make_pipelines
from builder.emit.tekton.readme import emit_readme
from builder.emit.tekton.tasks import make_tasks


def _page(**said: object) -> str:
    facts = tekton_facts(**said)  # type: ignore[arg-type]
    return emit_readme(facts, make_tasks(facts), make_pipelines(facts), folder="pipelines")


def test_pictures_have_what_waits_for_what() -> None:
    page = _page(**EVERYTHING)
    for line in (
        "  plan --> shards_amd64", "  plan --> shards_arm64", "  lint --> plan", "  shards_arm64 -.-> gate",
        '  shards_arm64["shards-arm64 (0 to n)"]', "  lint --> build",
    ):  # fmt: skip
        assert line in page.splitlines(), line
    assert "  plan -.-> gate" not in page.splitlines(), "shards stand between them"
    assert page.count("```mermaid") == 4


def test_a_secret_for_keys_is_named_where_there_are_keys() -> None:
    assert "kmodsmith-signing" in _page(signers=("a",))
    assert "kmodsmith-signing" not in _page()
