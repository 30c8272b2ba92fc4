"""Labels by which a registry alone tells what an image was made of, and whose fault it is that there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.outcomes import RESULTS
from fakes.signers import make_signer

from builder.build.assemble import assemble_image, image_labels
from builder.errors import CellError, FailureClass
from builder.host.run import Command
from builder.plan.decide import UNTRUSTED, CellInputs
from builder.store.build import REFUSING_RUNTIME

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

_INPUTS = CellInputs(
    source="s", containerfile="c", recipe="r", toolkit="t", base="b", driver="demo 1.0.0", kernel="6.1.0-9-amd64"
)
_DECISION = replace(RESULTS[0].decision, inputs=_INPUTS, key="k" * 64)


def test_what_an_unsigned_image_says_of_itself() -> None:
    labels = image_labels(_DECISION, [])
    assert {name.removeprefix("io.kmodsmith."): value for name, value in labels.items()} == {
        "cell": _DECISION.cell.id,
        "cell.key": "k" * 64,
        "kernel": "6.1.0-9-amd64",
        "kernel.variant": "standard",
        "source.digest": "s",
        "toolkit.id": "t",
        "signed": "no",
    }


def test_signers_reuse_and_distrust_are_said() -> None:
    signer = make_signer().identity
    labels = image_labels(replace(_DECISION, inputs=replace(_INPUTS, compiled_for="6.1.0-8-amd64")), [signer])
    assert labels["io.kmodsmith.signed"] == "yes"
    assert labels["io.kmodsmith.signer.sha256"] == signer.certificate.fingerprint
    assert "6.1.0-8-amd64" in labels.values()
    distrusted = image_labels(replace(_DECISION, inputs=replace(_INPUTS, signers=UNTRUSTED)), [])
    assert distrusted["io.kmodsmith.untrusted"] == "yes"
    assert "io.kmodsmith.untrusted" not in labels


class _Build:
    def assemble(self, _modules: Path, *, id_file: Path, **_: Any) -> Command:
        return Command(argv=("buildah", str(id_file)))


def _assemble(folder: Path) -> str:
    build: Any = _Build()
    return assemble_image(build, _DECISION, folder / "modules", name="n", signers=[])


def test_an_image_is_known_by_its_id(fake_tools: FakeTools, tmp_path: Path) -> None:
    fake_tools.add("buildah", 'echo sha256:abc >"$1"')
    assert _assemble(tmp_path) == "abc"


@pytest.mark.parametrize(
    ("printed", "kind", "code"),
    [
        (REFUSING_RUNTIME, FailureClass.COMPILE, "last-stage-runs"),
        (f"+ buildah build --runtime {REFUSING_RUNTIME} .\nError: locked", FailureClass.INFRASTRUCTURE, "assemble"),
        ("Error: database is locked", FailureClass.INFRASTRUCTURE, "assemble"),
        ("Error: COPY --from=x: no stage or image found with that name", FailureClass.COMPILE, "containerfile"),
    ],
)
def test_only_a_last_stage_that_runs_something_is_the_drivers_fault(
    fake_tools: FakeTools, tmp_path: Path, printed: str, kind: FailureClass, code: str
) -> None:
    fake_tools.add("buildah", f"echo '{printed}' >&2; exit 125")
    with pytest.raises(CellError) as caught:
        _assemble(tmp_path)
    assert (caught.value.failure.failure_class, caught.value.failure.code) == (kind, code)
