"""Policies for what a cluster may pull: ours signed, everything else as before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from fakes.schemas import SchemaViolation, validate

from builder.emit.policy.files import emit_policy


def test_policies_are_for_our_repositories_only() -> None:
    files = emit_policy("-----BEGIN PUBLIC KEY-----" * 5, ["quay.test/org/b", "quay.test/org/a"], name="kmodsmith-drv")
    policy = json.loads(files["policy.json"])
    assert policy["default"] == [{"type": "insecureAcceptAnything"}]
    assert list(policy["transports"]["docker"]) == ["quay.test/org/a", "quay.test/org/b"]
    assert policy["transports"]["docker"]["quay.test/org/a"][0]["signedIdentity"] == {"type": "matchRepoDigestOrExact"}
    assert yaml.safe_load(files["registries.d.yaml"])["docker"]["quay.test/org/a"] == {"use-sigstore-attachments": True}
    mirrored = emit_policy("PEM", ["quay.test/org/a"], mirrored=["mirror.test/quay/org/a"], name="x")
    assert list(yaml.safe_load(mirrored["registries.d.yaml"])["docker"]) == [
        "mirror.test/quay/org/a",
        "quay.test/org/a",
    ]
    assert list(json.loads(mirrored["policy.json"])["transports"]["docker"]) == ["quay.test/org/a"]
    cluster = yaml.safe_load(files["clusterimagepolicy.yaml"])
    file = Path(__file__).parents[2] / "data" / "openshift-api" / "clusterimagepolicy.json"
    schema = json.loads(file.read_text())["schema"]
    validate(cluster, schema)
    with pytest.raises(SchemaViolation):
        validate(cluster | {"spec": cluster["spec"] | {"scope": []}}, schema)
    assert cluster["spec"]["policy"]["rootOfTrust"]["publicKey"]["keyData"].startswith("LS0tLS1CRUdJTiBQVUJMSUMgS0VZ")
