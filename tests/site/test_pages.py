"""Pages as text: what they say, what they link, and that what strangers wrote stays text."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from fakes.cell_facts import FACTS
from fakes.site_facts import (
    BUILD_LOG,
    COMPILE_ERROR,
    HOSTILE,
    MADE,
    facts_of,
    make_boot,
    make_cell,
    make_drift,
    make_facts,
    make_kernel,
    make_quotes,
    make_release,
)

from builder.drivers.commit import Dirty, SourceCommit
from builder.evidence.records import FileRecord
from builder.plan.quote import Addition, Amount, Quote
from builder.publish.attest.statements import make_statements
from builder.site.addresses import Addresses
from builder.site.facts import CellDocuments, CellState, Missing, SiteCell, SiteDriver, SiteFacts
from builder.site.failures import find_causes
from builder.site.freshness import measure_arrivals
from builder.site.pages import PAGES, Pages
from builder.site.releases import tell_releases
from builder.site.statements import tell_statements
from builder.site.templates import open_templates
from builder.site.trends import measure_trends

if TYPE_CHECKING:
    from collections.abc import Iterator

_KERNEL = "5.14.0-427.50.1.el9_4.x86_64"
_VOID = {"meta", "link", "input", "br", "img", "hr"}
_EMPTY = SiteFacts(made=MADE, builder_version="0.1.0")


class _Reader(HTMLParser):
    """Collects tags, ids, links and text; notices what is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.code: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        said = dict(attrs)
        self.ids += [said["id"] or ""] if "id" in said else []
        self.links += [said["href"] or ""] if tag == "a" else []
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open[-1:] == ["code"]:
            self.code.append(data)


def _render(facts: SiteFacts, documents: CellDocuments = CellDocuments(), log: str = "") -> dict[str, str]:  # noqa: B008 - frozen
    """Return all pages of facts by their files; those of cells too."""
    at = Addresses(facts)
    pages = Pages(open_templates(), facts, at)
    causes = find_causes(facts)
    found = {
        "index.html": pages.matrix(),
        "failures.html": pages.failures(causes, dict.fromkeys(range(len(causes)), log)),
        "releases.html": pages.releases(tell_releases(facts)),
        "freshness.html": pages.freshness(measure_arrivals(facts)),
        "trends.html": pages.trends(measure_trends(facts)),
    }
    return found | {at.page(cell): pages.cell(cell, documents, log) for cell in facts.cells}


@pytest.fixture(scope="module")
def facts() -> SiteFacts:
    return make_facts(4)


@pytest.fixture(scope="module")
def pages(facts: SiteFacts) -> dict[str, str]:
    return _render(facts, log=BUILD_LOG)


def test_pages_are_whole_and_name_nothing_twice(pages: dict[str, str]) -> None:
    assert {f"{page.name}.html" for page in PAGES} < pages.keys()
    for name, text in pages.items():
        read = _Reader(text)
        assert len(read.ids) == len(set(read.ids)), name
        assert read.tags.count("h1") == 1, name
        assert "style" not in read.attributes, name


def test_every_link_leads_to_something_that_is_there(pages: dict[str, str], facts: SiteFacts) -> None:
    ids = {name: set(_Reader(text).ids) for name, text in pages.items()}
    there = pages.keys() | {name.replace(".html", ".json") for name in pages}
    for name, text in pages.items():
        for link in _Reader(text).links:
            file, _, anchor = link.partition("#")
            parts = name.split("/")[:-1]
            for word in file.split("/") if file else ():
                parts = parts[:-1] if word == ".." else [*parts, word]
            target = "/".join(parts) if file else name
            assert target in there, (name, link)
            assert not anchor or anchor in ids[target], (name, link)
    assert facts.cells


def test_every_cell_driver_kernel_and_release_has_a_deep_link(pages: dict[str, str], facts: SiteFacts) -> None:
    at = Addresses(facts)
    matrix, releases = set(_Reader(pages["index.html"]).ids), set(_Reader(pages["releases.html"]).ids)
    assert {at.cell(cell) for cell in facts.cells} <= matrix
    assert {at.driver(driver.name, driver.version) for driver in facts.drivers} <= matrix
    kernels = {at.kernel(row.source, row.kernel) for row in facts.kernels}
    assert kernels <= matrix
    assert kernels <= releases
    assert {at.release(row.source, row.release, row.arch) for row in facts.releases} <= releases


def test_every_state_is_told_by_a_word(pages: dict[str, str], facts: SiteFacts) -> None:
    for state in {cell.state for cell in facts.cells}:
        assert re.search(rf'class="chip s-{state}"[^>]*>{state.replace("-", " ")}', pages["index.html"]), state


def test_the_same_facts_give_the_same_bytes(facts: SiteFacts, pages: dict[str, str]) -> None:
    assert _render(facts, log=BUILD_LOG) == pages
    later = _render(replace(facts, made=MADE.replace(year=2027)), log=BUILD_LOG)
    assert later["index.html"] != pages["index.html"], "time is one of the facts"


