"""Passwords: none that anyone guesses, few hashed at once, and the same work whoever is asked for."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from argon2 import PasswordHasher, extract_parameters

from app.errors import BadInput, TooBusy
from app.services import accounts, passwords
from app.settings import PROJECT
from app.tables import Listener

GOOD = "a good long password"
COMMON = ["password", "12345678", "password123", "qwertyuiop", "iloveyou", "letmein1", "Passw0rd!", "aaaaaaaaaaaa",
          "abcdefgh", "1qaz2wsx", "x" * 128]  # fmt: skip


@pytest.mark.parametrize("password", COMMON)
def test_a_password_that_anyone_would_try_is_refused_and_not_repeated(password: str) -> None:
    with pytest.raises(BadInput, match="another password") as caught:
        passwords.hash_password(password)
    assert password == "password" or password not in str(caught.value)


@pytest.mark.parametrize(
    "password", [GOOD, "correct horse", "пароль с дождём", "x7!Lq0#z", "雨の日の長い散歩道", "🎺🐢🌧🚲🪁🧦🥝🗻"]
)
def test_a_password_of_ones_own_is_taken(password: str) -> None:
    assert passwords.check_password(password) == password


def test_ones_own_name_is_no_password() -> None:
    with pytest.raises(BadInput):
        passwords.check_password("bartholomew", ["Bartholomew"])


class Watched:
    """The real hasher, watched: how many run at once, and with what cost."""

    def __init__(self, real: Any) -> None:
        self.real, self.most, self._now, self._lock = real, 0, 0, threading.Lock()
        self.costs: list[str] = []

    def hash(self, password: str) -> str:
        """As the real one."""
        return str(self.real.hash(password))

    def verify(self, stored: str, password: bytes) -> bool:
        """As the real one."""
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.costs.append(stored.rsplit("$", 2)[0])
        try:
            return bool(self.real.verify(stored, password))
        finally:
            with self._lock:
                self._now -= 1


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """passwords' own hasher under watch."""
    hasher = Watched(passwords._HASHER)
    monkeypatch.setattr(passwords, "_HASHER", hasher)
    return hasher


def test_the_cost_that_is_shipped_is_the_librarys_recommendation() -> None:
    code = "from app.services import passwords; print(passwords._HASHER.hash('x'))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT).stdout
    shipped, wanted = extract_parameters(made.strip()), PasswordHasher()._parameters
    assert shipped == wanted and shipped.memory_cost >= 19 * 1024, "at least what OWASP asks for, in KiB"


def test_no_more_than_two_hashings_run_at_once(watched: Watched) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(lambda _: passwords.verify(None, GOOD), range(8)))
    assert watched.most <= passwords.AT_ONCE and len(watched.costs) == 8


def test_a_hashing_that_gets_no_turn_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(passwords, "_TURNS", threading.BoundedSemaphore(1))
    with passwords._turn(), pytest.raises(TooBusy):
        passwords.verify(None, GOOD)
    assert not passwords.verify(None, GOOD), "the turn was given back"


def test_unknown_names_cost_the_same_work_as_known_ones(watched: Watched) -> None:
    """Time is not measured; what takes the time is: one hashing of the same cost for each."""
    ana = Listener(name="Ana", password_hash=watched.real.hash(GOOD))
    without = Listener(name="Ben", password_hash=None)
    for who in (ana, without, None):
        with pytest.raises(accounts.NotSignedIn):
            accounts.check_credentials(who, "not the password")
    assert len(watched.costs) == 3 and len(set(watched.costs)) == 1 and "argon2id" in watched.costs[0]
