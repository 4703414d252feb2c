"""Ask, say, take back, hide, save: as a newcomer does it who came by an invite, with and without scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.browser.conftest import BASE_LOADS, DESK, PASSWORD, PHONE, Running, Visitor
from tests.browser.test_the_whole_loop import HOSTILE, no_sideways_scrolling, titles

pytestmark = pytest.mark.browser

Visit = Callable[..., Visitor]


def invited(running: Running, visit: Visit, *, scripts: bool, size: dict[str, int]) -> Visitor:
    """Mira was first and invites; Ben joins by her link and picks an artist."""
    mira = visit(running)
    mira.sign_up_first()
    mira.page.goto(f"{running.url}/friends")
    mira.page.get_by_role("button", name="Make an invite link").click()
    link = mira.page.get_by_label("Invite link").input_value()
    ben = visit(running, scripts=scripts, size=size)
    ben.page.goto(link)
    ben.page.get_by_label("Your name").fill("Ben")
    ben.page.get_by_label("Password").fill(PASSWORD)
    ben.page.get_by_role("button", name="Join").click()
    ben.page.get_by_label("Favourite artists").fill("Nina Simone")
    ben.page.get_by_role("button", name="Show me songs").click()
    expect(ben.page.locator(".suggestion")).to_have_count(20, timeout=BASE_LOADS)
    ben.page.wait_for_load_state()  # a list may be there before the scripts that this page's tests are about
    return ben


def focused(page: Page) -> str:
    """The name of the element that has the focus."""
    return str(page.evaluate("() => document.activeElement.getAttribute('aria-label') || document.activeElement.id"))


TWICE = "button => { button.click(); button.click(); }"  # a double click, faster than any answer
LATE_BODY = """() => {
    const whole = Response.prototype.text;
    Response.prototype.text = async function () {
        Response.prototype.text = whole;
        const text = await whole.call(this);
        await new Promise((go) => { window.lateBody = go; });
        return text;
    };
}"""


@contextmanager
def sent(page: Page) -> Iterator[list[str]]:
    """The addresses of the forms that a page sends meanwhile."""
    posts: list[str] = []

    def note(request: Request) -> None:
        if request.method == "POST":
            posts.append(request.url)

    page.on("request", note)
    yield posts
    page.remove_listener("request", note)


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_a_list_is_judged_by_keyboard_and_the_focus_stays(running: Running, visit: Visit, size: dict[str, int]) -> None:
    ben = invited(running, visit, scripts=True, size=size)
    page = ben.page
    first = titles(page)[0]
    page.get_by_role("button", name=f"Love: {first}").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text(f"Loved: {first}")
    assert focused(page).startswith("Love: ")
    second = titles(page)[1]  # of the list that the love has changed
    page.get_by_role("button", name=f"Dislike: {second}").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text(f"Disliked: {second}")
    assert second not in titles(page) and focused(page).startswith("Dislike: ")
    page.get_by_role("button", name=f"Undo: {second}").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("Taken back")
    assert second in titles(page)

    third = page.locator(".suggestion").nth(2)
    with sent(page) as posts:
        third.locator('[data-verdict="love"]').evaluate(TWICE)
        expect(page.locator("#said")).to_contain_text("Loved:")
        expect(page.locator('#said input[name="verdict"]')).to_have_value("clear")  # what Undo says
        page.locator('.suggestion form[action="/listens"] button').first.evaluate(TWICE)
        expect(page.locator("#said")).to_contain_text("Logged:")
    assert [post.rsplit("/", 1)[1] for post in posts] == ["feedback", "listens"]

    before = titles(page)
    page.get_by_label("From safe to adventurous").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**adventure=2")
    expect(page.locator("#list:not([aria-busy])")).to_be_visible()
    assert titles(page) != before and focused(page) == "adventure"

    why = page.locator("details.why").first
    why.locator("summary").click()
    expect(why.locator("meter").first).to_be_visible()
    no_sideways_scrolling(page)

    card = page.locator(".suggestion").first
    artist = card.locator('a[href^="/artists/"]').inner_text()
    card.get_by_text("Listen, log, hide").click()
    assert "youtube.com" in (card.get_by_role("link", name="at YouTube").get_attribute("href") or "")
    card.get_by_role("button", name=f"Hide this artist: {artist}").click()
    expect(page.locator("#said")).to_contain_text("is hidden")
    assert artist not in page.locator('.suggestion a[href^="/artists/"]').all_inner_texts()

    page.get_by_label("Name of the playlist").fill("Kept")
    page.get_by_role("button", name="Save as a playlist").click()
    expect(page.get_by_role("heading", name="Kept")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="XSPF").click()
    assert download.value.suggested_filename == "Kept.xspf"
    no_sideways_scrolling(page)
    assert ben.errors == []

    page.goto(f"{running.url}/recommend")
    older = titles(page)
    page.evaluate(LATE_BODY)
    page.get_by_text("Familiar", exact=True).click()
    page.wait_for_function("() => window.lateBody")  # its answer has begun, and does not end
    page.get_by_text("Discover", exact=True).click()
    expect(page.locator("#list:not([aria-busy])")).to_be_visible()
    page.evaluate("() => window.lateBody()")
    assert titles(page) == older
    page.route("**/listens", lambda route: route.fulfill(status=409, json={"message": "Logged already."}), times=1)
    played = page.locator('.suggestion form[action="/listens"] button').first
    played.evaluate("button => button.click()")
    expect(page.locator("#said")).to_contain_text("Logged already.")
    page.route("**/listens", lambda route: route.abort(), times=1)
    played.evaluate("button => button.click()")
    expect(page.locator("#said")).to_contain_text("does not answer")
    played.evaluate("button => button.click()")
    expect(page.locator("#said")).to_contain_text("Logged:")


def test_lists_need_no_scripts(running: Running, visit: Visit) -> None:
    page = invited(running, visit, scripts=False, size=PHONE).page
    first = titles(page)[0]
    page.get_by_role("button", name=f"Not now: {first}").click()
    expect(page.locator(".said")).to_contain_text(first)
    assert first not in titles(page)
    page.get_by_role("button", name=f"Undo: {first}").click()
    assert first in titles(page)
    page.get_by_role("link", name="quiet piano to read to").click()
    expect(page.get_by_label("A wish, if you have one")).to_have_value("quiet piano to read to")
    page.get_by_text("Familiar", exact=True).click()
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#list")).to_contain_text("Nothing here yet")
    page.get_by_role("link", name="Earlier lists").click()
    page.get_by_role("link", name="quiet piano to read to").click()
    expect(page.locator("main")).to_contain_text("What came of it")
    page.get_by_role("button", name="Save as a playlist").click()
    expect(page.get_by_role("heading", name="quiet piano to read to")).to_be_visible()
    page.get_by_role("button", name="More").click()
    page.get_by_role("link", name="Settings", exact=True).click()
    page.locator("#zone").select_option("Asia/Tokyo")
    page.locator("#time-zone").get_by_role("button", name="Save").click()
    page.wait_for_url("**/settings#time-zone")
    expect(page.locator("#zone")).to_have_value("Asia/Tokyo")


def test_a_song_is_logged_in_place_and_the_focus_stays_in_the_field(running: Running, visit: Visit) -> None:
    mira = visit(running, size=PHONE)
    page = mira.page
    mira.sign_up_first()
    page.goto(running.url)
    field = page.get_by_label("What did you just play?")
    field.press_sequentially("elvis")
    expect(page.locator(".found li").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#lately .listen")).to_have_count(1)
    expect(page.get_by_role("status")).to_contain_text("Logged:")
    expect(field).to_be_focused()
    expect(field).to_have_value("")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#lately .listen")).to_have_count(0)
    with sent(page) as posts:
        field.press_sequentially("elvis")
        page.locator(".found li").nth(1).evaluate(TWICE)
        expect(page.locator("#lately .listen")).to_have_count(1)
        page.get_by_role("button", name="Undo").evaluate(TWICE)
        expect(page.locator("#lately .listen")).to_have_count(0)
    assert [post.rsplit("/", 1)[1] for post in posts] == ["listens", "delete"]
    assert page.url == f"{running.url}/" and mira.errors == []

    page.goto(f"{running.url}/listens/new?q=elvis")
    pressed = page.get_by_role("button", name="Log it").first.evaluate(
        """button => {
            const stopped = []; // at the end of each submit's way, without leaving the page
            window.addEventListener("submit", (event) => {
                stopped.push(event.defaultPrevented);
                event.preventDefault();
            });
            button.click();
            button.click();
            return stopped;
        }"""
    )
    assert pressed == [False, True] and mira.errors == []
    page.goto(running.url)

    def log(refuse: Callable[[Route], None] | None = None) -> None:
        if refuse:
            page.route("**/listens", refuse, times=1)
        field.fill("elvis")
        page.locator(".found li").first.click()

    log(lambda route: route.fulfill(status=409, json={"message": "Logged already."}))
    expect(page.get_by_role("alert")).to_have_text("Logged already.")
    log(lambda route: route.abort())
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    log()
    expect(page.locator("#lately .listen")).to_have_count(1)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_what_was_typed_before_the_script_came_is_found_too(running: Running, visit: Visit) -> None:
    mira = visit(running)
    page = mira.page
    mira.sign_up_first()
    late: list[Route] = []
    page.route("**/static/log.js", lambda route: late.append(route), times=1)
    with page.expect_request("**/static/log.js"):
        page.goto(running.url, wait_until="commit")
    page.get_by_label("What did you just play?").press_sequentially("elvis")
    expect(page.get_by_role("option")).to_have_count(0)
    late[0].continue_()
    expect(page.get_by_role("option").first).to_be_visible()
    assert mira.errors == []


def test_hostile_names_break_no_page_of_lists(running: Running, visit: Visit) -> None:
    mira = visit(running, size={"width": 320, "height": 640})
    page = mira.page
    mira.sign_up_first()
    songs = []
    for title in HOSTILE:
        page.goto(f"{running.url}/listens/new")
        page.get_by_label("Artist", exact=True).fill(title)
        page.get_by_label("Title", exact=True).fill(title)
        page.get_by_role("button", name="Log it", exact=True).last.click()
        songs.append(page.locator("#lately .song a").first.get_attribute("href"))
    for song in songs:
        page.goto(f"{running.url}{song}")
        no_sideways_scrolling(page)
        page.get_by_label("Name of a new playlist").or_(page.get_by_label("Playlist", exact=True)).first.is_visible()
    page.goto(f"{running.url}/playlists")
    page.get_by_label("Name of a new playlist").fill(HOSTILE[0])
    page.get_by_role("button", name="Make it").click()
    playlist = page.url
    for song in songs:
        page.goto(f"{running.url}{song}")
        page.get_by_role("button", name="Add").click()
    for path in ("/", "/recommend", "/recommend?adventure=2", "/lists", "/playlists", playlist, "/settings", "/browse"):
        page.goto(path if path.startswith("http") else running.url + path)
        no_sideways_scrolling(page)
        assert page.title() != "owned" and page.locator("main b").count() == 0
    page.goto(playlist)
    expect(page.locator("main ol li")).to_have_count(len(HOSTILE))
    assert mira.errors == []
