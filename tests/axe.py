"""What axe-core finds in a page: who cannot read it, and why."""

from __future__ import annotations

from dataclasses import dataclass

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page


@dataclass(frozen=True)
class Fault:
    """A rule that a page breaks, how bad that is, and its first place."""

    rule: str
    impact: str
    places: int
    first: str


def faults(browser: Browser, address: str, *, scheme: str = "light") -> list[Fault]:
    """Open a page and let axe-core look at it."""
    context = browser.new_context(color_scheme=scheme)
    try:
        page = context.new_page()
        page.goto(address)
        return faults_of(page)
    finally:
        context.close()


def faults_of(page: Page) -> list[Fault]:
    """Let axe-core look at what a page shows now."""
    found = Axe().run(page).response
    assert len(found["passes"]) > 10, "axe-core looked at nothing"
    return [
        Fault(one["id"], one["impact"], len(one["nodes"]), one["nodes"][0]["html"])
        for one in found["violations"]
    ]


def serious(found: list[Fault]) -> list[Fault]:
    """Those that keep somebody from reading."""
    return [one for one in found if one.impact in ("serious", "critical")]
