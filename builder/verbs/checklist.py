"""The verb checklist."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.certify.checklist import CHECKLIST_NAME, read_checklist
from builder.certify.drafting import draft_checklist
from builder.certify.review import review_checklist
from builder.certify.statement import StatementFacts, emit_statement_html, emit_statement_markdown
from builder.errors import EXIT_OPEN_QUESTIONS, UsageError
from builder.host.places import replace_file, write_below
from builder.show.checklist import emit_checklist, emit_checklist_json, emit_checklist_summary
from builder.signing.certificates import read_named_identities

if TYPE_CHECKING:
    from builder.plan.project import Project
    from builder.verbs.session import Session

_FOLDER = Path("deploy/certification")


@click.command()
@click.option(
    "--write", is_flag=True, help=f"Make a first {CHECKLIST_NAME} out of what is built; there must be none yet."
)
@click.option(
    "--statement",
    is_flag=False,
    flag_value=str(_FOLDER),
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help=f"Write support.md and support.html for customers; without FOLDER, to {_FOLDER}.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every question as JSON.")
@click.pass_obj
def checklist(session: Session, /, *, write: bool, statement: Path | None, as_json: bool) -> int:
    """Are all questions answered that are asked of a vendor before certification?

    Answers are in checklist.yaml: by evidence (an image by digest, a boot test, a file of the project), or by a person
    with name and date. All evidence is looked at again: an image is read anew, and must be of the version that
    versions.yaml has. proven: evidence says it. attested: a person did, not too long ago. open, expired, refuted,
    unknown: not answered, and why.

    Exit codes: 0 all are answered, 22 some are not, 3 checklist.yaml has mistakes.

    \b
    checklist --write             # once: a first checklist.yaml
    checklist                     # what is answered, and what is open
    checklist --statement         # a page for customers
    """
    project = session.project
    file = project.file.with_name(CHECKLIST_NAME)
    if write:
        if file.exists() or file.is_symlink():
            raise UsageError(f"{file} is there already", hint="edit it, or move it away")
        replace_file(file, draft_checklist(project).encode())
        session.err.print(f"written: {file}", markup=False, soft_wrap=True)
    if not file.exists():
        raise UsageError(f"there is no {file}", hint="checklist --write makes a first one")
    today = datetime.now(UTC).date()
    answers = review_checklist(project, read_checklist(file, today=today), today=today)
    if statement is not None:
        facts = _facts(project)
        write_below(statement, "support.md", emit_statement_markdown(facts, answers))
        write_below(statement, "support.html", emit_statement_html(facts, answers))
        session.err.print(f"written to {statement}: support.md, support.html", markup=False, soft_wrap=True)
    if as_json:
        session.out.file.write(emit_checklist_json(answers))
    else:
        session.out.print(emit_checklist(answers))
        session.out.print(emit_checklist_summary(answers), markup=False, soft_wrap=True)
    return EXIT_OPEN_QUESTIONS if any(item.is_open for item in answers) else 0


def _facts(project: Project) -> StatementFacts:
    config = project.config
    identities = read_named_identities(config, list(config.signers))
    return StatementFacts(
        drivers=[(item.name, item.version, item.vendor) for item in config.drivers],
        components=[(item.name, item.version, item.vendor) for item in config.components],
        signers=[(item.name, item.certificate.fingerprint) for item in identities],
        made=datetime.now(UTC).date(),
    )
