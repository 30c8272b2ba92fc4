"""What clusters and hosts need to run only images that were signed by the vendor's key. Pure."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from builder.writing import emit_json, emit_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST_KEY = 8192  # config.openshift.io ClusterImagePolicy, publicKey.keyData


def emit_policy(pem: str, repositories: Sequence[str], *, mirrored: Sequence[str] = (), name: str) -> dict[str, str]:
    """Return files by name for hosts (podman, skopeo, CRI-O) and for OpenShift.

    Args:
        pem: the public key.
        repositories: full names without tags; images of others are left alone.
        mirrored: names under which mirrors have them: signatures are looked for where an image is pulled from.
        name: of the policy and of the driver's vendor, DNS-1123.
    """
    key = base64.b64encode(pem.encode()).decode()
    return {
        "policy.json": emit_policy_json(key, repositories),
        "registries.d.yaml": emit_registries_d([*repositories, *mirrored]),
        "clusterimagepolicy.yaml": emit_cluster_policy(key, repositories, name=name),
    }


def emit_policy_json(key: str, repositories: Sequence[str]) -> str:
    """Return /etc/containers/policy.json (containers-policy.json(5)); the key is in it, in base64."""
    demand = [{"type": "sigstoreSigned", "keyData": key, "signedIdentity": {"type": "matchRepoDigestOrExact"}}]
    policy = {
        "default": [{"type": "insecureAcceptAnything"}],
        "transports": {"docker": dict.fromkeys(sorted(repositories), demand)},
    }
    return emit_json(policy)


def emit_registries_d(repositories: Sequence[str]) -> str:
    """Return a file for /etc/containers/registries.d (containers-registries.d(5)): read signatures from registries."""
    places = {repository: {"use-sigstore-attachments": True} for repository in sorted(repositories)}
    return emit_yaml({"docker": places})


def emit_cluster_policy(key: str, repositories: Sequence[str], *, name: str) -> str:
    """Return a ClusterImagePolicy of config.openshift.io/v1: the machine config operator writes both files from it."""
    if len(key) > _LARGEST_KEY:
        raise ValueError(name)
    policy: dict[str, object] = {
        "apiVersion": "config.openshift.io/v1",
        "kind": "ClusterImagePolicy",
        "metadata": {"name": name},
        "spec": {
            "scopes": sorted(repositories),
            "policy": {
                "rootOfTrust": {"policyType": "PublicKey", "publicKey": {"keyData": key}},
                "signedIdentity": {"matchPolicy": "MatchRepoDigestOrExact"},
            },
        },
    }
    return emit_yaml(policy)
