"""Verdicts on Modules: what lint says, what a cluster says, and where they differ."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import yaml
from fakes.kmm import CONTAINER, SECRETS, change_module
from fakes.kmm_facts import EVERYTHING, kmm_facts

from builder.emit.kmm.files import emit_kmm
from builder.emit.kmm.problem import Severity
from builder.emit.kmm.rules import find_problems
from builder.emit.kmm.version import Flavour, KmmVersion
from integration.kind.client import Client, Refused

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_LITERAL = f"{CONTAINER}/kernelMappings/0"
_PATTERN = f"{CONTAINER}/kernelMappings/1"
_TOLERATION = "spec/tolerations"
# Mistakes made by hand: where, and what is put there; ``...``: nothing is left.
_MISTAKES: list[tuple[str, Any]] = [
    ("apiVersion", "kmm.sigs.x-k8s.io/v1beta2"),
    ("metadata/name", ...),
    ("metadata/name", "Drv"),
    ("metadata/name", "d" * 40),
    ("metadata/name", "d" * 33),
    ("metadata/name", "a.b"),
    ("metadata/namespace", ...),
    ("spec/selector", ...),
    ("spec/selector", {}),
    ("spec/selector", {"a": True}),
    ("spec/selector", {"a b": "x"}),
    ("spec/selector", {"a": "-x"}),
    ("spec/selector", {"node-role.kubernetes.io/worker": "worker"}),
    ("spec/modulLoader", {}),
    ("spec/moduleLoader", ...),
    ("spec", ...),
    ("spec", None),
    (_TOLERATION, [{"operator": "In"}]),
    (_TOLERATION, [{"value": "x"}]),
    (_TOLERATION, [{"key": "a b", "operator": "Exists"}]),
    (_TOLERATION, [{"key": "a", "operator": "Exists", "value": "x"}]),
    (_TOLERATION, [{"key": "a", "value": "-"}]),
    (_TOLERATION, [{"key": "a", "effect": "Never"}]),
    (_TOLERATION, [{"key": "a", "tolerationSeconds": 1}]),
    (f"{CONTAINER}/kernelMappings", []),
    (f"{CONTAINER}/kernelMappings", ...),
    (f"{CONTAINER}/version", "1.0+x"),
    (f"{_LITERAL}/regexp", "^x$"),
    (f"{_LITERAL}/literal", ...),
    (f"{_LITERAL}/literal", "5.14\f"),
    (f"{_LITERAL}/containerImage", ...),
    (f"{_LITERAL}/containerImage", "quay.test/org/drv"),
    (f"{_LITERAL}/containerImage", ""),
    (f"{_LITERAL}/containerImage", "registry:5000/drv"),
    (f"{_LITERAL}/containerImage", "registry:5000/drv:1"),
    (f"{CONTAINER}/imagePullPolicy", "Always"),
    (f"{_PATTERN}/regexp", "^(?=5).*$"),
    (f"{_PATTERN}/regexp", r"^(5)\1$"),
    (f"{_PATTERN}/regexp", "^.+$"),
    (f"{_PATTERN}/regexp", ".*"),
    (f"{_PATTERN}/regexp", r"el9_4\.x86_64"),
    (f"{_PATTERN}/regexp", r"^.+\fc37\.x86_64$"),
    (f"{_PATTERN}/literal", "5.14.0-427.68.1.el9_4.x86_64"),
    (f"{CONTAINER}/modprobe/moduleName", ...),
    (f"{CONTAINER}/modprobe/moduleName", "drv.ko"),
    (f"{CONTAINER}/modprobe/rawArgs", {"load": ["a"]}),
    (f"{CONTAINER}/modprobe/modulesLoadingOrder", ["drv"]),
    (f"{CONTAINER}/modprobe/modulesLoadingOrder", ["a", "drv"]),
    (f"{CONTAINER}/modprobe/modulesLoadingOrder", ["drv", "a", "a"]),
    (f"{CONTAINER}/modprobe/parameters", ["debug"]),
    (f"{CONTAINER}/inTreeModuleToRemove", "x"),
    (f"{CONTAINER}/sign", {**SECRETS, "unsignedImage": "a/b:c"}),
    (f"{CONTAINER}/sign", {**SECRETS, "unsignedImage": "a/b:c", "filesToSign": ["/lib/x.ko"]}),
    (f"{CONTAINER}/sign", {**SECRETS, "filesToSign": ["/opt/lib/x.ko"]}),
    (f"{CONTAINER}/sign", {"keySecret": {"name": "k"}}),
    (f"{CONTAINER}/build", {"dockerfileConfigMap": {"name": "x"}, "buildArgs": [{"name": "A"}]}),
    ("spec/devicePlugin", {"container": {"image": "a/b:c", "volumeMounts": [{"name": "v"}]}}),
    ("spec/devicePlugin", {"container": {"image": "a/b:c", "env": [{"value": "v"}]}}),
    ("spec/devicePlugin", {"container": {"image": "a/b:c"}, "volumes": [{"hostPath": {"path": "/dev"}}]}),
    ("spec/devicePlugin", {"container": {"image": "a/b:c"}, "volumes": [{"name": "v", "hostPath": {}}]}),
    ("spec/devicePlugin", {"container": {"image": "a/b:c"}, "volumes": [{"name": "v", "hostpath": {}}]}),
    ("spec/devicePlugin", {"container": {"image": "a/b:c"}, "volumes": [{"name": "v", "hostPath": {"path": "/etc"}}]}),
    ("spec/dra", {"driverName": "Not", "container": {"image": "a/b:c"}}),
    ("spec/dra", {"driverName": "d", "container": {"image": "a/b:c"}, "deviceClasses": [{"name": "a"}, {"name": "a"}]}),
]  # fmt: skip

# What lint calls a mistake and KMM takes, on purpose: it would be taken, and no kernel would get its module by it.
STRICTER = {
    "control-character": "never fits any kernel",
    "image": "a port is no tag: KMM takes any colon for one",
    "selector": "no node can have such a label",
    "unsigned-image": "fails when something is to be signed",
    "version": "no node can have such a label",
}
# The same for single changes.
_STRICTER_CHANGES = {
    **dict.fromkeys(
        (
            "spec/devicePlugin/volumes/0/name ''",
            "spec/devicePlugin/container/volumeMounts/0/name ''",
            "spec/devicePlugin/container/volumeMounts/0/mountPath ''",
        ),
        "Kubernetes refuses the pods that KMM makes of it",
    ),
    "spec/moduleLoader/container/modprobe/moduleName = 'drv.ko'": "no module is called so",
    "spec/selector/feature.node.kubernetes.io/drv null": "is dropped without a word: the selector would take every node",
}


def have_namespaces(client: Client) -> None:
    for name in ("drv", "drivers"):
        client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def compare(
    client: Client,
    modules: dict[str, dict[str, Any]],
    release: tuple[KmmVersion, Flavour],
    *,
    unknown: Collection[str] = (),
    differ: Collection[str] = (),
) -> list[str]:
    """Return where lint and a cluster differ, one line each.

    Args:
        client: where to ask.
        modules: what to ask about, by what is special about it.
        release: whose rules lint is to go by.
        unknown: kinds of mistakes that this cluster cannot know of.
        differ: of which modules it is known that they differ; one that does not is told as well.
    """
    assert len(modules) >= 60
    found, answers = {}, {}
    for name, module in modules.items():
        codes, answer = errors(module, *release), ask(client, module)
        answers[name] = answer
        if answer and not codes:
            found[name] = f"{name}: lint finds nothing, the cluster says {answer}"
        elif not answer and codes - STRICTER.keys() - {*unknown} and name not in _STRICTER_CHANGES:
            found[name] = f"{name}: lint says {', '.join(sorted(codes))}, the cluster takes it"
    assert 10 < sum(map(bool, answers.values())) < len(modules), "both verdicts are there"
    stale = [f"{name}: is said to differ, and does not" for name in differ if name not in found]
    return [line for name, line in found.items() if name not in differ] + stale


def errors(module: dict[str, Any], version: KmmVersion, flavour: Flavour) -> set[str]:
    problems = find_problems(module, version, flavour)
    return {problem.code for problem in problems if problem.severity is Severity.ERROR}


def ask(client: Client, module: dict[str, Any]) -> str:
    """Return why a cluster refuses a module; nothing where it takes it."""
    try:
        client.create(module, dry_run=True)
    except Refused as refused:
        return refused.message
    except KeyError as unknown:  # a kind or version that the cluster has not
        return f"no kind {unknown}"
    return ""


def mutations() -> dict[str, dict[str, Any]]:
    """Mistakes made by hand, and every field of a full Module gone, nothing, of another kind, or with a stranger beside it."""
    found = {f"{path} = {value!r}": change_module(path, value) for path, value in _MISTAKES}
    full = _full_module()
    for path in _places(full["spec"], ("spec",)):
        for what, value in (
            ("gone", ...),
            ("null", None),
            ("''", ""),
            ("'x'", "x"),
            ("7", 7),
            ("true", True),
            ("[]", []),
            ("{}", {}),
        ):
            found[f"{'/'.join(map(str, path))} {what}"] = _put(full, path, value)
        if isinstance(_at(full, path), dict):
            found[f"{'/'.join(map(str, path))} with a stranger"] = _put(full, (*path, "stranger"), "x")
    return found


def _full_module() -> dict[str, Any]:
    files = emit_kmm(kmm_facts(EVERYTHING), KmmVersion.V2_4, Flavour.OPENSHIFT)
    module: dict[str, Any] = yaml.safe_load(files["40-module.yaml"])
    module["spec"]["tolerations"] = [
        {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute", "tolerationSeconds": 5}
    ]
    volume = {"name": "dev", "hostPath": {"path": "/dev"}}
    container = {"image": "quay.test/p:1", "volumeMounts": [{"name": "dev", "mountPath": "/dev"}]}
    module["spec"]["devicePlugin"] = {"container": container, "volumes": [volume]}
    return module


def _places(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, item in inner:
        yield from _places(item, (*path, key))


def _at(data: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        data = data[part]
    return data


def _put(data: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(data)
    parent = _at(changed, path[:-1])
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return changed
