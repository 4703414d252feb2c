"""Every step that a process takes on disk or in the database, numbered by the interpreter and SQLAlchemy themselves.

A step is a file opened for writing, renamed, made, cut or removed below the home, a database statement that writes, and
either side of a commit. ``python -m tests.faults.steps SCENARIO HOME`` prints them; with a number it kills itself, as
kill -9 does, just before that step.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

WRITING = ("INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "BEGIN IMMEDIATE")
_FILE_EVENTS = {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.truncate", "os.chmod", "shutil.rmtree"}
_NOT_OURS = ("-journal", "-wal", "-shm", "earshot.db", "/lock")


class Steps:
    """Counts the steps of this process and, at the chosen one, kills it."""

    def __init__(self, home: Path, kill_at: int | None) -> None:
        self.home, self.kill_at, self.seen = str(home), kill_at, []  # type: ignore[var-annotated]
        self.counting = False

    def step(self, what: str) -> None:
        """One step is about to be taken."""
        if not self.counting:
            return
        if self.kill_at == len(self.seen):
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen.append(what)

    def watch(self) -> None:
        """From now on, count. Cannot be undone in this process."""
        sys.addaudithook(self._audit)
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "commit", lambda _: self.step("before commit"))
        event.listen(Engine, "checkin", lambda *_: self.step("after the transaction"))
        self.counting = True

    def _audit(self, name: str, arguments: tuple[Any, ...]) -> None:
        if not self.counting:
            return
        writes = name == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or name in _FILE_EVENTS) and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.fsdecode(arguments[0])
            if path.startswith(self.home) and not path.endswith(_NOT_OURS):
                self.step(f"{name} {path.removeprefix(self.home)}")

    def _statement(self, _c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith(WRITING):
            self.step(" ".join(statement.split())[:60])


def main(scenario: Callable[[Path, Steps], None], home: Path, kill_at: int | None) -> None:
    """Run a scenario under count and print its steps."""
    steps = Steps(home, kill_at)
    scenario(home, steps)
    steps.counting = False
    print(json.dumps(steps.seen))


if __name__ == "__main__":
    from tests.faults import scenarios

    _, name, home_given, *number = sys.argv
    main(getattr(scenarios, name), Path(home_given), int(number[0]) if number else None)
