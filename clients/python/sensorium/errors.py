"""What can go wrong. Everything here is a SensoriumError."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Optional

if TYPE_CHECKING:
    from .protocol import Result


class SensoriumError(Exception):
    """The text is one sentence for a person."""


class NoAnswer(SensoriumError, ConnectionError):
    """The daemon is not there, does not know this client, or was silent for too long."""


class NotFinished(SensoriumError, TimeoutError):
    """The job goes on: the time that was given to wait for it is over."""


class Refused(SensoriumError):
    """The daemon said no. `code` is for programs (docs/protocol.md, section 8), `field` says what is to blame."""

    def __init__(self, code: str, message: str, field: Optional[str] = None,
                 header: Optional[Mapping[str, Any]] = None) -> None:
        super().__init__(message or code)
        self.code = code
        self.message = message
        self.field = field
        self.header = dict(header or {})


class BadRequest(Refused):
    """The same request would fail again: a field, the media, a path, a deadline."""


class TooLarge(BadRequest):
    """`header` has "limit" and "value"."""


class UnknownModel(BadRequest):
    """Client.ping() lists the models."""


class UnknownHash(BadRequest):
    """The daemon does not have these bytes, or not any more: send them."""


class KeyConflict(BadRequest):
    """Another job has this key."""


class NotFound(Refused):
    """No such job, or not yours."""


class NotFinal(Refused):
    """The job has to be cancelled first."""


class Forbidden(Refused):
    """The role of this client's certificate does not allow it."""


class Rejected(Refused):
    """Not now: the queue, this client's share of it, or the disk is full. Nothing was kept; send it again after
    `retry_after` seconds, or submit with `patience`."""

    def __init__(self, code: str, message: str, retry_after: float, header: Optional[Mapping[str, Any]] = None) -> None:
        super().__init__(code, message, header=header)
        self.retry_after = retry_after


class JobFailed(SensoriumError):
    """The job ended as failed, cancelled, expired or dead. `code` and the text say why; `result` is all there is."""

    def __init__(self, result: "Result") -> None:
        error = result.error or {}
        super().__init__(error.get("message") or f"{result.job} is {result.state}")
        self.result = result
        self.state = result.state
        self.code: str = error.get("code", result.state)


class StreamDiverged(SensoriumError):
    """The job had to begin anew, and now says something else than what was streamed: that does not count.
    Job.result() has what does."""


_CODES = {
    "not_found": NotFound, "not_final": NotFinal, "forbidden": Forbidden, "unknown_model": UnknownModel,
    "unknown_hash": UnknownHash, "key_conflict": KeyConflict, "too_large": TooLarge, "bad_json": BadRequest,
    "bad_field": BadRequest, "bad_media": BadRequest, "path_forbidden": BadRequest, "path_unreadable": BadRequest,
    "deadline_past": BadRequest, "missing_frame": BadRequest,
}


def refusal(verb: str, header: Mapping[str, Any]) -> Refused:
    """The exception that an ERROR or a REJECTED is."""
    code, message = str(header.get("code", "unknown")), str(header.get("message", ""))
    if verb == "REJECTED":
        after = header.get("retry_after_ms", 0)
        return Rejected(code, message, after / 1000 if isinstance(after, (int, float)) else 0.0, header)
    field = header.get("field")
    return _CODES.get(code, Refused)(code, message, field if isinstance(field, str) else None, header)
