"""The verb verify."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fakes.image_keys import make_image_signer
from fakes.published_image import SIGNER

if TYPE_CHECKING:
    from fakes.bench import Bench
    from fakes.registry import FakeRegistry

_ONE = ("--kernel", "6.1.0-10-amd64")
_IMAGE = "quay.test/demo:1.2.0-6.1.0-10-amd64"


def test_an_image_is_verified_with_nothing_but_a_key(bench: Bench, registry: FakeRegistry) -> None:
    bench.build(*_ONE)
    assert bench.run("publish", *_ONE)[0] == 0
    (bench.folder / "key.pub").write_text(SIGNER.key.pem)
    code, out, err = bench.run("verify", _IMAGE, "--key", str(bench.folder / "key.pub"), "--json")
    report = json.loads(out)
    found = {check["name"]: check["passed"] for check in report["checks"]}
    assert (code, found["signature"], report["passed"]) == (16, True, False), out + err
    code, out, _ = bench.run("verify", _IMAGE, "--key", str(bench.folder / "key.pub"))
    assert (code, "NOT to be trusted" in out) == (16, True), "it carries no labels that its provenance could agree with"
    (bench.folder / "other.pub").write_text(make_image_signer().key.pem)
    code, out, _ = bench.run("verify", _IMAGE, "--key", str(bench.folder / "other.pub"), "--json")
    assert (code, {check["name"]: check["passed"] for check in json.loads(out)["checks"]}["signature"]) == (16, False)
    code, _, err = bench.run("verify", "quay.test/demo:absent", "--key", str(bench.folder / "key.pub"))
    assert (code, "quay.test" in err) == (7, True)
