"""Log songs, ask, retrain, ask again: as a person does it, with and without scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import BASE_LOADS, DESK, PASSWORD, PHONE, Running, Visitor

pytestmark = pytest.mark.browser

Visit = Callable[..., Visitor]


def write_history(running: Running, folder: Path, name: str, count: int = 30) -> None:
    """Import real songs of the catalogue as undated listens, through the shell."""
    from app.db import Database
    from app.settings import Settings
    from app.tables import Song

    db = Database(Settings(home=running.home).url)
    with db.read() as session:
        songs = session.query(Song).order_by(Song.id).limit(count * 3).all()[::3]
    db.close()
    rows = ["artist\ttitle\tplays", *(f"{s.artist}\t{s.title}\t{n + 1}" for n, s in enumerate(songs))]
    file = folder / "history.tsv"
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    report = json.loads(running.shell("import", str(file), "--user", name, "--json"))
    assert report["taken"] == count


def titles(page: Page) -> list[str]:
    """The songs of the list that is shown."""
    expect(page.locator(".suggestion").first).to_be_visible(timeout=BASE_LOADS)
    return page.locator(".suggestion .song strong").all_inner_texts()


def no_sideways_scrolling(page: Page) -> None:
    """Nothing is wider than the window."""
    width = page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1], f"{page.url} is {width[0]} px wide in {width[1]}"


@pytest.mark.training
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_a_newcomer_logs_asks_retrains_and_rolls_back(
    running: Running, visit: Visit, tmp_path: Path, size: dict[str, int]
) -> None:
    mira = visit(running, size=size)
    page = mira.page
    mira.sign_up_first()
    no_sideways_scrolling(page)

    page.get_by_label("Favourite artists").fill("Nina Simone")
    page.locator("label.pick").first.click()
    page.get_by_role("button", name="Show me songs").click()
    first_list = titles(page)
    assert len(first_list) == 20
    expect(page.locator(".why").first).to_contain_text("Because of")
    no_sideways_scrolling(page)

    page.get_by_role("button", name=f"Dislike: {first_list[0]}", exact=False).click()
    expect(page.locator(".suggestion .song strong").first).not_to_have_text(first_list[0])
    assert first_list[0] not in titles(page)

    page.get_by_label("A wish, if you have one").fill("dancing all night")
    page.get_by_role("button", name="Ask").click()
    page.wait_for_url("**wish=dancing**")
    expect(page.locator("#list:not([aria-busy])")).to_be_visible()
    assert titles(page) != first_list

    page.get_by_role("link", name="Home").click()
    page.get_by_label("What did you just play?").press_sequentially(first_list[1][:14])
    expect(page.locator(".found li").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#lately .listen")).to_have_count(1)

    page.goto(f"{running.url}/taste")
    expect(page.locator("#retrain")).to_contain_text("more to go")
    write_history(running, tmp_path, "Mira")
    page.reload()
    page.get_by_role("button", name="Retrain my taste").click()
    expect(page.locator("#proof")).to_be_visible(timeout=120_000)
    expect(page.locator("#proof")).to_contain_text("hidden songs")
    expect(page.locator("#facts")).to_contain_text("18,432")
    expect(page.locator("#versions li")).to_have_count(2)
    no_sideways_scrolling(page)

    promoted = "Promoted" in page.locator("#proof h2").inner_text()
    other = "Use the base" if promoted else "Use version 1"
    page.get_by_role("button", name=other).click()
    expect(page.locator("#versions li.live")).to_contain_text("base" if promoted else "1")
    page.get_by_role("button", name="Use version 1" if promoted else "Use the base").click()
    if not promoted:
        page.get_by_role("button", name="Use version 1").click()
    page.goto(f"{running.url}/recommend")
    assert len(titles(page)) == 20
    expect(page.locator("#list")).to_contain_text("From your own adapter")
    assert mira.errors == []


@pytest.mark.training
def test_everything_essential_works_without_scripts(running: Running, visit: Visit, tmp_path: Path) -> None:
    mira = visit(running, scripts=False, size=PHONE)
    page = mira.page
    mira.sign_up_first()
    page.get_by_label("Favourite artists").fill("Nina Simone")
    page.get_by_role("button", name="Show me songs").click()
    before = titles(page)
    page.get_by_role("button", name=f"Not now: {before[0]}", exact=False).click()
    assert before[0] not in titles(page)

    page.get_by_role("link", name="Home").click()
    page.get_by_label("What did you just play?").fill("a song that nobody has")
    page.get_by_role("button", name="Find").click()
    page.get_by_label("Artist", exact=True).fill("Somebody New")
    page.get_by_label("Title", exact=True).fill("A Song Nobody Has")
    page.get_by_role("button", name="Log it", exact=True).last.click()
    expect(page.locator("#lately")).to_contain_text("A Song Nobody Has")

    page.goto(f"{running.url}/listens")
    page.get_by_role("link", name="Edit A Song Nobody Has").click()
    page.get_by_label("I skipped it").check()
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".listen").first).to_contain_text("skipped")

    write_history(running, tmp_path, "Mira")
    page.goto(f"{running.url}/taste")
    page.get_by_role("button", name="Retrain my taste").click()
    # The page reloads itself until the job has ended.
    expect(page.locator("#proof")).to_be_visible(timeout=120_000)
    page.get_by_role("button", name="More").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{running.url}/login")


def test_two_browsers_at_once_see_only_their_own(running: Running, visit: Visit) -> None:
    mira, ben = visit(running), visit(running, size=PHONE)
    mira.sign_up_first()
    mira.page.goto(f"{running.url}/friends")
    mira.page.get_by_role("button", name="Make an invite link").click()
    link = mira.page.get_by_label("Invite link").input_value()

    ben.page.goto(link)
    ben.page.get_by_label("Your name").fill("Ben")
    ben.page.get_by_label("Password").fill(PASSWORD)
    ben.page.get_by_role("button", name="Join").click()
    ben.page.wait_for_url("**/welcome")

    for who, title in ((mira, "Only Mira Knows"), (ben, "Only Ben Knows")):
        who.page.goto(f"{running.url}/listens/new")
        who.page.get_by_label("Artist", exact=True).fill("Nobody")
        who.page.get_by_label("Title", exact=True).fill(title)
        who.page.get_by_role("button", name="Log it", exact=True).last.click()
        expect(who.page.locator("#lately")).to_contain_text(title)
    for who, other in ((mira, "Only Ben Knows"), (ben, "Only Mira Knows")):
        who.page.goto(f"{running.url}/listens")
        expect(who.page.locator("main")).not_to_contain_text(other)
    ben.page.goto(link)
    expect(ben.page.locator("main")).to_contain_text("used already")


HOSTILE = [
    "<script>document.title='owned'</script><b>bold</b>",
    "\u202egnos rewop\u202c العربية 日本語",
    "💿🎧👩‍👩‍👧‍👦" * 20,
    "w" * 500,
]


def test_hostile_titles_are_only_text_on_every_page(running: Running, visit: Visit) -> None:
    mira = visit(running, size=PHONE)
    page = mira.page
    mira.sign_up_first()
    for title in HOSTILE:
        page.goto(f"{running.url}/listens/new")
        page.get_by_label("Artist", exact=True).fill(title)
        page.get_by_label("Title", exact=True).fill(title)
        page.get_by_role("button", name="Log it", exact=True).last.click()
        expect(page.locator("#lately")).to_be_visible()
    for path in ("/", "/listens", "/listens/new?q=w", "/recommend?wish=song", "/recommend?mode=familiar", "/taste"):
        page.goto(running.url + path)
        no_sideways_scrolling(page)
        assert "owned" not in page.title()
        assert page.locator("main b").count() == 0
    assert mira.errors == []