def _poison(value: Any) -> Any:
    """Return a record in which every text that others may have written is hostile."""
    if isinstance(value, str) and type(value) is str:
        return HOSTILE
    if isinstance(value, tuple):
        return tuple(_poison(item) for item in value)
    if isinstance(value, dict):
        return {f"{HOSTILE}{number}": _poison(item) for number, item in enumerate(value.values())}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{item.name: _poison(getattr(value, item.name)) for item in fields(value) if item.init})
    return value


def _hostile_cells() -> Iterator[SiteCell]:
    for state in CellState:
        cell = make_cell(_KERNEL, state)
        evidence = cell.evidence or make_cell(_KERNEL).evidence
        assert evidence
        commit = SourceCommit(name="source", commit="c", dirty=Dirty.UNKNOWN, repository="r", path="p")
        evidence = replace(
            evidence, commits=(commit,), firmware=(FileRecord(path="f", sha256="s", size=1),), failure=COMPILE_ERROR
        )
        yield replace(
            _poison(replace(cell, evidence=evidence, boot=make_boot(cell.id))),
            id=f"{HOSTILE}-{state}/{HOSTILE}", state=state, source="openshift",
        )  # fmt: skip


def test_what_strangers_wrote_is_text_on_every_page() -> None:
    cells = list(_hostile_cells())
    facts = SiteFacts(
        made=MADE, builder_version=HOSTILE, drivers=(SiteDriver(name=HOSTILE, version=HOSTILE, vendor=HOSTILE, summary=HOSTILE),),
        kernels=(replace(_poison(make_kernel(_KERNEL, ("4.16.1",), seen="")), source="openshift", kernel=HOSTILE, seen=""),),
        releases=(replace(_poison(make_release("4.16.1", [_KERNEL], disputed=["x"])), source="openshift", runs=(HOSTILE,)),),
        cells=tuple(cells), builds=tuple(cell.evidence for cell in cells if cell.evidence),
        missing=(Missing(what=HOSTILE, why=HOSTILE, command=HOSTILE),), notes=(HOSTILE,),
        components=_poison(facts_of([]).components),
    )  # fmt: skip
    documents = CellDocuments(
        build_log=HOSTILE, boot_log=HOSTILE, boot_steps=((HOSTILE, 1, 2.0),), boot_facts={HOSTILE: HOSTILE},
        boot_problems=(HOSTILE,), told=_poison(tell_statements(make_statements(FACTS))),
    )  # fmt: skip
    facts = replace(facts, lineages=_poison(make_facts(3).lineages), quotes=_poison(make_quotes()), image_key=HOSTILE,
                    changes={cells[0].id: (_poison(make_drift(0)),)})  # fmt: skip
    for name, text in _render(facts, documents, HOSTILE).items():
        read = _Reader(text)
        assert "<script>alert" not in text, name
        assert "\x1b" not in text, name
        assert "\u202e" not in text, f"{name}: nobody's words are turned around"
        assert "img" not in read.tags, name
        assert read.tags.count("script") == 1, name
        assert not {attribute for attribute in read.attributes if attribute.startswith("on")}, name
        assert all(
            link.startswith(("#", "index", "releases", "failures", "freshness", "trends", "cells/", "../../"))
            for link in read.links
        ), name
        assert "49" not in re.findall(r"amp;(\d+)", text), "no text is a template"


@pytest.mark.parametrize("name", [f"{page.name}.html" for page in PAGES])
def test_a_page_without_facts_says_what_is_missing_and_what_brings_it(name: str) -> None:
    missing = (Missing(what="kernels and releases", why="there is no lock", command="nox -s discover"),)
    text = _Reader(_render(replace(_EMPTY, missing=missing))[name]).text
    assert {"index.html": "nox -s discover", "releases.html": "nox -s discover", "failures.html": "nox -s build",
            "trends.html": "nox -s build", "freshness.html": "nox -s nightly"}[name] in text  # fmt: skip


def test_a_cell_of_which_nothing_is_on_record_says_how_to_build_it() -> None:
    cell = make_cell(_KERNEL, CellState.NOT_BUILT)
    text = _Reader(_render(facts_of([cell]))[f"cells/gpu-1.4.0/{_KERNEL}.html"]).text
    assert "Nothing is on record" in text
    assert f"nox -s build -- --driver gpu --kernel {_KERNEL}" in text


def test_a_cell_tells_what_it_rests_on() -> None:
    cell = make_cell(_KERNEL)
    documents = CellDocuments(
        build_log=BUILD_LOG, boot_log="[    0.0] Linux", boot_steps=(("load gpu_core", 0, 0.1), ("never", None, None))
    )
    text = _Reader(_render(facts_of([cell]), documents)[f"cells/gpu-1.4.0/{_KERNEL}.html"]).text
    for said in (
        f"sha256:{'dc22' * 16}", "EKEYREJECTED: Loading of unsigned module is rejected", "gpu_core.ko", "9534" * 16, "1f2e" * 16,
        f"nox -s verify -- quay.io/vendor/gpu@sha256:{'dc22' * 16} --key vendor.pub", "35.9 s", "did not end", "[    0.0] Linux",
    ):  # fmt: skip
        assert said in text, said


