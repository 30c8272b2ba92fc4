"""A cluster as its user reaches it: by kubectl or oc, which know kubeconfigs, tokens and log-in programs.

What they answer is a cluster's, and so a stranger's: it is read within bounds.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.errors import HostError, SourceError, UsageError
from builder.foreign import read_json
from builder.host.run import Command, find_tool, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.host.run import Outcome

PROGRAMS = ("kubectl", "oc")
_TIMEOUT_S = 90.0
_ASKED_WITHIN = "--request-timeout=60s"
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_LOG_BYTES = 64 * 1024
# A kubeconfig's own log-in programs are of its owner, and look at what their clouds set.
_ENVIRONMENT = re.compile(r"KUBECONFIG|KUBE_[A-Z_]+|AWS_[A-Z_]+|AZURE_[A-Z_]+|GOOGLE_[A-Z_]+|CLOUDSDK_[A-Z_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """One namespace of one cluster; ``context`` is the kubeconfig's, empty: the current one."""

    program: str
    namespace: str
    context: str = ""
    environment: Mapping[str, str]

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object.

        Raises:
            UsageError: there is none of this name. SourceError: the cluster refuses, or does not answer.
        """
        check_name(name)
        return self._ask("get", kind, "--output=json", "--", name, what=f"{kind} {name}")

    def find(self, kind: str, selector: str) -> dict[str, Any]:
        """Return the list of objects with labels. Errors: as ``get``."""
        return self._ask("get", kind, "--output=json", f"--selector={selector}", what=f"each {kind}")

    def create(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object; unknown fields are refused, and it is not tried twice. Errors: as ``get``."""
        content = json.dumps(document).encode()
        what = f"a {document.get('kind')}"
        return self._ask("create", "--validate=strict", "--output=json", "--filename=-", what=what, content=content)

    def log(self, pod: str, container: str) -> str:
        """Return the end of what a container said; empty where it cannot be had."""
        check_name(pod)
        words = ("logs", f"--container={container}", f"--limit-bytes={_LOG_BYTES}", "--tail=200", "--", pod)
        outcome = self._run(words, b"")
        return outcome.stdout if outcome else ""

    def _ask(self, *words: str, what: str, content: bytes = b"") -> dict[str, Any]:
        outcome = self._run(words, content)
        if outcome:
            return read_json(outcome.stdout, f"what {self.program} says of {what}")
        said = _last_words(outcome)
        if "(NotFound)" in said:
            raise UsageError(f"{what}: {said}", hint="--namespace and --context say where it is looked for")
        raise SourceError(f"{what}: {said}", hint=f"to repeat it: {outcome.command}")

    def _run(self, words: tuple[str, ...], content: bytes) -> Outcome:
        place = [f"--namespace={self.namespace}", *([f"--context={self.context}"] if self.context else [])]
        argv = (self.program, *place, _ASKED_WITHIN, *words)
        return run(Command(argv=argv, environment=self.environment, input=content or None, timeout_s=_TIMEOUT_S))


def check_name(name: str) -> None:
    """Raise UsageError where this can be no name of an object."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name[:100]!r} is no name that an object of a cluster has")


def find_kubectl(namespace: str, context: str, environment: Mapping[str, str]) -> Kubectl:
    """Return the user's way to a cluster; of ``environment``, variables for its log-in programs are handed on.

    Raises:
        HostError: neither kubectl nor oc is installed.
    """
    program = next((name for name in PROGRAMS if find_tool(name)), None)
    if program is None:
        raise HostError("neither kubectl nor oc is installed", hint="by one of them your cluster is asked")
    own = {name: value for name, value in environment.items() if _ENVIRONMENT.fullmatch(name)}
    return Kubectl(program=program, namespace=namespace, context=context, environment=own)


def _last_words(outcome: Outcome) -> str:
    lines = [line for line in outcome.stderr.strip().splitlines() if line.strip()]
    return lines[-1][:1000] if lines else f"{outcome.command.argv[0]} {outcome.explain()}"
