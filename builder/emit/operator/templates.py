"""What the operator is told of its drivers: the file that its pod reads. Pure.

``operator/kmod_operator/rollout/template.py`` is the other side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.config.model.names import is_label_value
from builder.emit.deviceplugin.files import make_daemon_set
from builder.emit.deviceplugin.smoke import make_smoke_pod
from builder.emit.kmm.files import make_module
from builder.emit.kmm.problem import Severity
from builder.emit.kmm.rules import find_problems
from builder.emit.nfd.devices import make_device_terms
from builder.emit.nfd.files import NfdFacts, make_rule
from builder.emit.operator.crd import API_VERSION
from builder.errors import UsageError

if TYPE_CHECKING:
    from builder.emit.operator.material import DriverFacts, OperatorFacts

FORMAT = 1
# KMM refuses a Module without mappings: what the index has for the cluster's kernels takes its place.
_SAMPLE = {"literal": "0.0.0-0", "containerImage": f"registry.invalid/driver@sha256:{'0' * 64}"}


def make_templates(facts: OperatorFacts) -> dict[str, Any]:
    """Return the file's content.

    Raises:
        UsageError: KMM would refuse a driver's Module, because of what versions.yaml says.
    """
    settings = facts.settings
    return {
        "format": FORMAT,
        "group": settings.group,
        "version": API_VERSION,
        "kind": settings.kind,
        "plural": settings.plural_name,
        "namespace": settings.namespace_name,
        "keys": list(facts.keys),
        "drivers": {item.driver.name: _make_driver(item, facts) for item in facts.drivers},
    }


def _make_driver(item: DriverFacts, facts: OperatorFacts) -> dict[str, Any]:
    nfd = NfdFacts(driver=item.driver, aliases=item.aliases, kernels=())
    rule = make_rule(nfd, make_device_terms(item.aliases), facts.flavour)
    plugin = item.plugin
    resource = ""
    if plugin:
        resource = plugin.plugin.resource + (".shared" if plugin.plugin.replicas > 1 else "")
    smoke = make_smoke_pod(plugin) if plugin else None
    return {
        "namespace": item.kmm.namespace,
        "module": _make_module(item, facts),
        "plugin": [make_daemon_set(plugin)] if plugin else [],
        "rules": [rule],
        "resource": resource,
        **({"smoke": smoke} if smoke else {}),
    }


def _make_module(item: DriverFacts, facts: OperatorFacts) -> dict[str, Any]:
    module = make_module(item.kmm, facts.kmm_version, facts.flavour)
    name, version = item.driver.name, item.driver.version
    if not is_label_value(version):
        raise UsageError(
            f"version {version!r} of driver {name} cannot be the value of a label, and by one KMM knows which nodes "
            "get it",
            hint="take letters, digits, '.', '_' and '-' for its version in versions.yaml",
        )
    container = module["spec"]["moduleLoader"]["container"]
    tried = module | {
        "spec": module["spec"]
        | {"moduleLoader": module["spec"]["moduleLoader"] | {"container": container | {"kernelMappings": [_SAMPLE]}}}
    }
    for problem in find_problems(tried, facts.kmm_version, facts.flavour):
        if problem.severity is Severity.ERROR:
            raise UsageError(
                f"KMM {facts.kmm_version} would refuse the Module of driver {name}: "
                f"{'.'.join(map(str, problem.path))}: {problem.message}",
                hint="change the driver's name, or its 'kmm' entry in versions.yaml",
            )
    return module
