"""Password hashing with argon2id, few at a time because each takes tens of MiB."""

from __future__ import annotations

import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from app.errors import BadInput

SHORTEST, LONGEST = 8, 128
_AT_ONCE = threading.BoundedSemaphore(2)
_HASHER = PasswordHasher()
_NOBODY = _HASHER.hash(secrets.token_hex(16))


def check_password(password: str) -> str:
    """A password fit to be set. Raises BadInput."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadInput(f"A password has {SHORTEST} to {LONGEST} characters; this one has {len(password)}.")
    try:
        password.encode("utf-8")
    except UnicodeEncodeError:
        raise BadInput("The password has a character that is no valid Unicode.") from None
    return password


def hash_password(password: str) -> str:
    """argon2id with the library's recommended cost."""
    with _AT_ONCE:
        return _HASHER.hash(check_password(password))


def verify(password_hash: str | None, password: str) -> bool:
    """Whether a password fits. Takes as long for nobody (None) as for somebody."""
    if len(password) > LONGEST:
        return False
    with _AT_ONCE:
        try:
            _HASHER.verify(password_hash or _NOBODY, password.encode("utf-8", "surrogatepass"))
        except (VerifyMismatchError, InvalidHashError):
            return False
    return password_hash is not None
