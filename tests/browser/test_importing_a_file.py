"""Bring listening along in a real browser, with and without scripts: look, run, report, undo; export."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import DESK, PHONE, Running, Visitor
from tests.services.imports.exports_made import PLAYS, spotify, zipped

pytestmark = pytest.mark.browser

Visit = Callable[..., Visitor]


@pytest.mark.parametrize(("scripts", "size"), [(True, PHONE), (False, DESK)], ids=["scripts, phone", "none, desk"])
def test_a_history_is_brought_along_and_taken_back(
    running: Running, visit: Visit, tmp_path: Path, scripts: bool, size: dict[str, int]
) -> None:
    rows = json.loads(spotify(PLAYS))
    rows.append(rows[0] | {"master_metadata_track_name": None, "episode_name": "<b>Talk</b>"})
    file = tmp_path / "my_spotify_data.zip"
    file.write_bytes(zipped({"Streaming_History_Audio_0.json": json.dumps(rows).encode()}))
    mira = visit(running, scripts=scripts, size=size)
    page = mira.page
    mira.sign_up_first()
    page.goto(f"{mira.url}/listens")
    page.get_by_role("link", name="Import").click()
    page.get_by_label("Files of your listening").set_input_files(file)
    page.get_by_role("button", name="Look into them").click()
    page.wait_for_url("**/import/*")
    expect(page.get_by_role("heading", name="What is in it")).to_be_visible()
    expect(page.get_by_text("Spotify, extended streaming history")).to_be_visible()
    expect(page.get_by_role("rowheader", name="a podcast episode")).to_be_visible()
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("heading", name="What became of it")).to_be_visible(timeout=120_000)
    width = page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]") if scripts else [0, 0]
    assert width[0] <= width[1]
    page.goto(f"{mira.url}/listens")
    expect(page.get_by_text("Sinnerman").first).to_be_visible()
    page.goto(f"{mira.url}/import")
    page.get_by_role("link", name="my_spotify_data.zip").click()
    page.get_by_role("button", name="Undo this import").click()
    expect(page.get_by_text("This import was undone")).to_be_visible()
    page.goto(f"{mira.url}/listens")
    expect(page.get_by_text("Nothing logged yet")).to_be_visible()
    assert mira.errors == []


def test_files_are_dropped_and_everything_is_taken_away(running: Running, visit: Visit, tmp_path: Path) -> None:
    mira = visit(running)
    page = mira.page
    mira.sign_up_first()
    page.goto(f"{mira.url}/import")
    data = page.evaluate_handle(
        """(text) => {
            const data = new DataTransfer();
            data.items.add(new File([text], "history.json"));
            return data;
        }""",
        spotify(PLAYS).decode(),
    )
    uploads: list[str] = []
    page.on("request", lambda request: uploads.append(request.url) if request.method == "POST" else None)
    page.evaluate(  # and a second time, before the first has arrived
        """(data) => [1, 2].forEach(() => document.querySelector("[data-import]").dispatchEvent(
            new DragEvent("drop", { dataTransfer: data })))""",
        data,
    )
    page.wait_for_url("**/import/*")
    assert len(uploads) == 1
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("heading", name="What became of it")).to_be_visible(timeout=120_000)
    page.goto(f"{mira.url}/export")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export everything").click()
    download.value.save_as(tmp_path / "account.zip")
    with zipfile.ZipFile(tmp_path / "account.zip") as archive:
        assert archive.read("listens.jsonl").count(b"\n") == len(PLAYS)
    assert mira.errors == []

    # A restart in the midst of an import: nobody answers, then a proxy says so, then the server does.
    asked = 0

    def stands(route: Route) -> None:
        nonlocal asked
        asked += 1
        if asked in (1, 3):
            route.abort()
        elif asked == 4:
            route.fulfill(status=502, body="<h1>Bad gateway</h1>")
        else:
            facts = {"active": asked < 6, "state": "running", "step": 1, "of": 9}
            route.fulfill(json=facts)

    page.route("**/import/followed", stands)
    page.goto(f"{mira.url}/import")
    with page.expect_navigation():  # at the end it shows itself anew
        page.evaluate(
            """() => {
                document.querySelector("main").innerHTML = `<section data-watch="/import/followed" data-state="running">
                    <progress data-bar></progress><p data-detail></p></section>`;
                import("/static/import.js?again");
            }"""
        )
    assert asked == 6
    page.evaluate(  # found again as it was left: in the midst of sending
        """() => {
            document.querySelector("[data-import] button").disabled = true;
            window.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
        }"""
    )
    expect(page.get_by_role("button", name="Look into them")).to_be_enabled()
