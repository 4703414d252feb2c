"""Take the pictures in docs/screenshots: ``python tools/screenshots.py HOME`` with a home that `earshot setup` made.

Works on a copy of the home. The listener and what she plays are made up from the starter catalogue.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

PROJECT = Path(__file__).resolve().parent.parent
OUT = PROJECT / "docs" / "screenshots"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
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


def picture(page: Page, name: str) -> None:
    """One page at both widths."""
    for kind, size in (("desk", DESK), ("phone", PHONE)):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.screenshot(path=OUT / f"{name}-{kind}.png")


def history(home: Path) -> Path:
    """A plain-format file of real songs by a few artists."""
    sys.path.insert(0, str(PROJECT))
    from app.starter.reading import read

    rows = ["artist\ttitle\tplays"]
    for artist in read():
        if artist.name in PLAYED:
            rows += [f"{artist.name}\t{song.title}\t{9 - place}" for place, song in enumerate(artist.songs[:5])]
    file = home / "history.tsv"
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return file


def main() -> None:
    """Take them all."""
    chromium = subprocess.run([PROJECT / "tools" / "chromium"], check=True, capture_output=True, text=True)
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder) / "home"
        shutil.copytree(sys.argv[1], home)
        process, url = serve(home)
        browser = playwright.chromium.launch(
            executable_path=chromium.stdout.strip(), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport=DESK)  # type: ignore[arg-type]
        page.set_default_timeout(180_000)
        page.goto(url)
        picture(page, "setup")
        page.get_by_label("Your name").fill("Mira")
        page.get_by_label("Password").fill("correct horse battery")
        page.get_by_role("button", name="Start my circle").click()
        page.wait_for_url("**/welcome")
        picture(page, "welcome")
        environment = {**os.environ, "EARSHOT_HOME": str(home)}
        subprocess.run(
            [sys.executable, "-m", "app", "import", str(history(home)), "--user", "Mira"],
            env=environment, cwd=PROJECT, check=True,
        )  # fmt: skip
        page.goto(f"{url}/taste")
        page.get_by_role("button", name="Retrain my taste").click()
        expect(page.locator("#proof")).to_be_visible(timeout=300_000)
        picture(page, "taste")
        page.goto(f"{url}/recommend")
        expect(page.locator(".suggestion").first).to_be_visible()
        picture(page, "recommend")
        page.goto(url)
        picture(page, "home")
        browser.close()
        process.send_signal(signal.SIGINT)
        process.wait(30)


if __name__ == "__main__":
    main()
