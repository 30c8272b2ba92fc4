"""A browser, a site of a vendor's year, and a judge of accessibility."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes.site_facts import BUILD_LOG, make_facts
from playwright.sync_api import sync_playwright
from programs import need

from builder.host.progress import no_progress
from builder.image.archive import read_tar
from builder.site.write import render_site, write_site
from builder.sources.download import Downloads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request


@dataclass(frozen=True)
class _Axe:
    """The package of npm that judges pages; what is in it runs in the browser of these tests and nowhere else."""

    url: str = "https://registry.npmjs.org/axe-core/-/axe-core-4.14.1.tgz"
    size: int = 708_405
    sha256: str = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"


@pytest.fixture(scope="session")
def axe() -> str:
    """Return the script that finds what is wrong with a page."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kmodsmith" / "tests"
    with closing(Downloads(cache)) as downloads, downloads.fetch(_Axe()).open("rb") as stream:
        for member, content in read_tar(stream, most=16 * 1024**2):
            if member.name == "package/axe.min.js":
                return content.read(content.size).decode()
    raise AssertionError("axe-core has no axe.min.js")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give Chromium to the tests of one file, and no longer.

    Playwright's blocking interface leaves its event loop running in the thread of the tests until it is stopped: kept
    for the session, it made every test fail that came later in the same worker and starts a loop of its own.
    """
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=need("chromium"), chromium_sandbox=os.geteuid() != 0)
        yield opened
        opened.close()


@dataclass(frozen=True)
class Site:
    """A site in a folder, and the browser that opens it."""

    folder: Path
    browser: Browser

    @contextmanager
    def open(self, name: str = "index.html", **settings: Any) -> Iterator[Page]:
        """Open a page; what it asks for elsewhere, and what it complains of, fails the test."""
        context = self.browser.new_context(
            **{"viewport": {"width": 1280, "height": 860}, "reduced_motion": "reduce", **settings}
        )
        page = context.new_page()
        wrong: list[str] = []

        def hear(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"}:
                wrong.append(message.text)

        def refuse(dialog: Dialog) -> None:
            wrong.append(f"dialog {dialog.message}")
            dialog.dismiss()

        def look(request: Request) -> None:
            if not request.url.startswith((f"{self.folder.as_uri()}/", "data:image/svg+xml")):
                wrong.append(request.url)

        page.on("console", hear)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", refuse)
        page.on("request", look)
        page.goto(f"{self.folder.as_uri()}/{name}")
        yield page
        context.close()
        assert wrong == []


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    facts = make_facts()
    for cell in facts.cells:
        if cell.evidence and cell.evidence.failure:
            log = folder / cell.evidence.log
            log.parent.mkdir(parents=True)
            log.write_text(BUILD_LOG)
    write_site(facts, folder / "site", work_dir=folder, progress=no_progress)
    return Site(folder / "site", browser)


@pytest.fixture(scope="module")
def large_site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The matrix of ten thousand cells, without their pages."""
    folder = tmp_path_factory.mktemp("large")
    site = render_site(make_facts(278, ("gpu", "nic", "fpga", "qat")), work_dir=folder, progress=no_progress)
    for name, text in takewhile(lambda item: item[0] != "failures.html", site):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return Site(folder, browser)
