"""Bring listening along in a real browser, with and without scripts: look, run, report, undo; export."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

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
    page.dispatch_event("[data-import]", "drop", {"dataTransfer": data})
    page.wait_for_url("**/import/*")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("heading", name="What became of it")).to_be_visible(timeout=120_000)
    page.goto(f"{mira.url}/export")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export everything").click()
    download.value.save_as(tmp_path / "account.zip")
    with zipfile.ZipFile(tmp_path / "account.zip") as archive:
        assert archive.read("listens.jsonl").count(b"\n") == len(PLAYS)
    assert mira.errors == []
