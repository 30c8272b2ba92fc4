"""Which cells may be published, and what they share."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from fakes.list_place import LIST, own_names
from fakes.lists import make_decision
from fakes.published_image import (
    NAME,
    make_published_image,
)
from fakes.registry import FakeRegistry

from builder.evidence.journal import Journal
from builder.plan.decide import Action, Decision, Plan, Reason
from builder.plan.known import OF_KERNELS
from builder.plan.matrix import Selector
from builder.plan.planning import BootOptions
from builder.publish import cells, published

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_weaker_boot_test_than_is_wanted_is_not_published(tmp_path: Path) -> None:
    image = make_published_image(FakeRegistry(), tmp_path)
    journal = Journal(tmp_path / "journal.jsonl")
    boot = image.facts.boot
    assert boot is not None
    digest = image.facts.digest

    def why(wanted: str) -> str:
        project: Any = SimpleNamespace(
            config=SimpleNamespace(publish=SimpleNamespace(require_boot=wanted)), journal=journal
        )
        return cells._why_too_weak(project, make_decision("amd64", str(NAME)), digest)

    assert why("any") == ""
    assert why("secure") == "publish.require_boot wants secure, and no boot test is on record of this image"
    for mode, signed_by, strength in (("plain", "nobody", 0), ("secure", "throwaway", 1), ("secure", "signers", 2)):
        journal.record_boot(replace(boot, mode=mode, signed_by=signed_by))
        assert [not why(wanted) for wanted in ("any", "secure", "signed")] == [
            number <= strength for number in range(3)
        ]
    journal.record_boot(replace(boot, digest=f"sha256:{'0' * 64}"))
    assert why("secure")
    journal.record_boot(replace(boot, passed=False))
    assert why("secure")


def _plan(monkeypatch: pytest.MonkeyPatch, *decisions: Decision) -> None:
    planned = SimpleNamespace(plan=Plan(decisions=decisions))
    for module in (cells, published):
        monkeypatch.setattr(module, "plan_project", lambda *_, **__: planned)


def test_who_belongs_to_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    amd64 = make_decision("amd64", LIST)
    refused = make_decision("arm64", LIST, action=Action.REFUSE, reason=Reason.NO_TOOLKIT, key="")
    for_good = {Reason.EXCLUDED, Reason.DRIVER_EXCLUDES}
    left_out = {Reason(code) for code in OF_KERNELS} | {Reason.KERNEL_INCOMPLETE, Reason.RELEASE_KIND, Reason.KNOWN_BAD}
    members = [refused, *(replace(refused, action=Action.EXCLUDE, reason=reason) for reason in left_out | for_good)]
    for member in members:
        _plan(monkeypatch, amd64, member)
        names = {item.cell.id: own_names(item.cell.kernel.arch.oci) for item in (amd64, member)}
        project: Any = None
        (shared,) = cells.find_lists(project, Selector(), BootOptions(), names, [amd64])
        assert len(shared.members) == (1 if member.reason in for_good else 2), member.reason
        assert shared.is_known_to_wait is (member.action is Action.EXCLUDE and member.reason not in for_good)
