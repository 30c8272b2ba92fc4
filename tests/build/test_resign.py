"""The verb sign on an image, with a buildah on PATH that pretends."""

from __future__ import annotations

import contextlib
import json
import shutil
from itertools import pairwise
from typing import TYPE_CHECKING

from fakes.samples import LABELS, Sample, image_entries, write_sample_image
from fakes.signers import make_signer as in_memory_signer

from builder.signing.log import SigningLog
from builder.signing.modules import SigningJob

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from fakes.bench import Bench
    from fakes.tools import FakeTools

_KERNEL = "6.1.0-10-amd64"
_IMAGE = f"localhost/demo:1.2.0-{_KERNEL}"


def _offer_labelled(bench: Bench, labels: dict[str, str]) -> None:
    """Put an image with labels into the pretended store."""
    exported = bench.store / _KERNEL / "exported"
    shutil.rmtree(exported)
    entries = image_entries({"extra/demo.ko": Sample(kernel=_KERNEL).write()}, _KERNEL)
    layout = write_sample_image(bench.store / "labelled", [entries], LABELS | {"release": _KERNEL} | labels)
    digest: str = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    shutil.copytree(layout / "blobs" / "sha256", exported)
    (exported / digest.removeprefix("sha256:")).rename(exported / "manifest.json")
    (bench.store / "names").write_text(f"{_IMAGE} {_KERNEL}\n")


def test_an_image_with_other_signatures_is_no_cell_any_more(
    bench: Bench,
    fake_tools: FakeTools,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its key says who signed: with the old one it would be taken for the cell, by publish and by other machines."""
    cell = f"demo-1.2.0/{_KERNEL}"
    _offer_labelled(bench, {"io.kmodsmith.cell": cell, "io.kmodsmith.cell.key": "k" * 64})

    @contextlib.contextmanager
    def sign(*_: object, cell: str) -> Iterator[SigningJob]:
        yield SigningJob(signers=[in_memory_signer()], log=SigningLog(bench.folder / "log"), cell=cell, run="r")

    monkeypatch.setattr("builder.build.resign._signing", sign)
    bench.run("sign", "--signer", "vendor", _IMAGE, "--tag", "localhost/demo:signed")
    (build,) = [call for call in fake_tools.calls("buildah") if "--label" in call]
    given = {option: {after for word, after in pairwise(build) if word == option} for option in build}
    assert {"io.kmodsmith.cell.key=", "io.kmodsmith.cell="} <= given["--label"] & given["--annotation"]
    assert {f"io.kmodsmith.origin.digest={bench.digest(_KERNEL)}", f"io.kmodsmith.origin.cell={cell}"} <= given[
        "--label"
    ]
    assert any(label.startswith("io.kmodsmith.signer.sha256=") and len(label) > 70 for label in given["--label"])
    assert "k" * 64 not in " ".join(build)
