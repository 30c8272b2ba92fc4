"""The pages: what was worked out, put into templates. Pure: the same facts give the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.errors import escape_controls
from builder.site.charts import (
    Series,
    Share,
    SignRow,
    Span,
    emit_bar,
    emit_changes,
    emit_columns,
    emit_lines,
    emit_spans,
)
from builder.site.drift import list_used
from builder.site.facts import READY, CellState, CellStep
from builder.site.releases import Outlook
from builder.site.sections import count_states, list_columns, list_minors, make_sections, name_drivers
from builder.site.trends import STAGES
from builder.site.words import MEANINGS
from builder.sources.lock import natural_key
from builder.writing import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Environment

    from builder.site.addresses import Addresses
    from builder.site.drift import Lineage
    from builder.site.facts import CellDocuments, SiteCell, SiteFacts
    from builder.site.failures import Cause
    from builder.site.freshness import Arrivals
    from builder.site.releases import ReleaseNews
    from builder.site.sections import MatrixSection
    from builder.site.trends import RunTrend, Trends

# More drivers than this are columns of signs: their words are there for those who listen, and for who points at them.
_MOST_WORDS = 6
_MOST_RUNS = 24
_MOST_KERNELS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of the navigation: its file without ending, its title, and what it is asked."""

    name: str
    title: str


PAGES = (
    Page(name="index", title="Matrix"),
    Page(name="failures", title="Failures"),
    Page(name="releases", title="Kernels and releases"),
    Page(name="freshness", title="Freshness"),
    Page(name="trends", title="Trends"),
)


class Pages:
    """Renders the pages of one site."""

    def __init__(self, environment: Environment, facts: SiteFacts, addresses: Addresses) -> None:
        self._environment = environment
        self._facts = facts
        self._at = addresses
        self._common: dict[str, Any] = {
            "facts": facts,
            "at": addresses,
            "pages": PAGES,
            "name": name_drivers(facts.drivers) or "no driver",
            "made": f"{facts.made:%Y-%m-%d %H:%M} UTC",
            "meanings": MEANINGS,
            "ready_states": READY,
        }

    def _render(self, template: str, *, root: str = "", **said: Any) -> str:
        page = self._environment.get_template(template).render(**self._common, root=root, **said)
        return escape_controls(page)  # nobody's words turn those of others around, or are obeyed by who prints a page

    def matrix(self) -> str:
        """Return the first page: how things stand, and a row for each kernel."""
        facts, columns = self._facts, list_columns(self._facts)
        sections = make_sections(facts)
        counts = count_states(facts.cells)
        return self._render(
            "matrix.html", page="index", columns=columns, sections=sections, counts=counts,
            bar=_emit_states(counts), bars=[_emit_states(item.counts) for item in sections],
            ready=sum(number for state, number in counts.items() if state in READY),
            wanted=sum(number for state, number in counts.items() if state is not CellState.NOT_WANTED),
            minors=list_minors(facts), arches=_sorted(sections, "arch"), variants=_sorted(sections, "variant"),
            is_narrow=len(columns) > _MOST_WORDS,
        )  # fmt: skip

    def cell(self, cell: SiteCell, documents: CellDocuments, excerpt: str) -> str:
        """Return the page of a cell; ``excerpt`` are the lines of its log that say why it failed."""
        evidence = cell.evidence
        timings = evidence.timings if evidence else {}
        return self._render(
            "cell.html", root=self._at.depth(cell), page="cell", cell=cell, documents=documents, excerpt=excerpt,
            steps=list(CellStep), releases=self._facts.releases_of.get((cell.source, cell.kernel), ()),
            timings=timings, total_s=sum(timings.values()), spent=_emit_spent(timings),
        )  # fmt: skip

    def failures(self, causes: Sequence[Cause], excerpts: Mapping[int, str]) -> str:
        """Return a card for each cause."""
        known_bad = [cell for cell in self._facts.cells if cell.state is CellState.KNOWN_BAD]
        refused = [cell for cell in self._facts.cells if cell.state in {CellState.REFUSED, CellState.ACKNOWLEDGED}]
        reasons: dict[str, list[SiteCell]] = {}
        for cell in refused:
            reasons.setdefault(cell.reason, []).append(cell)
        return self._render(
            "failures.html", page="failures", causes=list(enumerate(causes)), excerpts=excerpts, known_bad=known_bad,
            refusals=sorted(reasons.items(), key=lambda item: -len(item[1])),
        )  # fmt: skip

    def releases(self, news: Sequence[ReleaseNews]) -> str:
        """Return what each release changes, newest first, and all kernels."""
        by_minor: dict[tuple[str, str], list[ReleaseNews]] = {}
        for item in reversed(news):
            by_minor.setdefault((item.source, item.minor), []).append(item)
        groups = sorted(by_minor.items(), key=lambda item: natural_key(item[0][1]), reverse=True)
        cells: dict[tuple[str, str], list[SiteCell]] = {}
        for cell in self._facts.cells:
            cells.setdefault((cell.source, cell.kernel), []).append(cell)
        return self._render(
            "releases.html", page="releases", groups=groups, cells=cells,
            lineages=[(item, _emit_lineage(item), list_used(item)) for item in self._facts.lineages],
            arches=sorted({item.arch for item in news} | {row.arch for row in self._facts.kernels}),
            verdicts={
                verdict: number
                for verdict in Outlook
                if (number := sum(item.verdict is verdict for item in news))
            },
        )  # fmt: skip

    def freshness(self, arrivals: Arrivals) -> str:
        """Return how long kernels took, and which are late."""
        months = arrivals.months
        chart = emit_lines(
            [item.month for item in months],
            [
                Series(kind="p95", word="95 of 100 within", values=[item.p95 for item in months]),
                Series(kind="p50", word="half within", values=[item.p50 for item in months]),
            ],
            unit="hours",
            sentence=f"Hours from channel to image over {count(len(months), 'month')}; the table below has the figures",
        )
        spans = emit_spans(
            [Span(name=item.kernel, low=item.p50, high=item.p95) for item in arrivals.kernels[:_MOST_KERNELS]],
            kinds=("p50", "p95"), unit="hours",
            sentence="Hours from channel to image by kernel, the newest first; the table below has the figures",
        )  # fmt: skip
        return self._render("freshness.html", page="freshness", arrivals=arrivals, chart=chart, spans=spans)

    def trends(self, trends: Trends) -> str:
        """Return what runs cost."""
        runs = trends.runs[-_MOST_RUNS:]
        return self._render(
            "trends.html", page="trends", trends=trends, stages=STAGES,
            shown={stage for run in runs for stage in run.medians}, seconds=_emit_runs(runs), work=_emit_work(runs),
        )  # fmt: skip


