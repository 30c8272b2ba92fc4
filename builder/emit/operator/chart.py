"""The operator as a Helm chart: the very objects, with as few words of Helm's as do. Pure.

Everything has the names of versions.yaml, because drivers' namespaces and what the program is told name the operator's
own. So the chart goes into one namespace, and says so where it is another.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from builder.emit.operator.crd import MIN_KUBE
from builder.emit.operator.plain import CRD_FILE, DRIVERS_FILE, make_plain
from builder.writing import emit_json, emit_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.emit.operator.material import OperatorFacts
    from builder.emit.operator.model import OperatorObjects

_KEEP = "helm.sh/resource-policy"
# They outlive the release: with the kind, or a driver's namespace, drivers would go from their nodes.
_KEPT = frozenset({CRD_FILE, DRIVERS_FILE})


def emit_chart(facts: OperatorFacts, objects: OperatorObjects) -> dict[str, str]:
    """Return files of the chart by name."""
    settings = facts.settings
    values = {_value_name(role.name): False for role in objects.optional}
    files = {
        "Chart.yaml": emit_yaml(_chart(facts)),
        "values.yaml": "".join(f"# {role.because}.\n{_value_name(role.name)}: false\n" for role in objects.optional),
        "values.schema.json": emit_json(_values_schema(values)),
        "templates/00-namespace-is-right.yaml": _guard(settings.namespace_name),
    }
    for name, found in make_plain(objects).items():
        # Helm makes a release's namespace itself, or finds it there.
        written = [_kept(item) if name in _KEPT else item for item in found if item != objects.namespace]
        if written:
            files[f"templates/{name}"] = _escape(emit_yaml(*written))
    for role in objects.optional:
        text = _escape(emit_yaml(*role.objects))
        files[f"templates/optional-{role.name}.yaml"] = (
            f"{{{{- if .Values.{_value_name(role.name)} }}}}\n{text}{{{{- end }}}}\n"
        )
    return files


def _chart(facts: OperatorFacts) -> dict[str, Any]:
    return {
        "apiVersion": "v2",
        "name": facts.settings.name,
        "description": facts.component.summary,
        "type": "application",
        "version": facts.version,
        "appVersion": facts.version,
        "kubeVersion": f">={MIN_KUBE}-0",
        "home": facts.settings.documentation,
        "maintainers": [facts.maintainer],
    }


def _values_schema(values: Mapping[str, bool]) -> dict[str, Any]:
    """Return what values there are: a word that is spelled wrong is an error, and not without effect."""
    return {
        "$schema": "https://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        # Helm puts values that are for all charts there.
        "properties": {name: {"type": "boolean"} for name in values} | {"global": {"type": "object"}},
    }


def _guard(namespace: str) -> str:
    sentence = (
        f"this chart goes into the namespace {namespace}: helm install --create-namespace --namespace {namespace}"
    )
    return f'{{{{- if ne .Release.Namespace "{namespace}" }}}}\n{{{{- fail "{sentence}" }}}}\n{{{{- end }}}}\n'


def _kept(item: dict[str, Any]) -> dict[str, Any]:
    """Return an object that Helm leaves where it is when the release goes."""
    metadata = item["metadata"]
    annotations = {**metadata.get("annotations", {}), _KEEP: "keep"}
    return {**item, "metadata": {**metadata, "annotations": annotations}}


def _escape(text: str) -> str:
    """Return a text that Helm's templates give back as it is."""
    return re.sub(r"\{\{|\}\}", lambda found: f'{{{{ "{found[0]}" }}}}', text)


def _value_name(role: str) -> str:
    first, *rest = role.split("-")
    return first + "".join(word.capitalize() for word in rest)
