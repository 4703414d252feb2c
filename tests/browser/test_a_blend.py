"""Two people agree to a common list: in two browsers, with and without scripts, whatever they are called."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESK, PASSWORD, PHONE, Running, Visitor
from tests.browser.test_the_whole_loop import no_sideways_scrolling

pytestmark = pytest.mark.browser

Visit = Callable[..., Visitor]
NAME = "<b>Ben</b>\u202ex💿" + "w" * 40


def picks(page: Page, artist: str) -> None:
    """A newcomer's first picks."""
    page.get_by_label("Favourite artists").fill(artist)
    page.get_by_role("button", name="Show me songs").click()
    expect(page.locator("#list")).to_be_visible()


@pytest.mark.parametrize(("size", "scripts"), [(PHONE, False), (DESK, True)], ids=["phone without scripts", "desk"])
def test_two_friends_blend_and_one_takes_it_back(
    running: Running, visit: Visit, size: dict[str, int], scripts: bool
) -> None:
    mira, ben = visit(running, size=size, scripts=scripts), visit(running, size=size, scripts=scripts)
    mira.sign_up_first()
    picks(mira.page, "Nina Simone")
    mira.page.goto(f"{running.url}/friends")
    mira.page.get_by_label("It ends after").select_option("1")
    mira.page.get_by_role("button", name="Make an invite link").click()
    link = mira.page.get_by_label("Invite link").input_value()
    no_sideways_scrolling(mira.page)

    ben.page.goto(link)
    ben.page.get_by_label("Your name").fill(NAME)
    ben.page.get_by_label("Password").fill(PASSWORD)
    ben.page.get_by_role("button", name="Join").click()
    ben.page.wait_for_url("**/welcome")
    picks(ben.page, "Metallica")

    mira.page.goto(f"{running.url}/blends")
    mira.page.get_by_label(NAME).check()
    mira.page.get_by_role("button", name="Ask them").click()
    expect(mira.page.locator("main")).to_contain_text("once everybody has agreed")
    no_sideways_scrolling(mira.page)

    ben.page.goto(f"{running.url}/blends")
    ben.page.locator("#blends a").click()
    ben.page.get_by_role("button", name="Yes, use my taste").click()
    expect(ben.page.locator("#list .suggestion")).to_have_count(20)
    mira.page.reload()
    expect(mira.page.locator("#list .suggestion")).to_have_count(20)
    expect(mira.page.locator("#list .suggestion").first).to_contain_text("suits better than")
    for who in (mira, ben):
        no_sideways_scrolling(who.page)
        assert who.page.locator("main b").count() == 0
    before = mira.page.locator("#list .song strong").all_inner_texts()
    mira.page.get_by_text("Who counts how much").click()
    mira.page.get_by_role("spinbutton", name="Mira").fill("9")
    mira.page.get_by_role("button", name="Weigh anew").click()
    expect(mira.page.locator("#list .song strong").first).to_be_visible()
    assert mira.page.locator("#list .song strong").all_inner_texts() != before

    ben.page.get_by_role("button", name="Leave this blend").click()
    expect(ben.page.locator("#blends")).to_have_count(0)
    mira.page.reload()
    expect(mira.page.locator("main")).to_contain_text("in no such blend")

    ben.page.goto(f"{running.url}/friends")
    ben.page.get_by_label("Only these friends:").check()
    ben.page.get_by_label("Mira", exact=True).check()
    ben.page.get_by_role("button", name="Save").click()
    mira.page.goto(f"{running.url}/friends")
    mira.page.locator("#people").get_by_role("link", name=NAME).click()
    expect(mira.page.locator("#agreement")).to_contain_text("both of you need some songs logged")
    no_sideways_scrolling(mira.page)
    errors = [e for who in (mira, ben) for e in who.errors if "404" not in e]  # the blend that is gone
    assert errors == []
