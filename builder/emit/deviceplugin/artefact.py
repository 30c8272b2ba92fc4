"""The artefact device-plugin."""

from __future__ import annotations

from builder.emit.artefact import Artefact, Emitted, Order
from builder.emit.deviceplugin.facts import read_plugin_facts
from builder.emit.deviceplugin.files import emit_device_plugin
from builder.emit.kmm.version import FLAVOUR_OPTION, Flavour

_HELP = """What tells kubelet of a driver's devices, on each node where KMM has loaded the driver.

A DaemonSet of the published image, by digest, for each component of versions.yaml that has 'device_plugin'. It has no
capability, no privilege and no device: two folders of the node, and on OpenShift a security context constraint that
allows these and nothing else.

\b
emit device-plugin
emit device-plugin --flavour upstream --output deploy/device-plugin
"""


def _emit(order: Order) -> Emitted:
    flavour = Flavour(order.options["flavour"])
    files = {}
    for facts in read_plugin_facts(order.project):
        for name, content in emit_device_plugin(facts, flavour).items():
            files[f"{facts.component.name}/{name}"] = content
    return Emitted(files=files)


ARTEFACT = Artefact(help=_HELP, folder="deploy/device-plugin", emit=_emit, options=(FLAVOUR_OPTION,))
