from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fakes.bundle import make_good_bundle, put

from builder.certify.bundle import judge_bundle
from builder.certify.policies import Certification, CheckState, CheckVerdict, Policy, PolicyCheck
from builder.certify.submission import emit_certification_json, make_submission, variable_of
from builder.errors import FormatError
from builder.publish.published import LeftOutCell

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = "quay.io/mycompany/my-driver:1.0-6.12"


def _item(state: CheckState = CheckState.PASSED, **changes: Any) -> Certification:
    check = CheckVerdict(check=PolicyCheck.HAS_LICENSE, state=state, sentence="a\nsentence; rm -rf /")
    given = {"subject": _NAME, "digest": "sha256:" + "a" * 64, "arch": "amd64", "policy": Policy.ROOT, "because": "b",
             "checks": [check], "project": "my-driver", "tags": [_NAME]}  # fmt: skip
    return Certification(**{**given, **changes})


def _commands(*items: Certification) -> list[str]:
    script = make_submission(items, [])["submit.sh"]
    return [line for line in script.splitlines() if line and not line.startswith(("#", ":"))]


def test_each_image_that_would_pass_has_a_command() -> None:
    words = f"preflight check container {_NAME} --platform amd64 --submit --certification-component-id"
    assert _commands(_item()) == ["set -eu", f'{words} "${{COMPONENT_ID_MY_DRIVER}}"']


@pytest.mark.parametrize(
    "item", [_item(CheckState.FAILED), _item(CheckState.ERROR), _item(tags=[]), _item(tags=["localhost/a:1"])]
)
def test_what_would_be_refused_or_has_no_registry_is_not_sent(item: Certification) -> None:
    assert _commands(item) == ["set -eu"]
    assert "# not sent, because" in make_submission([item], [])["submit.sh"]


def test_names_of_strangers_stay_words_of_the_script() -> None:
    hostile = _item(tags=["quay.io/a:$(id)"], subject="x\n$(id)", project="a b;c")
    assert "'quay.io/a:$(id)'" in _commands(hostile)[1]
    assert variable_of("a b;c") == "COMPONENT_ID_A_B_C"
    assert not [line for line in _commands(hostile) if line.startswith("$(")]


def test_a_bundle_becomes_a_pull_request() -> None:
    bundle = make_good_bundle()
    files = make_submission([judge_bundle(bundle, "demo")], [bundle])
    root = "certified-operators/operators/demo"
    assert set(files) == {"certification.json", f"{root}/ci.yaml", *(f"{root}/1.0.0/{name}" for name in bundle.files)}
    assert yaml.safe_load(files[f"{root}/ci.yaml"]) == {"cert_project_id": "", "merge": False}


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (None, {"annotations": {"operators.operatorframework.io.bundle.package.v1": "../x"}}),
        (put("spec.version", "../../x"), {}),
        (None, {"more": {"manifests/x.yaml": b"a: ["}}),
    ],
)
def test_a_bundle_that_names_no_folder_is_refused(
    change: Callable[[dict[str, Any]], object] | None, options: dict[str, Any]
) -> None:
    with pytest.raises(FormatError, match="cannot be submitted"):
        make_submission([], [make_good_bundle(change, **options)])


def test_json_says_what_counts_and_what_is_not_judged() -> None:
    unknown = CheckVerdict(check=PolicyCheck.RESTRICTED_NETWORK, state=CheckState.NOT_JUDGED, sentence="s")
    left = LeftOutCell(cell="c", why="w")
    data = json.loads(emit_certification_json([_item(), _item(CheckState.ERROR, checks=[unknown])], [left]))
    assert (data["format"], data["refused"], data["left_out"]) == (1, 0, [{"cell": "c", "why": "w"}])
    assert [item["not_judged"] for item in data["subjects"]] == [[], ["FollowsRestrictedNetworkEnablementGuidelines"]]
    assert data["subjects"][1]["checks"][0]["enforced"] is False
