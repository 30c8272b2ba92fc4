"""Pieces of pods: steps, what they may do, where they write, who signs. Pure.

What comes from outside (parameters, results) reaches a step as an argument or a variable, never as text of a script.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.emit.tekton.material import RESULTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.emit.tekton.material import TektonFacts

PROGRAM = "kmodsmith"
TMP = "/tmp"  # noqa: S108 - of a container, a volume of its pod
_WORK = "/work"
SOURCE = f"{_WORK}/source"
_KEYS, _SOCKET_DIR, _REGISTRY, _TRUST = "/keys", "/run/kmodsmith", "/registry", "/authorities"
_SOCKET = f"{_SOCKET_DIR}/keys.sock"
_STORE = "/var/lib/containers"
_COMPILE_CACHE = f"{_WORK}/cache/kmodsmith/compile-cache"  # below XDG_CACHE_HOME
_BUNDLE = "ca-bundle.crt"
# Of kmodsmith and what is written in Go; of git; of pip.
_TRUSTING = ("SSL_CERT_FILE", "GIT_SSL_CAINFO", "PIP_CERT")

# What root of a user namespace of its own needs to make rooms in it (docs/security.md): none of it counts outside.
CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_ADMIN",
    "SYS_CHROOT",
)  # fmt: skip

_Dict = dict[str, Any]


def make_step(
    facts: TektonFacts,
    name: str,
    arguments: Sequence[str],
    *,
    command: Sequence[str] = (PROGRAM,),
    variables: Mapping[str, str] | None = None,
) -> _Dict:
    """Return a step without privilege: what it writes goes into volumes of the pod."""
    env = {"HOME": f"{_WORK}/home", "XDG_CACHE_HOME": f"{_WORK}/cache", "KMODSMITH_WORK_DIR": f"{_WORK}/kmodsmith"}
    env["KMODSMITH_BUILDER_IMAGE"] = facts.settings.builder  # for provenance
    mounts: list[_Dict] = [{"name": "work", "mountPath": _WORK}, {"name": "tmp", "mountPath": TMP}]
    if facts.settings.authorities:
        env |= dict.fromkeys(_TRUSTING, f"{_TRUST}/{_BUNDLE}")
        mounts.append({"name": "authorities", "mountPath": _TRUST, "readOnly": True})
    step: _Dict = {
        "name": name,
        "image": facts.settings.builder,
        "command": list(command),
        "args": list(arguments),
        "env": [{"name": key, "value": value} for key, value in {**env, **(variables or {})}.items()],
        "computeResources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "securityContext": plain_rights(),
        "volumeMounts": mounts,
    }
    return step


def make_script(facts: TektonFacts, name: str, lines: Sequence[str], variables: Mapping[str, str]) -> _Dict:
    """Return a step of a few lines of sh, which read variables and no parameters."""
    step = make_step(facts, name, (), variables=variables)
    del step["command"], step["args"]
    return step | {"script": "\n".join(["#!/bin/sh", "set -eu", *lines, ""])}


def plain_rights() -> _Dict:
    """Return the rights of a container that needs none: what the restricted rules of any cluster let in."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def building(facts: TektonFacts, step: _Dict, *, trusted: bool) -> _Dict:
    """Return a step that compiles: the one big step of its pod, root in the way that ``isolation`` says.

    What is not ``trusted`` only reads the compile cache that pods share.
    """
    said = facts.settings.resources
    asked = {"cpu": said.cpu, "memory": said.memory, "ephemeral-storage": said.disk}
    limits = {"memory": said.memory, "ephemeral-storage": said.disk}
    rights: _Dict = {"privileged": True, "runAsNonRoot": False, "runAsUser": 0}
    if facts.settings.isolation == "user-namespaces":
        rights = {
            "allowPrivilegeEscalation": True,
            "capabilities": {"drop": ["ALL"], "add": list(CAPABILITIES)},
            "privileged": False,
            # A room has a /proc of its own, which the kernel gives only to who sees all of the outer one.
            "procMount": "Unmasked",
            "runAsNonRoot": False,
            "runAsUser": 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    if facts.settings.kvm:
        limits |= {facts.settings.kvm: "1"}
    mounts: list[_Dict] = [*step["volumeMounts"], {"name": "store", "mountPath": _STORE}]
    if facts.settings.compile_cache:
        mounts.append({"name": "compile-cache", "mountPath": _COMPILE_CACHE, "readOnly": not trusted})
    return step | {
        "computeResources": {"requests": asked, "limits": limits},
        "securityContext": rights,
        "volumeMounts": mounts,
    }


def with_registry(facts: TektonFacts, step: _Dict) -> _Dict:
    """Return a step that may push: the Secret is a file that is named by a variable."""
    del facts
    place = {"name": "REGISTRY_AUTH_FILE", "value": f"{_REGISTRY}/config.json"}
    mount = {"name": "registry", "mountPath": _REGISTRY, "readOnly": True}
    return step | {"env": [*step["env"], place], "volumeMounts": [*step["volumeMounts"], mount]}


def with_signer(facts: TektonFacts, step: _Dict) -> _Dict:
    """Return a step that asks for signatures at a socket; the keys are in another container."""
    if not facts.has_keys:
        return step
    place = {"name": "KMODSMITH_KEY_SOCKET", "value": _SOCKET}
    mount = {"name": "signer", "mountPath": _SOCKET_DIR}
    return step | {"env": [*step["env"], place], "volumeMounts": [*step["volumeMounts"], mount]}


def make_signers(facts: TektonFacts) -> list[_Dict]:
    """Return the sidecar that has the keys, and lets only its own user ask; none where nobody signs with a file.

    A Secret's files are links that everybody in the container may read, and kmodsmith takes no such key: it gets copies
    in memory.
    """
    if not facts.has_keys:
        return []
    keys = [f'--key {name}="$HOME"/{name}.pem' for name in facts.signers]
    images = ['--images "$HOME"/images.pem'] if facts.signs_images else []
    words = [f"exec {PROGRAM} keys serve --socket {_SOCKET}", *keys, *images]
    lines = ["umask 077", f'cp {_KEYS}/*.pem "$HOME"', " ".join(words)]
    step = make_script(facts, "signer", lines, {})
    mounts = [
        {"name": "signer", "mountPath": _SOCKET_DIR},
        {"name": "keys", "mountPath": _KEYS, "readOnly": True},
        {"name": "signer-tmp", "mountPath": TMP},
    ]
    env = [{"name": "HOME", "value": TMP}, {"name": "KMODSMITH_WORK_DIR", "value": f"{TMP}/kmodsmith"}]
    ready = {"exec": {"command": ["test", "-S", _SOCKET]}, "periodSeconds": 1, "failureThreshold": 60}
    return [step | {"env": env, "volumeMounts": mounts, "readinessProbe": ready}]


def make_fetch(facts: TektonFacts) -> _Dict:
    """Return the step that brings the project: one commit, and which one it was."""
    lines = [
        'mkdir -p "$HOME"',
        'if [ "$CREDENTIALS" = true ]; then cp "$CREDENTIALS_DIR"/.git* "$HOME"; fi',
        'git init --quiet "$SOURCE"',
        'git -C "$SOURCE" fetch --quiet --depth 1 -- "$REPO_URL" "$REVISION"',
        'git -C "$SOURCE" checkout --quiet --detach FETCH_HEAD',
        'git -C "$SOURCE" rev-parse FETCH_HEAD | tr -d "\\n" >"$COMMIT_FILE"',
        'printf %s "$REPO_URL" >"$URL_FILE"',
    ]
    variables = {
        "SOURCE": SOURCE,
        "REPO_URL": "$(params.repo-url)",
        "REVISION": "$(params.revision)",
        "CREDENTIALS": "$(workspaces.git-credentials.bound)",
        "CREDENTIALS_DIR": "$(workspaces.git-credentials.path)",
        "COMMIT_FILE": "$(results.CHAINS-GIT_COMMIT.path)",
        "URL_FILE": "$(results.CHAINS-GIT_URL.path)",
        "GIT_TERMINAL_PROMPT": "0",
    }
    return make_script(facts, "fetch", lines, variables)


def project_words() -> list[str]:
    """Return the words by which kmodsmith finds the project that was fetched."""
    return ["--project", f"{SOURCE}/$(params.project)"]


def result_words() -> list[str]:
    return ["--results", RESULTS]


def make_volumes(
    facts: TektonFacts, *, builds: bool = False, registry: bool = False, signs: bool = False
) -> list[_Dict]:
    """Return the volumes of a pod; but for the compile cache, none is shared with another, or left when it ends."""
    disk = facts.settings.resources.disk
    found: list[_Dict] = [
        {"name": "work", "emptyDir": {"sizeLimit": disk} if builds else {}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if authorities := facts.settings.authorities:
        items = [{"key": _BUNDLE, "path": _BUNDLE}]
        found.append({"name": "authorities", "configMap": {"name": authorities, "items": items}})
    if builds:
        found.append({"name": "store", "emptyDir": {"sizeLimit": disk}})
    if builds and (claim := facts.settings.compile_cache):
        # What may push may write: a stranger's pod may neither.
        found.append({"name": "compile-cache", "persistentVolumeClaim": {"claimName": claim, "readOnly": not registry}})
    if registry:
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        found.append({"name": "registry", "secret": {"secretName": facts.settings.registry_secret, "items": items}})
    if signs and facts.has_keys:
        names = [*facts.signers, *(["images"] if facts.signs_images else [])]
        keys = [{"key": f"{name}.pem", "path": f"{name}.pem"} for name in names]
        secret = {"secretName": facts.settings.signing_secret, "items": keys}
        found += [
            {"name": "signer", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "signer-tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
            {"name": "keys", "secret": secret},
        ]
    return found
