"""Everything that Node Feature Discovery needs to label the nodes of a driver, as files. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.emit.kmm.version import Flavour
from builder.emit.nfd.devices import PCI, USB, DeviceTerms, Expression, make_device_terms
from builder.writing import emit_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from builder.config.model.driver import Driver
    from builder.kernel import KernelVersion

PREFIX = "feature.node.kubernetes.io/"
RULE_FILE, EXAMPLE_FILE = "nodefeaturerule.yaml", "nodefeature.example.yaml"
_API = "nfd.k8s-sigs.io/v1alpha1"
_NAMESPACES = {Flavour.OPENSHIFT: "openshift-nfd", Flavour.UPSTREAM: "node-feature-discovery"}
# Labels that NFD makes by itself, of its own sources.
_OF_NFD = re.compile(r"(cpu|custom|kernel|memory|network|pci|storage|system|usb)-")
_FEATURE_FILES = "/etc/kubernetes/node-feature-discovery/features.d/"
_MOST_TOLD = 20
_WIDTH = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class NfdFacts:
    """What files for NFD are made of: ``aliases`` are those of the published modules, ``kernels`` have an image."""

    driver: Driver
    aliases: Sequence[str]
    kernels: Sequence[KernelVersion]


@dataclass(frozen=True, slots=True, kw_only=True)
class NfdFiles:
    """Files by name, and sentences on what people should know of them."""

    files: Mapping[str, str]
    told: tuple[str, ...]


def emit_nfd(facts: NfdFacts, flavour: Flavour) -> NfdFiles:
    """Return a driver's files; equal facts give equal files.

    Args:
        facts: driver, aliases and kernels.
        flavour: OpenShift's operator has rules in namespaces, upstream has them for the whole cluster.

    Raises:
        UsageError: its modules name more devices than a rule can hold.
    """
    devices = make_device_terms(facts.aliases)
    told = tuple(_tell(facts.driver, devices))
    files = {RULE_FILE: _comment(told) + emit_yaml(make_rule(facts, devices, flavour))}
    if not devices.terms:
        files[EXAMPLE_FILE] = _comment(_EXAMPLE) + emit_yaml(_example(facts.driver, flavour))
    return NfdFiles(files=files, told=told)


def labels_of(driver: Driver) -> dict[str, str]:
    """Return the labels by which nodes with the driver's device are told from others.

    They are what the driver's Module selects by, so that both are one word; a driver whose Module selects by none that
    a rule can make gets the label of its name.
    """
    chosen = {key: value for key, value in driver.kmm.selector.items() if _is_made(key)}
    return chosen or {f"{PREFIX}{driver.name}": "true"}


def _is_made(key: str) -> bool:
    """Whether a label is one that rules of NFD make: of NFD's domain, and not of its own sources."""
    domain, _, name = key.rpartition("/")
    suffix = PREFIX.rstrip("/")
    return (domain == suffix or domain.endswith(f".{suffix}")) and not _OF_NFD.match(name)


def make_rule(facts: NfdFacts, devices: DeviceTerms, flavour: Flavour) -> dict[str, Any]:
    """Return the NodeFeatureRule: devices, or the administrator's word; and what is to be known of a node's kernel."""
    metadata: dict[str, Any] = {"name": facts.driver.name}
    if flavour is Flavour.OPENSHIFT:
        metadata["namespace"] = _NAMESPACES[flavour]
    rules = [*_device_rules(facts.driver, devices), *_kernel_rules(facts)]
    return {"apiVersion": _API, "kind": "NodeFeatureRule", "metadata": metadata, "spec": {"rules": rules}}


def _device_rules(driver: Driver, devices: DeviceTerms) -> Iterator[dict[str, Any]]:
    labels = labels_of(driver)
    words = {PCI: "a PCI device", USB: "a USB device"}
    for feature, terms in devices.terms.items():
        fits = [{"matchFeatures": [_match(feature, term)]} for term in terms]
        yield {"name": f"{driver.name}: {words[feature]}", "labels": dict(labels), "matchAny": fits}
    if not devices.terms:
        asked = _match("local.feature", [Expression(driver.name, "In", ("true",))])
        yield {"name": f"{driver.name}: the administrator's word", "labels": dict(labels), "matchFeatures": [asked]}


