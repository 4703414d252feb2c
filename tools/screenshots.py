"""Take the pictures in docs/screenshots: ``python tools/screenshots.py HOME [FOLDER]``.

HOME is one that `earshot setup` made; its data are copied first. The listener, her friend and what they play are
made up from the starter catalogue. A test runs this into a folder of its own and compares both.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

PROJECT = Path(__file__).resolve().parent.parent
OUT = PROJECT / "docs" / "screenshots"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
PASSWORD = "nine blue herons wade"
FRIEND_PLAYED = ["Kendrick Lamar", "Daft Punk"]
PLAYED = ["Nina Simone", "Radiohead", "Fela Kuti", "Björk", "Portishead", "Massive Attack", "Sade", "Talking Heads"]


def serve(home: Path) -> tuple[subprocess.Popen[str], str]:
    """Start the process pair; gives it and its address."""
    environment = {**os.environ, "EARSHOT_HOME": str(home), "EARSHOT_PORT": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve"], env=environment, cwd=PROJECT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"running on (http://\S+)", line):
            return process, found[1]
    raise SystemExit("the server did not start")


def picture(page: Page, out: Path, name: str, *, dark: bool = False) -> None:
    """One page at both widths."""
    page.emulate_media(color_scheme="dark" if dark else "light", reduced_motion="reduce")
    for kind, size in (("desk", DESK), ("phone", PHONE)):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.screenshot(path=out / f"{name}-{kind}.png")
    page.emulate_media(color_scheme="light")


def history(folder: Path, played: list[str]) -> Path:
    """A plain-format file of real songs by a few artists, one a day up to now."""
    sys.path.insert(0, str(PROJECT))
    from app.starter.reading import read

    songs = [(artist.name, song.title) for artist in read() if artist.name in played for song in artist.songs[:5]]
    today = int(time.time())
    rows = ["artist\ttitle\tat", *(f"{a}\t{t}\t{today - 3600 * (7 * n + 1)}" for n, (a, t) in enumerate(songs))]
    file = folder / "history.tsv"
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return file


def shell(home: Path, *arguments: str) -> None:
    """Run an earshot command on the home."""
    environment = {**os.environ, "EARSHOT_HOME": str(home)}
    subprocess.run([sys.executable, "-m", "app", *arguments], env=environment, cwd=PROJECT, check=True)


def arrive(page: Page, home: Path, url: str, out: Path) -> None:
    """Be the first listener, with a friend who shares and a history of one's own."""
    page.goto(url)
    picture(page, out, "setup")
    page.get_by_label("Your name").fill("Mira")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Start my circle").click()
    page.wait_for_url("**/welcome")
    picture(page, out, "welcome")
    shell(home, "import", str(history(home, PLAYED)), "--user", "Mira")
    page.goto(f"{url}/friends")
    page.get_by_role("button", name="Make an invite link").click()
    link = page.get_by_label("Invite link").input_value()
    friend = page.context.browser.new_page()  # type: ignore[union-attr]
    friend.set_default_timeout(180_000)
    friend.goto(link)
    friend.get_by_label("Your name").fill("Ben")
    friend.get_by_label("Password").fill(PASSWORD)
    friend.get_by_role("button", name="Join").click()
    friend.wait_for_url("**/welcome")
    friend.goto(f"{url}/friends")
    friend.get_by_label("Everyone in this circle").check()
    friend.locator("#sharing").get_by_role("button", name="Save").click()
    friend.wait_for_load_state()
    friend.close()
    shell(home, "import", str(history(home, FRIEND_PLAYED)), "--user", "Ben")


def look_around(page: Page, url: str, out: Path) -> None:
    """Retrain, ask, say, save: a picture of each."""
    page.goto(f"{url}/taste")
    page.get_by_role("button", name="Retrain my taste").click()
    expect(page.locator("#proof")).to_be_visible(timeout=300_000)
    picture(page, out, "taste")
    page.goto(f"{url}/recommend")
    first = page.locator(".suggestion").first
    expect(first).to_be_visible(timeout=180_000)
    first.locator("summary").first.click()
    picture(page, out, "recommend")
    first.get_by_role("button", name="Love:").click()
    expect(page.locator("#said")).to_contain_text("Loved", timeout=60_000)
    page.get_by_role("button", name="Save as a playlist").click()
    page.wait_for_url("**/playlists/*")
    picture(page, out, "playlist")
    page.goto(f"{url}/lists")
    page.locator("main .song a").first.click()
    picture(page, out, "list")
    page.goto(url)
    picture(page, out, "home")
    picture(page, out, "home-dark", dark=True)


def take(home: Path, out: Path) -> None:
    """Take them all."""
    chromium = subprocess.run([PROJECT / "tools" / "chromium"], check=True, capture_output=True, text=True)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        copy = Path(folder) / "home"
        shutil.copytree(home / "data", copy / "data")
        process, url = serve(copy)
        browser = playwright.chromium.launch(
            executable_path=chromium.stdout.strip(), args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            page = browser.new_page(viewport=DESK)  # type: ignore[arg-type]
            page.set_default_timeout(180_000)
            arrive(page, copy, url, out)
            look_around(page, url, out)
        finally:
            browser.close()
            process.send_signal(signal.SIGINT)
            process.wait(120)


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else OUT)
