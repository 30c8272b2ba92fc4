"""Pages as people use them: filters, addresses, keys, ten thousand cells; judged by axe-core in both colour schemes."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes.site_facts import HOSTILE, facts_of, make_cell

from builder.host.progress import no_progress
from builder.site.facts import CellState
from builder.site.pages import PAGES
from builder.site.write import write_site
from builder.writing import emit_json
from integration.site.conftest import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

_FAILED = "cells/gpu-1.4.0/5.14.0-427.40.1.el9_4.aarch64.html"
_PUBLISHED = "cells/gpu-1.4.0/5.14.0-427.30.1.el9_4.x86_64.html"
_NAMES = [*(f"{page.name}.html" for page in PAGES), _FAILED, _PUBLISHED]
# preload: it would fetch the style, which no file may do.
_JUDGE = "axe.run(document, {resultTypes: ['violations'], preload: false})"
_PHONE = {"viewport": {"width": 390, "height": 844}}
_SHOWN = "[data-section]:not([hidden]) tbody tr:not([hidden])"


def _shown(page: Page) -> int:
    return page.locator(_SHOWN).count()


def _find(page: Page, text: str) -> None:
    page.fill("[name=q]", text)


def test_filters_leave_what_fits_and_say_how_many(site: Site) -> None:
    with site.open() as page:
        everything = _shown(page)
        page.select_option("[name=minor]", "4.18")
        assert _shown(page) == 36
        page.select_option("[name=arch]", "x86_64")
        assert _shown(page) == 24
        page.select_option("[name=variant]", "rt")
        assert _shown(page) == 12
        _find(page, "570.31 RT")
        assert page.locator(_SHOWN).all_inner_texts()[0].startswith("5.14.0-570.31.1.el9_6.x86_64+rt")
        assert page.locator("[data-shown]").inner_text() == f"1 of {everything} shown"
        assert page.locator("[data-section]:visible").count() == 1, "what is empty is not there"
        page.click("button[type=reset]")
        page.wait_for_function("document.querySelector('[data-shown]').value === ''")
        assert _shown(page) == everything
        _find(page, "no such kernel")
        assert page.locator("[data-nothing]").is_visible()


def test_a_filtered_view_has_an_address_that_can_be_sent(site: Site) -> None:
    with site.open() as page:
        page.click("button[data-state=failed]")
        page.select_option("[name=minor]", "4.18")
        address, number = page.url, _shown(page)
    assert number == 1
    with site.open(f"index.html?{address.partition('?')[2]}") as page:
        assert _shown(page) == number
        assert page.get_attribute("button[data-state=failed]", "aria-pressed") == "true"
    with site.open("index.html?q=%3Cimg%20src%3Dx%3E&state=%22%5D%3Cb%3E&minor=9") as page:
        assert _shown(page) == 0, "an address is a stranger's, too"


@pytest.mark.parametrize(
    ("name", "anchor"),
    [
        ("index.html", "cell-gpu-1.4.0-on-5.14.0-427.30.1.el9_4.x86_64_rt"),
        ("index.html", "kernel-5.14.0-570.20.1.el9_6.aarch64"),
        ("index.html", "driver-fpga-1.4.0"),
        ("releases.html", "release-4.16.1-aarch64"),
        ("releases.html", "kernel-6.1.0-56-amd64"),
        ("failures.html", "cause-1"),
    ],
)
def test_deep_links_show_what_they_name(site: Site, name: str, anchor: str) -> None:
    with site.open(f"{name}#{anchor}") as page:
        target = page.locator(f"[id='{anchor}']")
        assert target.is_visible()
        box = target.bounding_box()
        assert box
        assert 0 <= box["y"] < 860, "it is in sight"


def test_a_link_to_what_a_filter_hides_shows_it(site: Site) -> None:
    with site.open("index.html?minor=4.18") as page:
        page.evaluate("location.hash = 'cell-gpu-1.4.0-on-5.14.0-427.30.1.el9_4.x86_64'")
        target = page.locator("[id='cell-gpu-1.4.0-on-5.14.0-427.30.1.el9_4.x86_64']")
        target.wait_for(state="visible")
        assert page.input_value("[name=minor]") == ""
        page.evaluate("location.hash = '%'")
        page.evaluate("location.hash = 'nothing-of-this-name'")


def test_keys_find_walk_and_open(site: Site) -> None:
    with site.open() as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("/")
        page.keyboard.type("5.14.0-570.2")
        assert page.input_value("[name=q]") == "5.14.0-570.2"
        rows = _shown(page)
        page.keyboard.press("Tab")
        page.locator(f"{_SHOWN} a.chip").first.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        wanted = page.locator(_SHOWN).nth(1).locator("a.chip").nth(1)
        assert page.evaluate("document.activeElement.id") == wanted.get_attribute("id")
        for _ in range(rows + 2):
            page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.id") == page.locator(_SHOWN).last.locator("a.chip").nth(
            1
        ).get_attribute("id")
        href = str(page.evaluate("document.activeElement.href"))
        page.keyboard.press("Enter")
        page.wait_for_url(href)
        page.go_back()
        page.focus("[name=q]")
        page.keyboard.press("Escape")
        assert page.input_value("[name=q]") == ""


def test_ten_thousand_cells_are_filtered_and_found(large_site: Site) -> None:
    with large_site.open() as page:
        assert page.locator("table.matrix a.chip").count() == 10_016
        _find(page, "5.14.0-570.200.1")
        assert _shown(page) == 3
    with large_site.open("index.html#cell-qat-1.4.0-on-5.14.0-427.100.1.el9_4.aarch64") as page:
        assert page.evaluate("document.activeElement.id") == "cell-qat-1.4.0-on-5.14.0-427.100.1.el9_4.aarch64"


@pytest.mark.bench
def test_what_ten_thousand_cells_cost(large_site: Site) -> None:
    """Seconds of the page's own thread, which other work on the machine does not lengthen; measured, never asserted."""
    for _ in range(5):
        with large_site.open() as page:
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.reload()
            measured = session.send("Performance.getMetrics")["metrics"]
            seconds = {item["name"]: item["value"] for item in measured}
            interactive = page.evaluate("performance.getEntriesByType('navigation')[0].domInteractive")
            print({"thread_s": round(seconds["TaskDuration"], 3), "dom_interactive_ms": round(interactive)})