def _kernel_rules(facts: NfdFacts) -> Iterator[dict[str, Any]]:
    """What stands beside the device, and is no part of the selector: a node must not lose its module with a label."""
    name = facts.driver.name
    kernels = sorted({_as_label(kernel.raw) for kernel in facts.kernels})
    if kernels:
        fits = [_match("kernel.version", [Expression("full", "In", tuple(kernels))])]
        yield {
            "name": f"{name}: a kernel with an image",
            "labels": {f"{PREFIX}{name}-kernel": "published"},
            "matchFeatures": fits,
        }
    label = f"{PREFIX}{name}-signature"
    # The later of two rules wins where both fit.
    for title, value, options in (
        (
            "a kernel that wants signatures under Secure Boot",
            "secure-boot",
            ("LOCK_DOWN_IN_EFI_SECURE_BOOT", "MODULE_SIG"),
        ),
        ("a kernel that always wants signatures", "always", ("MODULE_SIG_FORCE",)),
    ):
        fits = [_match("kernel.config", [Expression(option, "In", ("y",)) for option in options])]
        yield {"name": f"{name}: {title}", "labels": {label: value}, "matchFeatures": fits}


def _match(feature: str, expressions: Iterable[Expression]) -> dict[str, Any]:
    wanted = {item.attribute: {"op": item.op, "value": list(item.values)} for item in expressions}
    return {"feature": feature, "matchExpressions": wanted}


def _as_label(raw: str) -> str:
    """Return a kernel version as NFD tells it (source/kernel/version.go): as a label may be."""
    return re.sub(r"[^-A-Za-z0-9_.]", "_", raw).strip("-_.")


def _example(driver: Driver, flavour: Flavour) -> dict[str, Any]:
    feature = {"local.feature": {"elements": {driver.name: "true"}}}
    return {
        "apiVersion": _API,
        "kind": "NodeFeature",
        "metadata": {
            "name": f"{driver.name}-NODE",
            "namespace": _NAMESPACES[flavour],
            "labels": {"nfd.node.kubernetes.io/node-name": "NODE"},
        },
        "spec": {"features": {"attributes": feature, "flags": {}, "instances": {}}},
    }


_EXAMPLE = (
    "A skeleton: one for each node that has what the driver is for, with the node's name twice in place of NODE.",
)


def _tell(driver: Driver, devices: DeviceTerms) -> Iterator[str]:
    made = labels_of(driver)
    labels = ", ".join(f"{key}={value}" for key, value in made.items())
    if not made.items() <= driver.kmm.selector.items():
        yield (
            f"The Module of {driver.name} does not select by {labels}, which this rule makes: put it under "
            "kmm.selector in versions.yaml, or the rule changes nothing."
        )
    if not devices.terms:
        why = "name no device of PCI or USB" + (" that a rule is made of" if devices.dropped else "")
        yield (
            f"The published modules of {driver.name} {why}, so which nodes get {labels} is the administrator's word: "
            f"a line '{driver.name}=true' in a file below {_FEATURE_FILES} of the node, or a NodeFeature as in "
            f"{EXAMPLE_FILE}."
        )
    if devices.buses:
        yield f"NFD lists devices of PCI and USB only; no rule is made of aliases of {', '.join(devices.buses)}."
    yield from (f"{remark}." for remark in devices.remarks)
    yield from (f"Dropped: {item}." for item in devices.dropped[:_MOST_TOLD])
    if (more := len(devices.dropped) - _MOST_TOLD) > 0:
        yield f"Dropped: {more} more of their kind."


def _comment(sentences: Iterable[str]) -> str:
    """Return comment lines of a readable width; none of the sentences can end one by itself."""
    lines: list[str] = []
    for sentence in sentences:
        line = "#"
        for word in sentence.split():
            if len(line) + len(word) > _WIDTH and line != "#":
                lines.append(line)
                line = "#  "
            line += f" {word}"
        lines.append(line)
    return "".join(f"{line}\n" for line in lines)
