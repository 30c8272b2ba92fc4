"""An index as a ConfigMap. Pure."""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass

from builder.errors import UsageError
from builder.writing import emit_yaml

_KEY = "index.json.gz"
# What the API server takes in a ConfigMap (k8s.io/kubernetes, pkg/apis/core/validation, MaxSecretSize); etcd's limit
# for a whole request is half a MiB above, and binaryData has a third more bytes in it.
_MOST = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexMap:
    """A driver's index, and where its operator looks for it."""

    driver: str
    namespace: str
    envelope: bytes


def emit_index_map(index: IndexMap) -> str:
    """Return a ConfigMap with the signed bytes; the same bytes give the same file.

    Raises:
        UsageError: no cluster takes a ConfigMap of this size.
    """
    packed = gzip.compress(index.envelope, compresslevel=9, mtime=0)
    if len(packed) > _MOST:
        raise UsageError(
            f"the index of {index.driver} has {len(packed)} bytes when packed, and a ConfigMap takes {_MOST}",
            hint="bring it into a registry that the cluster reaches ('nox -s bundle' takes it along), and name it in "
            "spec.index.image",
        )
    return emit_yaml(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{index.driver}-index", "namespace": index.namespace},
            "binaryData": {_KEY: base64.b64encode(packed).decode()},
        }
    )
