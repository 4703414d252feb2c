"""Every named error of Earshot, mapped to HTTP once in main.py.

``status`` is the HTTP status that a page or the API answers with; the message is written for the
person who caused it and names the offending value.
"""

from __future__ import annotations


class EarshotError(Exception):
    """The root of all named errors; anything else that escapes is a bug and gives a 500."""

    status = 500
    retry_after: int | None = None  # seconds after which trying again may help


class BadInput(EarshotError):
    """A value from outside that cannot be taken; the message names it."""

    status = 422


class NotSignedIn(EarshotError):
    """No session, or one that has ended."""

    status = 401


class Forbidden(EarshotError):
    """Signed in, but not allowed to see or touch this."""

    status = 403


class NotFound(EarshotError):
    """No such listener, song, listen, job or version, or not one that may be seen."""

    status = 404


class Conflict(EarshotError):
    """The request contradicts what is there, for instance a name that is taken."""

    status = 409


class TooFewListens(EarshotError):
    """Not enough history to train on; ``missing`` different songs are needed first."""

    status = 409

    def __init__(self, have: int, needed: int) -> None:
        self.have, self.needed, self.missing = have, needed, needed - have
        super().__init__(
            f"{have} different songs are logged; retraining needs {needed}, so {self.missing} are missing."
        )


class CircleTooSmall(EarshotError):
    """Not enough members with history enough for the circle's adapter."""

    status = 409

    def __init__(self, have: int, needed: int, songs: int) -> None:
        super().__init__(
            f"The circle's adapter needs {needed} members with {songs} different songs each; "
            f"{have} of those who opted in have as many."
        )


class TooBusy(EarshotError):
    """More is asked than can be done at this moment; trying again later helps."""

    status = 503
    retry_after = 5


class TooManyTries(EarshotError):
    """One address or account tried something too often; ``retry_after`` says when it may again."""

    status = 429

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        minutes = -(-retry_after // 60)
        super().__init__(f"That was tried too often. Please wait {minutes} minute{'s' if minutes > 1 else ''}.")


class CannotWrite(EarshotError):
    """The disk is full, or the folder or the database may not be written; nothing was changed."""

    status = 507


class DatabaseDamaged(EarshotError):
    """The database file is no database, or fails its own check; the message says how to go on."""

    status = 503


class BaseProblem(EarshotError):
    """The base cannot be used. The message says what to do."""

    status = 503


class BaseMissing(BaseProblem):
    """The base's files are not where models/base.toml or EARSHOT_BASE_MODEL says."""


class BaseAltered(BaseProblem):
    """The base's weights do not have the sha256 that models/base.toml states."""


class BaseUnsupported(BaseProblem):
    """The base's architecture has no layers that Earshot knows how to adapt."""


class AdapterProblem(EarshotError):
    """An adapter on disk cannot be trusted; the base answers instead."""

    status = 409


class AdapterMissing(AdapterProblem):
    """The version's folder or one of its files is not there."""


class AdapterAltered(AdapterProblem):
    """A file of the version does not have the sha256 that its card states."""


class AdapterUnfit(AdapterProblem):
    """Wrong shapes, values that are not finite, or another base's fingerprint."""


class AdapterUnreachable(AdapterProblem):
    """The shared storage that has the version does not answer; the base answers meanwhile."""


class StorageProblem(EarshotError):
    """The shared storage of EARSHOT_STORAGE does not answer, or refuses."""

    status = 503


class VectorsDamaged(EarshotError):
    """The catalogue vectors file contradicts its own index; it is rebuilt by encoding again."""

    status = 503


class Cancelled(EarshotError):
    """A job was asked to stop and did."""

    status = 409


class MusicBrainzProblem(EarshotError):
    """MusicBrainz, where it is asked at all, did not answer as it should; songs stay as they are."""

    status = 503
