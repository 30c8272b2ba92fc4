"""The verb certify."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fakes.bundle import annotate, bundle_files

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench
    from fakes.components import Parts

_IMAGE = "localhost/demo:1.2.0-6.1.0-10-amd64"


def test_one_image_of_the_store(bench: Bench) -> None:
    bench.build()
    code, out, _ = bench.run("certify", _IMAGE, "--json")
    (found,) = json.loads(out)["subjects"]
    assert (code, found["policy"], found["refused"]) == (0, "scratch-root", False)
    assert [check["state"] for check in found["checks"]] == ["passed"] * 6
    code, out, _ = bench.run("certify", _IMAGE, "--policy", "container")
    assert (code, "error" in out, "it has no RPM database" in out, "BasedOnUbi" in out) == (21, True, True, True)
    code, _, err = bench.run("certify", "localhost/nothing:1")
    assert (code, "the container store has no image localhost/nothing:1" in err) == (2, True)


def test_all_that_is_built_and_what_is_not(bench: Bench) -> None:
    code, out, _ = bench.run("certify")
    assert (code, "not judged: demo-1.2.0/" in out) == (19, True)
    bench.build("--kernel", "6.1.0-10-*")
    code, out, _ = bench.run("certify", "--json")
    data = json.loads(out)
    names = [item["subject"] for item in data["subjects"]]
    assert code == 0
    assert _IMAGE in names
    assert data["left_out"]
    assert all(item["digest"] == bench.digest(item["subject"].partition("1.2.0-")[2]) for item in data["subjects"])
    assert bench.run("certify", "--kernel", "6.1.0-10-amd64")[1].count("demo:1.2.0") == 1


def test_component_images(parts: Parts) -> None:
    parts.declare()
    parts.offer()
    parts.build()
    code, out, _ = parts.bench.run("certify", "--component", "*", "--json")
    (found,) = json.loads(out)["subjects"]
    assert (code, found["project"], found["digest"]) == (0, "plugin", parts.digest())


def _write_bundle(folder: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return str(folder)


def test_a_bundle_and_what_is_submitted(bench: Bench, tmp_path: Path) -> None:
    folder = _write_bundle(tmp_path / "bundle", bundle_files())
    code, out, err = bench.run("certify", "--bundle", folder, "--write", str(tmp_path / "out"))
    assert (code, "DeployableByOLM" in out, "certification.json" in err) == (0, True, True)
    written = {str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert "certified-operators/operators/demo/ci.yaml" in written
    wrong = _write_bundle(tmp_path / "wrong", bundle_files(annotate("categories", "Nothing")))
    code, out, _ = bench.run("certify", "--bundle", wrong)
    assert (code, "no standard category" in out) == (21, True)
    code, _, err = bench.run("certify", "--bundle", str(tmp_path / "nowhere"))
    assert (code, "is no bundle of an operator" in err) == (2, True)


def test_what_excludes_each_other(bench: Bench) -> None:
    for words in (("--published", _IMAGE), ("--driver", "demo", _IMAGE), ("--published", "--component", "x")):
        assert bench.run("certify", *words)[0] == 2
