"""Password hashing with argon2id, few at a time because each takes tens of MiB, and no password that anyone guesses."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from app.errors import BadInput, TooBusy

SHORTEST, LONGEST = 8, 128
AT_ONCE = 2
_WAIT_SECONDS = 20.0
_READ_BY_ESTIMATOR = 72  # characters; its work grows faster than the length
_EASIEST = 2  # of zxcvbn's 0 to 4: more than a million guesses
_TURNS = threading.BoundedSemaphore(AT_ONCE)
_HASHER = PasswordHasher()


class Hashed(str):
    """A hash of ``hash_password``, so that nobody takes it for a password: forms and bodies give plain strings."""

    __slots__ = ()


@lru_cache
def _nobody(hasher: PasswordHasher) -> str:
    """What a password is compared with if there is no such listener; of the same cost as everybody's."""
    return hasher.hash(secrets.token_hex(16))


def check_password(password: str, names: Sequence[str] = ()) -> str:
    """A password fit to be set: 8 to 128 characters, and not one of the first million that anyone would try.

    ``names`` are words that others know of its owner. Raises BadInput, which does not repeat the password.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadInput(f"A password has {SHORTEST} to {LONGEST} characters; this one has {len(password)}.")
    try:
        password.encode("utf-8")
    except UnicodeEncodeError:
        raise BadInput("The password has a character that is no valid Unicode.") from None
    from zxcvbn import zxcvbn  # its words are 12 MB, which the worker and most days of a web process do without

    guessed = zxcvbn(password[:_READ_BY_ESTIMATOR], user_inputs=list(names))
    if guessed["score"] < _EASIEST:
        why = guessed["feedback"]["warning"] or "It is easy to guess."
        raise BadInput(
            f"Please choose another password. {why} A few words that do not belong together make a good one."
        )
    return password


@contextmanager
def _turn() -> Iterator[None]:
    """One of the few hashings at a time. Raises TooBusy rather than keep a request waiting for long."""
    if not _TURNS.acquire(timeout=_WAIT_SECONDS):
        raise TooBusy("Too many people sign in at this moment; please try again in a minute.")
    try:
        yield
    finally:
        _TURNS.release()


def hash_password(password: str | Hashed, names: Sequence[str] = ()) -> Hashed:
    """argon2id with the library's recommended cost; what is hashed already stays. Raises BadInput or TooBusy.

    It takes its time, and a turn may be long in coming: call it before the write lock of a database is held.
    """
    if isinstance(password, Hashed):
        return password
    check_password(password, names)
    with _turn():
        return Hashed(_HASHER.hash(password))


def verify(password_hash: str | None, password: str) -> bool:
    """Whether a password fits. Does the same work for nobody (None) as for somebody. Raises TooBusy."""
    if len(password) > LONGEST:
        return False
    with _turn():
        try:
            _HASHER.verify(password_hash or _nobody(_HASHER), password.encode("utf-8", "surrogatepass"))
        except (VerifyMismatchError, InvalidHashError):
            return False
    return password_hash is not None