@pytest.mark.npm
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", _NAMES)
def test_axe_finds_nothing(site: Site, axe: str, name: str, scheme: str) -> None:
    for size in ({}, _PHONE):
        with site.open(name, color_scheme=scheme, bypass_csp=True, **size) as page:
            for item in page.locator("details").all():
                item.evaluate("item => { item.open = true; }")
            page.evaluate(axe)
            found: dict[str, Any] = page.evaluate(_JUDGE)
            assert [
                (item["id"], item["nodes"][0]["html"], item["nodes"][0]["failureSummary"])
                for item in found["violations"]
            ] == []


@pytest.mark.npm
def test_axe_would_find_something(site: Site, axe: str) -> None:
    with site.open(bypass_csp=True) as page:
        page.evaluate("document.querySelector('h1').append(new Image())")
        page.evaluate("document.querySelector('.over').style.color = '#ccc'")
        page.evaluate(axe)
        assert {item["id"] for item in page.evaluate(_JUDGE)["violations"]} == {"image-alt", "color-contrast"}


@pytest.mark.parametrize("name", _NAMES)
def test_a_phone_shows_pages_without_going_sideways(site: Site, name: str) -> None:
    with site.open(name, **_PHONE) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("name", _NAMES)
def test_a_phone_shows_where_one_is_and_breaks_no_name_to_pieces(site: Site, name: str) -> None:
    with site.open(name, **_PHONE) as page:
        brand = page.locator(".top .brand").bounding_box()
        links = [item.bounding_box() for item in page.locator(".top nav a").all()]
        assert brand is not None
        assert len(links) == len(PAGES)
        for box in links:
            assert box is not None
            assert box["y"] >= brand["y"] + brand["height"], "nothing lies on the name"
            assert 0 <= box["x"] <= box["x"] + box["width"] <= 390, "all pages can be seen"
        names = page.locator(".scroll th[scope=row] a.mono:visible").all()
        heights = [box["height"] for item in names if (box := item.bounding_box())]
        assert max(heights, default=0) < 100, "a name has a few lines at most"


