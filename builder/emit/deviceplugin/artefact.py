"""The artefact device-plugin."""

from __future__ import annotations

from builder.emit.artefact import Artefact, Emitted, Order
from builder.emit.deviceplugin.facts import find_plugins, read_plugin_facts
from builder.emit.deviceplugin.files import DYNAMIC, FILES, emit_device_plugin
from builder.emit.kmm.version import FLAVOUR_OPTION, Flavour

_HELP = """What tells kubelet of a driver's devices, on each node where KMM has loaded the driver.

A DaemonSet of the published image, by digest, for each component of versions.yaml that has 'device_plugin'. It has no
capability, no privilege and no device: two folders of the node, and on OpenShift a security context constraint that
allows these and nothing else. With 'mode: DRA' or 'Auto' also the rights that dynamic resources need, a policy that
keeps each node to its own slices, and the class that claims ask for. One with 'managed_by: kmm' is in the Module that
'emit kmm' writes, and left out here.

\b
emit device-plugin
emit device-plugin --flavour upstream --output deploy/device-plugin
"""


def _emit(order: Order) -> Emitted:
    flavour = Flavour(order.options["flavour"])
    found = read_plugin_facts(order.project)
    by_kmm = [component.name for component in find_plugins(order.project, managed_by="kmm")]
    files = {
        f"{facts.component.name}/{name}": content
        for facts in found
        for name, content in emit_device_plugin(facts, flavour).items()
    }
    told = [
        f"{name}: KMM runs it, privileged: 'emit kmm' writes it into the Module (device_plugin.managed_by)"
        for name in by_kmm
    ]
    told += [
        f"{facts.component.name}: {DYNAMIC} is for clusters that have resource.k8s.io/v1 (Kubernetes 1.34): leave it "
        "out elsewhere"
        for facts in found
        if facts.plugin.mode == "Auto"
    ]
    # What another mode wrote, or what KMM runs now, would run beside it.
    names = [*by_kmm, *(facts.component.name for facts in found)]
    return Emitted(files=files, told=told, owned=[f"{name}/{file}" for name in names for file in FILES])


ARTEFACT = Artefact(help=_HELP, folder="deploy/device-plugin", emit=_emit, options=(FLAVOUR_OPTION,))
