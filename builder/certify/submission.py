"""What partners submit for certification, as files: commands for each image, and the pull request of a bundle. Pure.

Results count at Red Hat only if its own preflight sends them, with a token, from an image that a registry has: nothing
here stands for them. Source: openshift-preflight 1.21, cmd/preflight/cmd/check_container.go (options, environment) and
internal/engine/engine.go (an image that is named by digest gets no tag in the catalogue); the layout of
certified-operators is that of its README: ``operators/PACKAGE/VERSION`` with ``manifests`` and ``metadata``, and
ci.yaml beside the versions.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from builder.certify.bundle_rules import find_csv
from builder.certify.policies import PREFLIGHT, Policy
from builder.errors import FormatError
from builder.writing import emit_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.certify.bundle_files import BundleFiles
    from builder.certify.policies import Certification
    from builder.publish.published import LeftOutCell

FORMAT_VERSION = 1
_PACKAGE = "operators.operatorframework.io.bundle.package.v1"
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,63}")
_HEAD = """\
#!/bin/sh
# Sends each image to Red Hat for certification. It needs preflight, and of Red Hat Partner Connect:
#   PFLT_PYXIS_API_TOKEN   a token
#   PFLT_DOCKERCONFIG      a file with credentials of the registry
{ids}
# What preflight will find was judged before it was there: certification.json beside this file.
set -eu
: "${{PFLT_PYXIS_API_TOKEN:?a token of Red Hat Partner Connect}}"
: "${{PFLT_DOCKERCONFIG:?a file with credentials of the registry}}"
"""

_CI = """\
# The id of the bundle's component in Red Hat Partner Connect belongs here.
cert_project_id: ""
merge: false
"""


def describe_certification(item: Certification) -> dict[str, Any]:
    """Return a certification as JSON has it."""
    data = asdict(item)
    data["checks"] = [asdict(verdict) | {"enforced": verdict.is_enforced} for verdict in item.checks]
    return data | {"refused": item.is_refused, "not_judged": [str(verdict.check) for verdict in item.unjudged]}


def emit_certification_json(items: Sequence[Certification], left_out: Sequence[LeftOutCell] = ()) -> str:
    """Return certifications as JSON, also of what was not there to be judged."""
    return emit_json(
        {
            "format": FORMAT_VERSION,
            "conditions_of": PREFLIGHT,
            "refused": sum(item.is_refused for item in items),
            "subjects": [describe_certification(item) for item in items],
            "left_out": [asdict(item) for item in left_out],
        }
    )


def make_submission(items: Sequence[Certification], bundles: Sequence[BundleFiles]) -> dict[str, str]:
    """Return the files by path: ``certification.json``, ``submit.sh``, and of each bundle its pull request.

    What is refused is not sent: ``submit.sh`` names it, and why, in a comment.

    Raises:
        FormatError: a bundle says no package or version that could be a folder.
    """
    files = {"certification.json": emit_certification_json(items)}
    images = [item for item in items if item.policy is not Policy.OPERATOR]
    if images:
        files["submit.sh"] = _make_script(images)
    for bundle in bundles:
        files |= _make_pull_request(bundle)
    return files


def _make_script(items: Sequence[Certification]) -> str:
    projects = sorted({item.project for item in items})
    ids = "\n".join(f"#   {variable_of(name)}   id of the component {name or 'of these images'}" for name in projects)
    lines = [_HEAD.format(ids=ids)]
    lines += [f': "${{{variable_of(name)}:?id of a component of Red Hat Partner Connect}}"\n' for name in projects]
    for item in items:
        name = next((tag for tag in item.tags if not tag.startswith("localhost/")), "")
        said = _comment(f"{item.subject} {item.digest}, policy {item.policy}")
        if item.is_refused:
            why = "; ".join(f"{verdict.check}: {verdict.sentence}" for verdict in item.checks if verdict.is_refused)
            lines.append(f"\n{said}{_comment(f'  not sent, because it would be refused: {why}')}")
        elif not name:
            lines.append(f"\n{said}{_comment('  not sent, because it has no name in a registry')}")
        else:
            # By tag, which is written once: a name by digest gives the image no tag in the catalogue.
            words = ["preflight", "check", "container", name, "--platform", item.arch, "--submit"]
            command = f'{shlex.join(words)} --certification-component-id "${{{variable_of(item.project)}}}"'
            lines.append(f"\n{said}{command}\n")
    return "".join(lines)


def _comment(text: str) -> str:
    return f"# {' '.join(text.split())}\n"


def variable_of(project: str) -> str:
    """Return the environment variable that holds the id of a certification component."""
    return f"COMPONENT_ID_{re.sub('[^A-Z0-9]', '_', project.upper())}" if project else "COMPONENT_ID"


def _make_pull_request(bundle: BundleFiles) -> dict[str, str]:
    package, version = str(bundle.annotations.get(_PACKAGE, "")), ""
    if (csv := find_csv(bundle)) is not None:
        spec = csv.get("spec")
        version = str(spec.get("version", "")) if isinstance(spec, dict) else ""
    if not _NAME.fullmatch(package) or not _VERSION.fullmatch(version):
        raise FormatError(f"a bundle of package {package[:80]!r} and version {version[:80]!r} cannot be submitted")
    root = f"certified-operators/operators/{package}"
    if bundle.unread:
        raise FormatError(f"a bundle that cannot be read cannot be submitted: {bundle.unread[0]}")
    files = {f"{root}/ci.yaml": _CI}
    for place, content in bundle.files.items():
        files[f"{root}/{version}/{place}"] = content.decode()
    return files
