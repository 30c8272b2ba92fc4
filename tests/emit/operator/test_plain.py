"""Files that are applied: all objects once, in an order that works."""

from __future__ import annotations

import pytest
import yaml
from fakes.operator_facts import operator_facts

from builder.emit.kmm.version import Flavour
from builder.emit.operator.model import make_operator
from builder.emit.operator.plain import emit_plain


@pytest.mark.parametrize("flavour", list(Flavour))
def test_all_objects_are_in_the_files_that_kustomize_reads(flavour: Flavour) -> None:
    objects = make_operator(operator_facts(flavour=flavour))
    files = emit_plain(objects)
    names = yaml.safe_load(files["kustomization.yaml"])["resources"]
    assert [item for name in names for item in yaml.safe_load_all(files[name])] == objects.all
    assert names == sorted(names), "kubectl apply -f takes files by their names"


def test_optional_roles_are_files_that_nobody_applies_by_accident() -> None:
    objects = make_operator(operator_facts())
    files = emit_plain(objects)
    optional = {name: text for name, text in files.items() if name.startswith("optional/")}
    assert list(optional) == ["optional/drain.yaml", "optional/hold-pools.yaml"]
    assert [list(yaml.safe_load_all(text)) for text in optional.values()] == [role.objects for role in objects.optional]
    assert "optional" not in files["kustomization.yaml"]


def test_namespaces_come_before_what_is_in_them() -> None:
    there = set()
    for item in make_operator(operator_facts()).all:
        if item["kind"] == "Namespace":
            there.add(item["metadata"]["name"])
        assert item["metadata"].get("namespace") in {None, *there}
