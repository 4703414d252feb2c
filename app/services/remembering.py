"""Lists that were made already, for as long as nothing was changed that lists are made of.

A list follows from some tables of the database, the catalogue's vectors and the clock. On SQLite one number tells
whether anybody committed a change of those tables (``Database.list_changes``); where there is no such number, every
list is made anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from app.db import Database
from app.services.recommending import Recommended
from app.tables import now

if TYPE_CHECKING:
    from app.lm.engine import Engine

_MOST = 128
_SECONDS = 60  # verdicts end, and plays stop being recent, with the clock alone

Question = tuple[str, str, str, int, int]  # listener, mode, wish, adventure, count


class Remembered:
    """Lists by question, all of one state of things. All methods may be called from any thread."""

    def __init__(self, db: Database) -> None:
        self._db, self._lock = db, threading.Lock()
        self._state: tuple[object, ...] = ()
        self._lists: OrderedDict[Question, Recommended] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lists)

    def ask(
        self, session: Session, engine: Engine, question: Question, make: Callable[[], tuple[Recommended, bool]]
    ) -> Recommended:
        """The list for a question, made by ``make`` in ``session`` unless it is there.

        ``make`` also says whether the list may be kept.
        """
        changes = None if session.in_transaction() else self._db.list_changes()  # begun earlier, it may see less
        if changes is None:
            return make()[0]
        state = (changes, engine.fingerprint, engine.vectors.snapshot().mark, now() // _SECONDS)
        with self._lock:
            if state != self._state:
                self._lists.clear()
                self._state = state
            found = self._lists.get(question)
            if found is not None:
                self._lists.move_to_end(question)
                return found
        made, may_be_kept = make()
        with self._lock:
            if may_be_kept and state == self._state:
                self._lists[question] = made
                if len(self._lists) > _MOST:
                    self._lists.popitem(last=False)
        return made