def test_without_scripts_everything_is_there_but_filters(site: Site) -> None:
    with site.open(java_script_enabled=False) as page:
        assert page.locator("table.matrix a.chip").count() == 330
        assert page.locator("[data-filter]").is_hidden()
        assert page.locator("table.matrix a.chip").first.is_visible()


def test_nothing_runs_that_is_not_the_sites_own(site: Site) -> None:
    """The policy holds in files, too: what somebody gets into a page does nothing."""
    context = site.browser.new_context()
    page = context.new_page()
    page.goto(f"{site.folder.as_uri()}/index.html")
    page.evaluate(
        """() => {
            const own = document.createElement("script"); own.textContent = "window.ran = 1"; document.body.append(own);
            const far = document.createElement("script"); far.src = "https://example.com/x.js"; document.body.append(far);
            const div = document.createElement("div"); div.innerHTML = "<img src=x onerror='window.ran = 2'>"; document.body.append(div);
            const style = document.createElement("style"); style.textContent = "h1 { color: #010203 }"; document.head.append(style);
        }"""
    )
    page.wait_for_timeout(200)
    assert page.evaluate("window.ran") is None
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") != "rgb(1, 2, 3)"
    assert page.evaluate("getComputedStyle(document.querySelector('.top')).position") == "sticky", (
        "its own style counts"
    )
    context.close()


def test_what_strangers_wrote_does_nothing(browser: Browser, tmp_path: Path) -> None:
    cell = replace(
        make_cell("5.14.0-427.30.1.el9_4.x86_64", CellState.FAILED),
        driver=HOSTILE,
        why=HOSTILE,
        reason=HOSTILE,
        image=HOSTILE,
    )
    assert cell.evidence
    assert cell.evidence.failure
    failure = replace(cell.evidence.failure, detail=HOSTILE, hint=HOSTILE, location=HOSTILE)
    cell = replace(cell, evidence=replace(cell.evidence, failure=failure, inputs={HOSTILE: HOSTILE}))
    log = tmp_path / f"cells/{cell.id}/build.log"
    log.parent.mkdir(parents=True)
    log.write_text(HOSTILE)
    write_site(replace(facts_of([cell]), notes=(HOSTILE,)), tmp_path / "site", work_dir=tmp_path, progress=no_progress)
    hostile = Site(tmp_path / "site", browser)
    for name in ("index.html", "failures.html", "cells/gpu-1.4.0/5.14.0-427.30.1.el9_4.x86_64.html"):
        with hostile.open(name) as page:
            assert page.locator("img").count() == 0
            assert "alert(1)" in page.inner_text("body")


def test_a_digest_is_copied_or_marked(site: Site) -> None:
    with site.open(_PUBLISHED) as page:
        button = page.locator("dt:has-text('Digest') + dd button.copy-it")
        button.click()
        page.wait_for_function(
            "button => ['copied', 'selected'].includes(button.textContent)", arg=button.element_handle()
        )
        if button.inner_text() == "selected":
            assert page.evaluate("getSelection().toString()").startswith("sha256:")


def test_paper_gets_what_matters(site: Site) -> None:
    with site.open(_PUBLISHED) as page:
        page.emulate_media(media="print")
        assert page.locator(".top").is_hidden()
        assert page.locator(".copy-it").first.is_hidden()
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details:not([open])").count() == 0


