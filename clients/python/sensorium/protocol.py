"""docs/protocol.md as values: frames, headers, media, events, results. No sockets, no clocks but for deadlines."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import time
import uuid
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

VERSION = b"SNJP/1"
REPLIES = frozenset({"OK", "ACCEPTED", "EVENT", "REJECTED", "ERROR"})
FINAL = frozenset({"done", "partial", "failed", "cancelled", "expired", "dead"})

Header = Dict[str, Any]
Bytes = Union[bytes, bytearray, memoryview]
Source = Union[Bytes, str, "os.PathLike[str]", "Medium"]


@dataclasses.dataclass(frozen=True)
class Medium:
    """A picture, a recording or a video: bytes that are sent, a path on the daemon's machine, or the SHA-256 of bytes
    that this client sent before."""

    kind: str
    data: Optional[Bytes] = None
    path: Optional[str] = None
    sha256: Optional[str] = None
    name: Optional[str] = None

    @classmethod
    def of(cls, source: Source, kind: str) -> "Medium":
        """Bytes as they are, or a file, which is read here."""
        if isinstance(source, Medium):
            return source
        if isinstance(source, (bytes, bytearray, memoryview)):
            return cls(kind, data=source)
        path = pathlib.Path(source)
        return cls(kind, data=path.read_bytes(), name=path.name)

    @classmethod
    def by_path(cls, path: Union[str, "os.PathLike[str]"], kind: str) -> "Medium":
        """A file that the daemon reads: it has to stay as it is until the job has ended."""
        return cls(kind, path=os.path.abspath(os.fspath(path)), name=pathlib.Path(path).name)

    @classmethod
    def by_hash(cls, sha256: str, kind: str) -> "Medium":
        return cls(kind, sha256=sha256)


@dataclasses.dataclass(frozen=True)
class Reply:
    verb: str
    request: bytes
    header: Header


@dataclasses.dataclass(frozen=True)
class Event:
    """Something of a job that is watched (section 6). `event` is "state", "stage", "text" or "end"."""

    job: str
    seq: int
    event: str
    raw: Header = dataclasses.field(repr=False)

    @property
    def state(self) -> Optional[str]:
        return self.raw.get("state")

    @property
    def text(self) -> str:
        return str(self.raw.get("text", ""))

    @property
    def stage(self) -> Optional[str]:
        return self.raw.get("stage")

    @property
    def progress(self) -> Optional[Tuple[int, int]]:
        """Done and total."""
        p = self.raw.get("progress")
        return (p.get("done", 0), p.get("total", 0)) if isinstance(p, dict) else None

    @property
    def result(self) -> Optional["Result"]:
        """Of "end"."""
        r = self.raw.get("result")
        return Result(r) if isinstance(r, dict) else None


class _View:
    """Names of a header as attributes."""

    def __init__(self, raw: Header) -> None:
        self.raw = raw

    def _text(self, name: str) -> str:
        value = self.raw.get(name)
        return value if isinstance(value, str) else ""

    def _object(self, name: str) -> Header:
        value = self.raw.get(name)
        return value if isinstance(value, dict) else {}

    def _list(self, name: str) -> List[Any]:
        value = self.raw.get(name)
        return value if isinstance(value, list) else []

    def _whole(self, name: str) -> int:
        value = self.raw.get(name)
        return value if isinstance(value, int) else 0

    @property
    def job(self) -> str:
        return self._text("job")

    @property
    def state(self) -> str:
        return self._text("state")

    @property
    def task(self) -> str:
        return self._text("task")

    @property
    def tag(self) -> str:
        return self._text("tag")

    @property
    def attempts(self) -> int:
        return self._whole("attempts")

    @property
    def final(self) -> bool:
        return self.state in FINAL

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.job} {self.state}>"


class Status(_View):
    """How a job fares; `raw` is all that the daemon said (section 5)."""

    @property
    def model(self) -> str:
        return self._text("model")

    @property
    def priority(self) -> int:
        return self._whole("priority")

    @property
    def stage(self) -> str:
        return self._text("stage")

    @property
    def progress(self) -> Optional[Tuple[int, int]]:
        p = self._object("progress")
        return (p.get("done", 0), p.get("total", 0)) if p else None


class Result(_View):
    """What became of a job; `raw` is all that the daemon said (section 3.6)."""

    @property
    def text(self) -> str:
        return self._text("text")

    @property
    def finish(self) -> str:
        return self._text("finish")

    @property
    def error(self) -> Optional[Header]:
        return self._object("error") or None

    @property
    def missing(self) -> List[str]:
        return self._list("missing")

    @property
    def segments(self) -> List[Header]:
        return self._list("segments")

    @property
    def language(self) -> str:
        return self._text("language")

    @property
    def media(self) -> List[Header]:
        return self._list("media")

    @property
    def usage(self) -> Header:
        return self._object("usage")

    @property
    def timings(self) -> Header:
        return self._object("timings")

    @property
    def model(self) -> Header:
        return self._object("model")

    @property
    def whole(self) -> bool:
        """Done, and not in parts."""
        return self.state == "done"


# --- frames ---


def encode(verb: str, request: bytes, header: Mapping[str, Any], media: Sequence[Bytes] = ()) -> List[Bytes]:
    body = json.dumps(header, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return [VERSION, verb.encode(), request, body, *media]


def decode(frames: Sequence[bytes]) -> Optional[Reply]:
    """None for what is no reply: a daemon is not believed blindly."""
    if len(frames) < 4 or frames[0] != VERSION:
        return None
    try:
        verb, header = frames[1].decode("ascii"), json.loads(frames[3].decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if verb not in REPLIES or not isinstance(header, dict):
        return None
    return Reply(verb, bytes(frames[2]), header)


def event(header: Header) -> Optional[Event]:
    job, seq, kind = header.get("job"), header.get("seq"), header.get("event")
    if not isinstance(job, str) or not isinstance(seq, int) or not isinstance(kind, str):
        return None
    return Event(job, seq, kind, header)


# --- the header of SUBMIT and ESTIMATE ---


def submission(
    prompt: Optional[str] = None,
    *,
    task: Optional[str] = None,
    model: Optional[str] = None,
    messages: Optional[Sequence[Mapping[str, Any]]] = None,
    system: Optional[str] = None,
    images: Iterable[Source] = (),
    audio: Iterable[Source] = (),
    video: Iterable[Source] = (),
    media: Iterable[Medium] = (),
    priority: Optional[int] = None,
    deadline: Optional[float] = None,
    retries: Optional[int] = None,
    keep: Optional[int] = None,
    key: Optional[str] = None,
    on_disconnect: Optional[str] = None,
    share: Optional[str] = None,
    tag: Optional[str] = None,
    **options: Any,
) -> Tuple[Header, List[Bytes]]:
    """Header and media frames. `deadline` is in seconds from now, `keep` in seconds; `options` are those of section
    3.4. Media are in the order images, audio, video, media."""
    header: Header = {"task": task, "model": model, "prompt": prompt, "messages": messages, "system": system,
                      "priority": priority, "retries": retries, "keep_s": keep, "key": key,
                      "on_disconnect": on_disconnect, "share": share, "tag": tag}
    if deadline is not None:
        header["deadline_at_ms"] = int((time.time() + deadline) * 1000)
    if options:
        header["options"] = options
    everything = [*_media(images, "image"), *_media(audio, "audio"), *_media(video, "video"), *media]
    frames: List[Bytes] = []
    if everything:
        header["media"] = [_medium(m, frames) for m in everything]
    return {name: value for name, value in header.items() if value is not None}, frames


def new_key() -> str:
    return f"once-{uuid.uuid4().hex}"


def _media(sources: Iterable[Source], kind: str) -> List[Medium]:
    if isinstance(sources, (str, bytes, bytearray, memoryview, os.PathLike, Medium)):
        sources = [sources]  # one, where a list was asked for
    return [Medium.of(s, kind) for s in sources]


def _medium(m: Medium, frames: List[Bytes]) -> Header:
    header: Header = {"kind": m.kind}
    if m.path is not None:
        header["path"] = m.path
    elif m.sha256 is not None:
        header["sha256"] = m.sha256
    elif m.data is not None:
        header["frame"] = len(frames)
        frames.append(m.data)
    else:
        raise ValueError("a medium has to have data, a path or a hash")
    if m.name:
        header["name"] = m.name
    return header
