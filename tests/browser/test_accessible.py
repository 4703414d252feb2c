"""Every page by axe-core's rules for WCAG 2.2 AA, in both themes, and within 320 px; the first pages are light."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Response, expect

from app.web import navigation
from tests.browser.conftest import BASE_LOADS, PHONE, Running, Visitor
from tests.browser.test_the_whole_loop import no_sideways_scrolling

pytestmark = pytest.mark.browser

Visit = Callable[..., Visitor]
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
SMALLEST = {"width": 320, "height": 640}
BUDGET_BYTES, BUDGET_REQUESTS = 150_000, 8


@dataclass(frozen=True)
class Furnished:
    """Somebody's browser with something to see on every page, and the addresses of those pages."""

    page: Page
    url: str
    paths: list[str]
    errors: list[str]


@pytest.fixture
def furnished(running: Running, visit: Visit) -> Iterator[Furnished]:
    """Mira, who has played, asked, said and saved something."""
    mira = visit(running, size=PHONE)
    page = mira.page
    mira.sign_up_first()
    page.get_by_label("Favourite artists").fill("Nina Simone")
    page.get_by_role("button", name="Show me songs").click()
    first = page.locator(".suggestion").first
    expect(first).to_be_visible(timeout=BASE_LOADS)
    first.get_by_text("Listen, log, hide").click()
    first.get_by_role("button", name="Log a play of").click()
    expect(page.locator("#said")).to_contain_text("Logged")
    page.get_by_role("button", name="Save as a playlist").click()
    page.wait_for_url("**/playlists/*")
    playlist = page.url
    page.goto(f"{running.url}/lists")
    page.locator("main .song a").first.click()
    kept = page.url
    song = page.locator("main .song a").first.get_attribute("href") or ""
    artist = page.locator('main a[href^="/artists/"]').first.get_attribute("href") or ""
    page.goto(f"{running.url}/listens")
    listen = page.get_by_role("link", name="Edit").first.get_attribute("href") or ""
    rooms = [room.href for room in (*navigation.FIRST, *navigation.MORE)]
    more = ["/welcome", "/listens/new?q=a", listen, "/recommend?mode=familiar", "/recommend?wish=rain&adventure=2",
            "/lists", kept, playlist, song, artist, "/artists", "/decades/1970", "/nowhere"]  # fmt: skip
    paths = list(dict.fromkeys(path.removeprefix(running.url) for path in (*rooms, *more)))
    yield Furnished(page, running.url, paths, mira.errors)


def violations(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2.2 AA, one line for each element."""
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": WCAG}}).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]} ({node['failureSummary'][:300]})"
        for rule in found
        for node in rule["nodes"]
    ]


def test_every_page_passes_axe_in_both_themes_and_fits_the_smallest_phone(furnished: Furnished) -> None:
    page, wrong = furnished.page, []
    page.set_viewport_size(SMALLEST)  # type: ignore[arg-type]
    for path in furnished.paths:
        page.goto(furnished.url + path)
        no_sideways_scrolling(page)
        closed = page.locator("main details:not([open]) > summary")  # looked up anew each time: what is open drops out
        for _ in range(min(3, closed.count())):
            closed.first.click()
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
            wrong += [f"{path} {theme} {problem}" for problem in violations(page)]
    page.goto(furnished.url)
    page.get_by_role("button", name="More").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    wrong += [f"More: {problem}" for problem in violations(page)]
    assert wrong == []
    assert [line for line in furnished.errors if "404" not in line] == []


def test_the_pages_before_signing_in_pass_axe_in_both_themes(running: Running, visit: Visit) -> None:
    first, wrong = visit(running, size=SMALLEST), []
    first.page.goto(running.url)
    wrong += violations(first.page)
    first.sign_up_first()
    first.page.goto(f"{running.url}/friends")
    first.page.get_by_role("button", name="Make an invite link").click()
    link = first.page.get_by_label("Invite link").input_value()
    page = visit(running, size=SMALLEST).page
    for address in (f"{running.url}/login", link):
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            page.goto(address)
            no_sideways_scrolling(page)
            wrong += violations(page)
    assert wrong == []


def test_the_first_pages_are_light(furnished: Furnished) -> None:
    context = furnished.page.context.browser.new_context(  # type: ignore[union-attr]
        storage_state=furnished.page.context.storage_state()
    )
    for path in ("/", "/recommend"):
        page = context.new_page()
        answers: list[Response] = []
        page.on("response", lambda answer, answers=answers: answers.append(answer))
        page.goto(furnished.url + path, wait_until="load")
        expect(page.locator("main .cover").first).to_be_visible()
        whole = [answer for answer in answers if answer.ok and answer.request.resource_type != "eventsource"]
        sizes = {answer.url: len(answer.body()) for answer in whole}  # a stream of events has no end to wait for
        assert len(answers) <= BUDGET_REQUESTS, [(answer.status, answer.url) for answer in answers]
        assert 10_000 < sum(sizes.values()) <= BUDGET_BYTES, sizes
        assert all(address.startswith(furnished.url) for address in sizes), "something came from elsewhere"
        page.close()
    context.close()
