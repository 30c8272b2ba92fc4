"""What a policy is about: repositories, and where their mirrors are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from builder.emit.policy.facts import emit_policy_files
from builder.errors import UsageError
from builder.plan.project import open_project
from builder.signing.create import create_image_key

if TYPE_CHECKING:
    from pathlib import Path


def test_signatures_are_looked_for_at_mirrors(project_dir: Path) -> None:
    file = project_dir / "versions.yaml"
    before = file.read_text()
    with pytest.raises(UsageError, match="images are not signed"):
        emit_policy_files(open_project(project_dir))
    made = create_image_key("images", key_folder=project_dir.parent, public_folder=project_dir / "keys")
    file.write_text(before + made.versions_yaml(project_dir))
    with pytest.raises(UsageError, match="nothing has an image in a registry"):
        emit_policy_files(open_project(project_dir))
    mirrors = "registry: {mirrors: [{source: quay.test/org, mirrors: [mirror.test/a]}, {source: other.test, mirrors: [b.test]}]}\n"
    text = before.replace("    vendor: V", "    image: quay.test/org/demo\n    vendor: V") + mirrors
    file.write_text(text + made.versions_yaml(project_dir))
    files = emit_policy_files(open_project(project_dir))
    assert list(yaml.safe_load(files["registries.d.yaml"])["docker"]) == ["mirror.test/a/demo", "quay.test/org/demo"]
    assert list(json.loads(files["policy.json"])["transports"]["docker"]) == ["quay.test/org/demo"]
