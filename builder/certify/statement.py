"""The support statement: a page for customers, in Markdown and HTML, made of a reviewed checklist. Pure.

What nobody answered, or what does not count any more, stands there as such: a page that leaves it out would say more
than is known. What is said of Red Hat's support is a fact of its documentation, and not the vendor's word.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from builder.certify.review import ReviewedAnswer

_BOUNDARIES = (
    "Red Hat supports the Driver Toolkit, Kernel Module Management and the interface of device plugins.",
    "Modules from outside of the kernel are their vendor's to support, not Red Hat's.",
    "A kernel that loads such a module is marked as tainted; Red Hat's support may ask to see a problem without it.",
    "Nothing is installed on the hosts. RHCOS takes no driver disks, and packages installed on it end its support.",
)
_MUST_GATHER = (
    "oc adm must-gather --image=$(oc get deployment -n openshift-kmm kmm-operator-controller -o "
    """jsonpath='{.spec.template.spec.containers[?(@.name=="manager")].env[?(@.name=="RELATED_IMAGE_MUST_GATHER")].value}')"""
    " -- /usr/bin/gather"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementFacts:
    """What versions.yaml says: drivers and components as name, version and vendor; certificates that sign modules."""

    drivers: Sequence[tuple[str, str, str]]
    components: Sequence[tuple[str, str, str]]
    signers: Sequence[tuple[str, str]]
    """Signer's name and the SHA-256 fingerprint of its certificate."""
    made: date


def emit_statement_markdown(facts: StatementFacts, answers: Sequence[ReviewedAnswer]) -> str:
    """Return the page as Markdown; what strangers wrote stays text."""
    lines = ["# Support statement", "", f"Made on {facts.made}.", "", "## What it is about", ""]
    for kind, items in (("Driver", facts.drivers), ("Image", facts.components)):
        lines += [f"- {kind} {_plain(name)} {_plain(version)}, of {_plain(vendor)}" for name, version, vendor in items]
    lines += [
        f"- Modules are signed by {_plain(name)}: `{fingerprint}` (SHA-256)" for name, fingerprint in facts.signers
    ]
    for part, asked in _by_part(answers):
        lines += ["", f"## {part}", ""]
        for item in asked:
            lines += [f"**{item.question.text}**", "", f"{_plain(_answer(item))}", "", f"*{_plain(_source(item))}*", ""]
    lines += ["## What Red Hat supports", "", *(f"- {text}" for text in _BOUNDARIES), ""]
    lines += ["## What to send with a problem", "", "```sh", _MUST_GATHER, "```", ""]
    return "\n".join(lines)


def emit_statement_html(facts: StatementFacts, answers: Sequence[ReviewedAnswer]) -> str:
    """Return the page as one file of HTML, without script and without anything from elsewhere."""
    body = ["<h1>Support statement</h1>", f"<p>Made on {facts.made}.</p>", "<h2>What it is about</h2>", "<ul>"]
    for kind, items in (("Driver", facts.drivers), ("Image", facts.components)):
        body += [f"<li>{kind} {_safe(f'{name} {version}, of {vendor}')}</li>" for name, version, vendor in items]
    body += [
        f"<li>Modules are signed by {_safe(name)}: <code>{_safe(fingerprint)}</code> (SHA-256)</li>"
        for name, fingerprint in facts.signers
    ]
    body.append("</ul>")
    for part, asked in _by_part(answers):
        body += [f"<h2>{_safe(part)}</h2>", "<dl>"]
        for item in asked:
            body += [f"<dt>{_safe(item.question.text)}</dt>", f'<dd class="{item.state}">{_safe(_answer(item))}']
            body.append(f"<small>{_safe(_source(item))}</small></dd>")
        body.append("</dl>")
    body += ["<h2>What Red Hat supports</h2>", "<ul>", *(f"<li>{_safe(text)}</li>" for text in _BOUNDARIES), "</ul>"]
    body += ["<h2>What to send with a problem</h2>", f"<pre><code>{_safe(_MUST_GATHER)}</code></pre>"]
    return _PAGE.replace("BODY", "\n".join(body))


def _by_part(answers: Sequence[ReviewedAnswer]) -> Iterator[tuple[str, list[ReviewedAnswer]]]:
    """Yield support first: it is what the page is read for."""
    parts = dict.fromkeys(item.question.part for item in answers)
    for part in sorted(parts, key=lambda name: name != "Support"):
        yield part, [item for item in answers if item.question.part == part]


def _answer(item: ReviewedAnswer) -> str:
    return "Not answered." if item.is_open else item.answer


def _source(item: ReviewedAnswer) -> str:
    return f"{item.state}: {item.sentence}"


def _plain(text: str) -> str:
    """Return text that Markdown takes for nothing else, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|!])", r"\\\1", " ".join(text.split()))


def _safe(text: str) -> str:
    return html.escape(" ".join(text.split()))


_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Support statement</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 46rem; padding: 0 1rem; }
body { overflow-wrap: anywhere; }
dt { font-weight: 600; margin-top: 1rem; }
dd { margin: 0; padding-left: .75rem; border-left: .2rem solid; }
dd.open, dd.expired, dd.refuted, dd.unknown { font-style: italic; }
small { display: block; opacity: .8; }
pre { white-space: pre-wrap; }
</style>
<main>
BODY
</main>
</html>
"""
