"""Registries as versions.yaml describes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from builder.plan.project import open_project
from builder.registry.access import open_registries

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.site import Site


def test_registries_as_versions_yaml_describes_them(site: Site, tmp_path: Path) -> None:
    (site.folder / "pull-secret.json").write_text(json.dumps({"auths": {"quay.test": {"auth": "dTpzZWNyZXQ="}}}))
    site.edit(
        registry={
            "auth_files": ["pull-secret.json"], "plain_http": ["local:5000"], "unverified_tls": ["old.test"],
            "mirrors": [{"source": "quay.test/org", "mirrors": ["mirror.test/org"], "mirrorSourcePolicy": "NeverContactSource"}],
        }
    )  # fmt: skip
    access = open_registries(open_project(site.folder).config.registry, site.folder, tmp_path)
    assert access.without_verification == {"local:5000", "old.test"}
    from builder.pullspec import parse_pullspec

    assert access.credentials.find(parse_pullspec("quay.test/a:1")) == "u:secret"
    assert [str(place) for place in access.registry.places(parse_pullspec("quay.test/org/a:1"))] == [
        "mirror.test/org/a:1"
    ]
