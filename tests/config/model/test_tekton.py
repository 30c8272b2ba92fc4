"""Pipelines on a cluster: what their objects can have, and where no secret may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.versions_yaml import TEKTON, find_mistakes, load, write_tekton

if TYPE_CHECKING:
    from pathlib import Path


def test_pipelines_have_defaults(project_dir: Path) -> None:
    write_tekton(project_dir)
    settings = load(project_dir).tekton
    assert settings is not None
    assert (settings.namespace_name, settings.shards, settings.isolation) == ("kmodsmith", 8, "user-namespaces")


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("  shards: 65\n", "tekton.shards"),
        ("  shards: 0\n", "tekton.shards"),
        ("  arches: [x86_64, x86_64]\n", "arches names one twice"),
        ("  node_selectors: {aarch64: {a: b}}\n", "node_selectors: aarch64 is none of arches"),
        ("  node_selectors: {x86_64: {kubernetes.io/arch: amd64}}\n", "is what arches is about"),
        ("  schedule: daily\n", "tekton.schedule"),
        ('  schedule: "17 2 * *"\n', "tekton.schedule"),
        ('  schedule: "17 2 * * *\\n"\n', "tekton.schedule"),
        ("  time_zone: ../etc/passwd\n", "tekton.time_zone"),
        ("  project: ../elsewhere\n", "tekton.project"),
        ("  project: /root\n", "tekton.project"),
        ("  revision: --upload-pack=x\n", "tekton.revision"),
        ("  isolation: none\n", "tekton.isolation"),
        ("  resources: {memory: 4GB}\n", "tekton.resources.memory"),
        ("  minutes: {shard: 1}\n", "tekton.minutes.shard"),
        ("  minutes: {shards: 1}\n", "tekton.minutes.shards"),
        ("  resources: {disc: 4Gi}\n", "tekton.resources.disc"),
        ("  name: a-name-that-is-too-long-for-its-objects\n", "tekton.name"),
        ("  nightly: true\n", "tekton.nightly"),
    ],
)
def test_what_is_wrong_with_pipelines_is_told(project_dir: Path, text: str, mistake: str) -> None:
    write_tekton(project_dir, text)
    assert mistake in "; ".join(find_mistakes(project_dir))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("builder", "quay.test/org/builder:latest"),
        ("repository", "quay.test/org/plans:tag"),
        ("source", "https://me:secret@git.test/org/drivers.git"),
        ("source", "https:///org"),
        ("source", "ext::sh -c id"),
        ("source", "https://git.test/$(params.x)"),
        ("source", "file:///etc"),
    ],
)
def test_addresses_of_pipelines_are_whole_and_without_secrets(project_dir: Path, key: str, value: str) -> None:
    write_tekton(project_dir)
    file = project_dir / "versions.yaml"
    lines = [
        f"  {key}: '{value}'" if line.startswith(f"  {key}: ") and line in TEKTON.splitlines() else line
        for line in file.read_text().splitlines()
    ]
    file.write_text("\n".join(lines) + "\n")
    told = find_mistakes(project_dir)
    assert [sentence for sentence in told if sentence.startswith(f"tekton.{key}")], told
    assert "secret" not in "; ".join(told) or "me:" not in "; ".join(told)