_PICTURES = {
    "site-matrix.png": ("index.html", "light", ""),
    "site-cell.png": (_PUBLISHED, "dark", ""),
    "site-drift.png": ("releases.html", "light", "#drift figure"),
}
"""What documents show: page, colour scheme, and the part of it; empty: what the window shows."""
_DOCS = Path(__file__).parents[3] / "docs"
# A letter's edge may fall otherwise; a colour, a gap or a word that is another changes far more of a picture.
_MOST_DIFFERENT = 0.002
_COMPARE = """async ([one, other]) => {
    const read = async (data) => {
        const image = new Image();
        image.src = `data:image/png;base64,${data}`;
        await image.decode();
        const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d", {willReadFrequently: true});
        canvas.drawImage(image, 0, 0);
        return canvas.getImageData(0, 0, image.width, image.height);
    };
    const [a, b] = [await read(one), await read(other)];
    if (a.width !== b.width || a.height !== b.height) return 1;
    let different = 0;
    for (let at = 0; at < a.data.length; at += 4)
        if ([0, 1, 2].some((part) => Math.abs(a.data[at + part] - b.data[at + part]) > 40)) different += 1;
    return different / (a.data.length / 4);
}"""


def _draw(site: Site, file: str, style: str = "") -> bytes:
    """Return a picture of the site; ``style`` spoils it."""
    name, scheme, part = _PICTURES[file]
    with site.open(name, color_scheme=scheme, viewport={"width": 1180, "height": 800}, bypass_csp=bool(style)) as page:
        if style:
            page.add_style_tag(content=style)
        if part:  # what is above it would move it by parts of a pixel
            page.evaluate(
                "for (const item of document.querySelectorAll('[data-section], .hero, .filter')) item.hidden = true"
            )
        return page.locator(part).first.screenshot() if part else page.screenshot()


def _describe_look(site: Site) -> dict[str, Any]:
    """Return what pictures depend on besides the site: the browser, and how wide its letters are."""
    with site.open() as page:
        wide = page.evaluate("document.querySelector('h1 .big').getBoundingClientRect().width")
        return {"chromium": site.browser.version, "letters": round(wide, 2)}


def _difference(browser: Browser, one: bytes, other: bytes) -> float:
    """Return which part of two pictures is not the same; all of it where their sizes differ."""
    page = browser.new_page()
    try:
        return float(page.evaluate(_COMPARE, [base64.b64encode(item).decode() for item in (one, other)]))
    finally:
        page.close()


def test_pictures(site: Site, tmp_path: Path) -> None:
    """What documents show. KMODSMITH_PICTURES=docs writes them there; the same page gives the same picture."""
    folder = Path(os.environ.get("KMODSMITH_PICTURES") or tmp_path)
    for file in _PICTURES:
        shots = [_draw(site, file) for _ in range(2)]
        assert shots[0] == shots[1]
        (folder / file).write_bytes(shots[0])
    (folder / "site-pictures.json").write_text(emit_json(_describe_look(site)))


def _need_same_look(site: Site) -> None:
    made = json.loads((_DOCS / "site-pictures.json").read_text())
    here = _describe_look(site)
    if made != here:
        pytest.skip(f"the pictures of docs/ were made by another browser: {made}, and here it is {here}")


@pytest.mark.parametrize("file", list(_PICTURES))
def test_pages_look_as_documents_show_them(site: Site, browser: Browser, file: str) -> None:
    _need_same_look(site)
    kept = (_DOCS / file).read_bytes()
    assert _difference(browser, kept, _draw(site, file)) <= _MOST_DIFFERENT, (
        "it looks otherwise than docs/ shows it: if that is meant, KMODSMITH_PICTURES=docs and this test file renew them"
    )


@pytest.mark.parametrize(
    ("file", "style"),
    [
        ("site-matrix.png", ".chip::before { display: none; }"),
        ("site-matrix.png", "h1 { letter-spacing: 0; }"),
        ("site-cell.png", ".card { border-radius: 0; padding: 1rem; }"),
        ("site-cell.png", ":root { --g3: #933; }"),
        ("site-drift.png", ".f-k-changed { fill: #0b5d8a; }"),
    ],
)
def test_what_looks_otherwise_is_found(site: Site, browser: Browser, file: str, style: str) -> None:
    assert _difference(browser, _draw(site, file), _draw(site, file, style)) > _MOST_DIFFERENT
