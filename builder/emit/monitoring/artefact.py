"""The artefact monitoring."""

from __future__ import annotations

from builder.emit.artefact import Artefact, Emitted, Order
from builder.emit.kmm.version import FLAVOUR_OPTION, Flavour
from builder.emit.monitoring.files import emit_monitoring_files, make_monitoring_facts
from builder.emit.operator.facts import read_operator_settings

_HELP = """What Prometheus reads of the operator, when it calls, and dashboards.

A ServiceMonitor, alerts with runbooks as a PrometheusRule, a dashboard for Grafana, and on OpenShift one for its
console. Device plugins are read where spec.monitoring.enabled of a driver's object says so. No registry is asked.

\b
emit monitoring
emit monitoring --flavour upstream --output deploy/monitoring
"""


def _emit(order: Order) -> Emitted:
    config = order.project.config
    facts = make_monitoring_facts(config, read_operator_settings(config))
    is_openshift = Flavour(order.options["flavour"]) is Flavour.OPENSHIFT
    return Emitted(files=emit_monitoring_files(facts, is_openshift=is_openshift), owned=("console-dashboard.yaml",))


ARTEFACT = Artefact(help=_HELP, folder="deploy/monitoring", emit=_emit, options=(FLAVOUR_OPTION,))
