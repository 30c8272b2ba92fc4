"""Tasks: nothing from outside in a script, results and parameters that there are, keys in one container."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fakes.tekton_facts import EVERYTHING, tekton_facts

from builder.emit.tekton.tasks import make_tasks

_FULL = make_tasks(tekton_facts(**EVERYTHING))
_LEAST = make_tasks(tekton_facts())


def _containers(task: dict[str, Any]) -> list[dict[str, Any]]:
    return [*task["spec"]["steps"], *task["spec"].get("sidecars", [])]


@pytest.mark.parametrize("word", _FULL)
def test_no_parameter_is_text_of_a_script(word: str) -> None:
    for container in _containers(_FULL[word]):
        script = container.get("script", "")
        assert not re.search(r"\$\((params|results|workspaces|context|steps|tasks)\.", script)
        assert ("script" in container) != ("command" in container), "Tekton would ask the registry what to start"
        assert "args" not in container or "script" not in container


@pytest.mark.parametrize("word", _FULL)
def test_what_is_read_is_declared(word: str) -> None:
    spec = _FULL[word]["spec"]
    text = str(_containers(_FULL[word]))
    params = {item["name"] for item in spec.get("params", [])}
    assert set(re.findall(r"\$\(params\.([a-z0-9-]+)", text)) == params, "and what is declared is read"
    results = {item["name"] for item in spec.get("results", [])}
    assert set(re.findall(r"\$\(results\.([A-Za-z_-]+)\.path\)", text)) <= results
    workspaces = {item["name"] for item in spec.get("workspaces", [])}
    assert set(re.findall(r"\$\(workspaces\.([a-z-]+)\.", text)) == workspaces
    volumes = {item["name"] for item in spec["volumes"]}
    mounted = {item["name"] for container in _containers(_FULL[word]) for item in container["volumeMounts"]}
    assert mounted == volumes
    names = [container["name"] for container in _containers(_FULL[word])]
    assert len(set(names)) == len(names)


def test_keys_are_in_the_container_that_signs_and_nowhere_else() -> None:
    for word, task in _FULL.items():
        with_keys = [item["name"] for item in _containers(task) if "keys" in {m["name"] for m in item["volumeMounts"]}]
        assert with_keys == (["signer"] if word in {"shard", "gate"} else [])
    signer = _FULL["shard"]["spec"]["sidecars"][0]
    assert "registry" not in {mount["name"] for mount in signer["volumeMounts"]}
    assert {"name": "KMODSMITH_KEY_SOCKET", "value": "/run/kmodsmith/keys.sock"} in _FULL["shard"]["spec"]["steps"][0][
        "env"
    ]
    secret = next(item["secret"] for item in _FULL["shard"]["spec"]["volumes"] if item["name"] == "keys")
    assert [item["key"] for item in secret["items"]] == ["2024.pem", "production.pem", "images.pem"]
    assert '--key 2024="$HOME"/2024.pem --key production="$HOME"/production.pem --images' in signer["script"]


def test_without_keys_nobody_signs() -> None:
    for task in _LEAST.values():
        assert "sidecars" not in task["spec"]
        assert "KMODSMITH_KEY_SOCKET" not in str(task)
        assert "keys" not in {volume["name"] for volume in task["spec"]["volumes"]}


def test_strangers_changes_get_no_secret() -> None:
    for word in ("try", "lint"):
        spec = _FULL[word]["spec"]
        assert not [volume for volume in spec["volumes"] if "secret" in volume]
        assert "--untrusted" in str(spec["steps"])


def test_strangers_changes_only_read_what_others_compiled() -> None:
    shared = {"name": "compile-cache", "mountPath": "/work/cache/kmodsmith/compile-cache"}
    for word, read_only in (("shard", False), ("try", True)):
        spec = _FULL[word]["spec"]
        claim = {"claimName": "compiled", "readOnly": read_only}
        assert {"name": "compile-cache", "persistentVolumeClaim": claim} in spec["volumes"]
        (step,) = (step for step in spec["steps"] if step["name"] in {"shard", "build"})
        assert shared | {"readOnly": read_only} in step["volumeMounts"]
    assert {word for word, task in _FULL.items() if "compile-cache" in str(task)} == {"shard", "try"}
    assert "compile-cache" not in str(_LEAST)


def test_only_what_compiles_is_root_and_asks_for_much() -> None:
    big = {"shard": "shard", "try": "build"}
    for word, task in _FULL.items():
        for step in task["spec"]["steps"]:
            rights = step["securityContext"]
            if step["name"] == big.get(word):
                assert rights["runAsUser"] == 0
                assert step["computeResources"]["limits"]["devices.kubevirt.io/kvm"] == "1"
                continue
            assert rights["runAsNonRoot"]
            assert rights["readOnlyRootFilesystem"]
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert step["computeResources"] == {"requests": {"cpu": "100m", "memory": "128Mi"}}


def test_root_is_of_a_user_namespace_unless_somebody_said_otherwise() -> None:
    apart = _LEAST["shard"]["spec"]["steps"][0]["securityContext"]
    # A cluster whose Tekton drops hostUsers refuses the pod for this: it is never root of a node by mistake.
    assert (apart["privileged"], apart["procMount"]) == (False, "Unmasked")
    rights = make_tasks(tekton_facts(isolation="privileged"))["shard"]["spec"]["steps"][0]["securityContext"]
    assert rights == {"privileged": True, "runAsNonRoot": False, "runAsUser": 0}


def test_a_cell_that_fails_leaves_evidence_and_a_source_that_is_silent_stops_nobody() -> None:
    going_on = {
        (word, step["name"]) for word, task in _FULL.items() for step in task["spec"]["steps"] if "onError" in step
    }
    assert going_on == {("shard", "shard"), ("discover", "discover")}
    assert [step["name"] for step in _FULL["discover"]["spec"]["steps"]] == ["fetch", "discover", "plan", "tell"]


def test_results_of_a_plan_stay_small() -> None:
    """Tekton takes 4096 bytes of all results of a step together: 64 shards, twice, and the rest."""
    shards = '["' + '","'.join(str(number) for number in range(64)) + '"]'
    digest = "sha256:" + "0" * 64
    written = {"PLAN_ARTIFACT": "oci:" + "r" * 200 + "@" + digest, "shards": shards, "count": "64"}
    written |= {"PLAN_ARTIFACT_URI": "r" * 200, "PLAN_ARTIFACT_DIGEST": digest}
    written |= {f"{key}-{arch}": "64" for key in ("count",) for arch in ("amd64", "arm64", "ppc64le", "s390x")}
    written |= {"shards-amd64": shards}
    assert sum(len(key) + len(value) + 60 for key, value in written.items()) < 4096


def test_words_for_chains_are_its_own() -> None:
    for word in ("plan", "discover"):
        names = {item["name"] for item in _FULL[word]["spec"]["results"]}
        assert {"CHAINS-GIT_URL", "CHAINS-GIT_COMMIT", "PLAN_ARTIFACT_URI", "PLAN_ARTIFACT_DIGEST"} <= names
    for word in ("shard", "gate"):
        names = {item["name"] for item in _FULL[word]["spec"]["results"]}
        assert {"EVIDENCE_ARTIFACT_URI", "EVIDENCE_ARTIFACT_DIGEST"} <= names
