"""``known_problems``: what is wrong outside of versions.yaml, and no news. Pure."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import AfterValidator, Field

from builder.config.model.declaration import Declaration, complain
from builder.config.model.names import Glob, Text
from builder.config.problem_codes import ProblemCode


def _check_glob(text: str) -> str:
    if not text.strip("*?"):
        raise complain(f"{text!r} fits everything, so that nothing new of this kind would ever be noticed")
    return text


class KnownProblem(Declaration):
    """Something outside of this file that is wrong for now, with somebody who looks after it: it is no news.

    It is told as before, and does not decide exit codes. An entry that fits nothing, or has expired, is told, too; see
    docs/openshift.md.
    """

    code: Annotated[ProblemCode, Field(strict=False)]
    """What is wrong: the code that `discover` puts behind a problem, or `plan` before a refusal."""
    about: Annotated[Glob, AfterValidator(_check_glob)]
    """Glob over what it is about: a release and its architecture (`4.18.3-x86_64`), a channel and an architecture
    (`fast-4.18 x86_64`), a kernel version, a flavour of Debian, or a source."""
    reason: Text
    """What is wrong, and what is done about it; shown wherever the problem is told."""
    owner: Text
    """Who looks after it."""
    expires: Annotated[date, Field(strict=False)]
    """Last day on which the entry counts (YYYY-MM-DD); after it, the problem decides exit codes again."""
