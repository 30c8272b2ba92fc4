"""Pieces of pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.tekton_facts import BUILDER, tekton_facts

from builder.emit.tekton.pods import make_fetch, make_script, make_signers, make_step, make_volumes

if TYPE_CHECKING:
    from typing import Any


def test_scripts_stop_at_the_first_mistake() -> None:
    script = make_script(tekton_facts(), "x", ["false", "true"], {})["script"]
    assert script == "#!/bin/sh\nset -eu\nfalse\ntrue\n"


def test_what_is_written_goes_into_volumes() -> None:
    step = make_step(tekton_facts(), "x", ["a"])
    mounts = [mount["mountPath"] for mount in step["volumeMounts"]]
    for variable in step["env"]:
        if variable["name"] == "KMODSMITH_BUILDER_IMAGE":
            assert variable["value"] == BUILDER
            continue
        assert any(variable["value"].startswith(f"{place}/") for place in mounts), variable


@pytest.mark.parametrize("said", [{}, {"signers": ("a",)}, {"signs_images": True}], ids=str)
def test_the_signer_serves_the_keys_that_there_are(said: dict[str, Any]) -> None:
    facts = tekton_facts(**said)
    names = [item["name"] for item in make_volumes(facts, signs=True)]
    assert ("keys" in names) == bool(make_signers(facts)) == bool(said)


def test_a_revision_and_an_address_are_no_options_of_git() -> None:
    script = make_fetch(tekton_facts())["script"]
    assert 'fetch --quiet --depth 1 -- "$REPO_URL" "$REVISION"' in script


def test_authorities_reach_every_program_that_speaks_tls() -> None:
    facts = tekton_facts(authorities="trusted")
    step = make_step(facts, "x", ["a"])
    told = {item["name"]: item["value"] for item in step["env"]}
    assert {told[name] for name in ("SSL_CERT_FILE", "GIT_SSL_CAINFO", "PIP_CERT")} == {"/authorities/ca-bundle.crt"}
    assert {"name": "authorities", "mountPath": "/authorities", "readOnly": True} in step["volumeMounts"]
    assert make_volumes(facts)[-1]["configMap"]["name"] == "trusted"
    assert "authorities" not in str(make_step(tekton_facts(), "x", ["a"])) + str(make_volumes(tekton_facts()))


def test_disks_are_bounded() -> None:
    volumes = {item["name"]: item for item in make_volumes(tekton_facts(), builds=True)}
    assert volumes["work"]["emptyDir"] == volumes["store"]["emptyDir"] == {"sizeLimit": "40Gi"}