def test_a_command_to_copy_is_one_command_whatever_strangers_called_things() -> None:
    evil = "x'; rm -rf ~; '"
    cell = make_cell(_KERNEL)
    published = tuple(replace(item, name=f"quay.io/{evil}:1") for item in cell.published)
    pages = _render(replace(facts_of([replace(cell, published=published)]), image_key=evil))
    commands = [text for text in _Reader(pages[f"cells/gpu-1.4.0/{_KERNEL}.html"]).code if "rm -rf" in text]
    assert len(commands) == 3
    for text in commands:
        words = shlex.split(text)
        assert sum("rm -rf" in word for word in words) == 2, "the image and the key, a word each"
        assert "rm" not in words
    lost = replace(make_cell(_KERNEL, CellState.NOT_BUILT), driver=evil)
    text = "".join(_Reader(_render(facts_of([lost]))[f"cells/gpu-1.4.0/{_KERNEL}.html"]).code)
    assert "rm" not in shlex.split(text)


@pytest.mark.parametrize(
    ("key", "published", "said"),
    [
        ("", True, "Nobody signs images here"),
        ("images.pub", True, "the statements that publish signed"),
        ("images.pub", False, "nox -s publish will sign"),
    ],
)
def test_statements_are_tables_and_files(key: str, *, published: bool, said: str) -> None:
    cell = make_cell(_KERNEL, CellState.PUBLISHED if published else CellState.BOOTED)
    documents = CellDocuments(told=tell_statements(make_statements(FACTS)))
    page = _render(replace(facts_of([cell]), image_key=key), documents)[f"cells/gpu-1.4.0/{_KERNEL}.html"]
    read = _Reader(page)
    for text in (
        said,
        "5 things went into the build",
        "gcc",
        "b-c.ko",
        "device-driver",
        "1 component only at the build",
        "module signature",
        "GPL",
        "urn:kmodsmith:builder:local",
    ):
        assert text in " ".join(read.text.split()), text
    assert {link.rpartition(".1.el9_4.x86_64.")[2] for link in read.links if link.endswith(".json")} == {
        "json",
        "provenance.json",
        "sbom.json",
        "tests.json",
    }
    assert "{" not in read.text, "no raw JSON"
    assert "attested" not in _Reader(_render(facts_of([cell]))[f"cells/gpu-1.4.0/{_KERNEL}.html"]).ids


def test_trends_say_what_one_more_would_cost_and_of_what_that_is_not_known() -> None:
    known = Quote(
        addition=Addition.DRIVER, group="all", about="one more for the 3 kernels of group all", kernels=3, cells=3,
        wall=Amount(usual=21.0, most=60.0), stored=Amount(usual=2048, most=2048), basis=("of these",),
    )  # fmt: skip
    unknown = Quote(addition=Addition.CHANNEL, group="few", about=HOSTILE, unknown=("no channels",))
    page = _render(replace(_EMPTY, quotes=(known, unknown)))["trends.html"]
    text = _Reader(page).text
    for said in ("21.0 s to 1 min 00 s", "2.0 KiB", "of these", "not known: no channels", "Group few", "Group all"):
        assert said in text, said
    assert "img" not in _Reader(page).tags
    assert "quote" not in _Reader(_render(_EMPTY)["trends.html"]).ids


def test_a_cell_says_why_it_was_built_and_not_only_why_it_need_not_be_now() -> None:
    cell = make_cell(_KERNEL)
    assert cell.evidence
    name = f"cells/gpu-1.4.0/{_KERNEL}.html"
    known = replace(cell, evidence=replace(cell.evidence, reason="source-changed", why="the driver's source changed"))
    assert "because the driver's source changed (source-changed)" in _Reader(_render(facts_of([known]))[name]).text
    assert "because" not in _Reader(_render(facts_of([cell]))[name]).text, "an older version did not record it"


def test_another_image_was_booted_and_that_is_told() -> None:
    cell = make_cell(_KERNEL)
    boot = replace(make_boot(cell.id), digest="sha256:other")
    text = _Reader(_render(facts_of([replace(cell, boot=boot)]))[f"cells/gpu-1.4.0/{_KERNEL}.html"]).text
    assert "It was another image of this cell" in text


def test_known_bad_has_its_last_day() -> None:
    pages = _render(facts_of([make_cell(_KERNEL, CellState.KNOWN_BAD)]))
    for name in ("index.html", "failures.html", f"cells/gpu-1.4.0/{_KERNEL}.html"):
        assert "known bad" in pages[name]
        assert "2027-01-31" in pages[name]


def test_many_drivers_are_columns_of_signs_with_their_words_for_who_listens() -> None:
    names = [f"drv{number}" for number in range(9)]
    facts = facts_of([make_cell(_KERNEL, driver=name) for name in names], drivers=names)
    text = _render(facts)["index.html"]
    assert 'class="matrix narrow"' in text
    assert text.count("<span>published</span></a>") == 9