def _sorted(sections: Sequence[MatrixSection], what: str) -> list[str]:
    return sorted({str(getattr(row, what)) for section in sections for row in section.rows})


def _emit_states(counts: Mapping[CellState, int]) -> str:
    shares = [Share(kind=f"s-{state}", word=state.replace("-", " "), amount=number) for state, number in counts.items()]
    words = ", ".join(f"{number} {state.replace('-', ' ')}" for state, number in counts.items())
    return emit_bar(shares, sentence=words or "no cells")


def _kind(stage: str) -> str:
    return f"t-{stage}" if stage in STAGES else "t-other"


def _emit_spent(timings: Mapping[str, float]) -> str:
    shares = [Share(kind=_kind(stage), word=f"{stage}, seconds", amount=seconds) for stage, seconds in timings.items()]
    return emit_bar(shares, sentence=", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in timings.items()))


def _emit_runs(runs: Sequence[RunTrend]) -> str:
    stages = [stage for stage in STAGES if any(stage in run.medians for run in runs)]
    stacks = [
        Series(kind=_kind(stage), word=stage, values=[run.medians.get(stage) for run in runs]) for stage in stages
    ]
    sentence = f"Median seconds of a cell by stage in {count(len(runs), 'run')}; the table below has the figures"
    return emit_columns(_labels(runs), stacks, unit="seconds", sentence=sentence)


def _emit_work(runs: Sequence[RunTrend]) -> str:
    kinds = ("compiled", "reused", "tested", "failed")
    stacks = [Series(kind=f"w-{kind}", word=kind, values=[float(getattr(run, kind)) for run in runs]) for kind in kinds]
    sentence = f"Cells by what was done in {count(len(runs), 'run')}; the table below has the figures"
    return emit_columns(_labels(runs), stacks, unit="cells", sentence=sentence)


def _emit_lineage(lineage: Lineage) -> str:
    counts = [step.counts for step in lineage.steps]
    stacks = [
        Series(kind="k-changed", word="changed", values=[float(item.changed) for item in counts]),
        Series(kind="k-gone", word="no longer exported", values=[float(item.gone) for item in counts]),
        Series(kind="k-new", word="newly exported", values=[float(item.new) for item in counts]),
    ]
    used, _ = list_used(lineage)
    rows = [
        SignRow(name=item.symbol, title=f"{item.symbol}, used by {', '.join(item.drivers)}", kinds=item.kinds)
        for item in used
    ]
    sentence = f"Symbols that changed in {count(len(counts), 'step')} from kernel to kernel; the table has the figures"
    return emit_changes(lineage.words, stacks, rows, unit="symbols of the kernel that differ", sentence=sentence)


def _labels(runs: Sequence[RunTrend]) -> list[str]:
    return [f"{run.started[5:10]} {run.started[11:16]}" for run in runs]
