"""What a client does, without saying how it waits: generators that ask for one thing after the other (send this, wait
for the reply, sleep, hand this to the caller), and that a driver, blocking or asyncio, serves. So both clients try again,
resume and give up in the same way."""

from __future__ import annotations

import dataclasses
import random
import time
from typing import Any, Callable, Dict, Generator, Mapping, Optional, Sequence, TypeVar, Union

from . import errors, protocol
from .protocol import Bytes, Event, Header, Reply, Result

T = TypeVar("T")
SUBMIT_ROUNDS = 3
RESULT_WAIT_S = 10.0
BUSY_MAX_S = 10.0
SILENCE_S = 20.0  # after that a watch is asked for again


@dataclasses.dataclass
class Send:
    """Gives the request's id; raises NoAnswer when it cannot be sent by `until` (time.monotonic())."""

    verb: str
    header: Mapping[str, Any]
    media: Sequence[Bytes]
    until: float


@dataclasses.dataclass
class Wait:
    """Gives the next reply to the request: LOST when the connection was lost, None when there is none by `until`."""

    request: bytes
    until: float


@dataclasses.dataclass
class Forget:
    """No reply to the request is wanted any more; the end of a flow says the same of all its requests."""

    request: bytes


@dataclasses.dataclass
class Sleep:
    seconds: float


@dataclasses.dataclass
class Emit:
    """Something for the caller of an iterator."""

    what: Any


Flow = Generator[Union[Send, Wait, Forget, Sleep, Emit], Any, T]
LOST = Reply("LOST", b"", {"code": "lost", "message": "the connection was lost before there was an answer"})


class Replies:
    """Which reply is whose, and what is known of the connection. `sink(reply)` is called for each reply."""

    def __init__(self) -> None:
        self._last = 0
        self._sinks: Dict[bytes, Callable[[Reply], None]] = {}
        self.connected = False
        self.trouble = ""
        self.hopeless = False  # waiting does not help: keys do not fit

    def new(self, sink: Callable[[Reply], None]) -> bytes:
        self._last += 1
        request = b"%d" % self._last
        self._sinks[request] = sink
        return request

    def forget(self, request: bytes) -> None:
        self._sinks.pop(request, None)

    def take(self, frames: Sequence[bytes]) -> None:
        reply = protocol.decode(frames)
        sink = self._sinks.get(reply.request) if reply else None
        if reply and sink:
            sink(reply)

    def lost(self) -> None:
        self.connected = False
        for sink in list(self._sinks.values()):
            sink(LOST)

    def no_answer(self, endpoint: str, seconds: float) -> errors.NoAnswer:
        if self.trouble:
            return errors.NoAnswer(f"{endpoint}: {self.trouble}")
        return errors.NoAnswer(f"no answer from {endpoint} within {seconds:g} s: is sensoriumd running?")


def call(verb: str, header: Mapping[str, Any], timeout: float, media: Sequence[Bytes] = (),
         again: bool = True) -> Flow[Optional[Header]]:
    """One request, one reply. `again`: it may be sent twice. None: there was no reply in time."""
    until = time.monotonic() + timeout
    while True:
        request = yield Send(verb, header, media, until)
        reply: Optional[Reply] = yield Wait(request, until)
        while reply is not None and reply.verb == "EVENT":  # no answer
            reply = yield Wait(request, until)
        yield Forget(request)
        if reply is None:
            return None
        if reply is LOST and again:
            continue
        if reply is LOST:
            raise errors.NoAnswer(str(LOST.header["message"]))
        if reply.verb in ("ERROR", "REJECTED"):
            raise errors.refusal(reply.verb, reply.header)
        return reply.header


def ask(verb: str, header: Mapping[str, Any], timeout: float, media: Sequence[Bytes] = (),
        again: bool = True) -> Flow[Header]:
    answer = yield from call(verb, header, timeout, media, again)
    if answer is None:
        raise errors.NoAnswer(f"no answer to {verb} within {timeout:g} s")
    return answer


def submit(header: Header, media: Sequence[Bytes], timeout: float, patience: float) -> Flow[Header]:
    """Once, whatever happens: with a key the daemon knows what it has already."""
    header.setdefault("key", protocol.new_key())
    until = time.monotonic() + patience
    silent = busy = 0
    while True:
        try:
            answer = yield from call("SUBMIT", header, timeout, media)
        except errors.Rejected as rejected:
            pause = min((rejected.retry_after or 0.1) * 2 ** min(busy, 8), BUSY_MAX_S) * random.uniform(0.5, 1)
            busy += 1
            if time.monotonic() + pause > until:
                raise
            yield Sleep(pause)
            continue
        if answer is not None:
            return answer
        silent += 1
        if silent == SUBMIT_ROUNDS:
            raise errors.NoAnswer(f"no answer to SUBMIT within {silent} times {timeout:g} s")


def result(job: str, wait: Optional[float], timeout: float) -> Flow[Result]:
    """wait None: for ever."""
    until = None if wait is None else time.monotonic() + wait
    while True:
        left = RESULT_WAIT_S if until is None else min(max(until - time.monotonic(), 0), RESULT_WAIT_S)
        answer = yield from ask("RESULT", {"job": job, "wait_ms": int(left * 1000)}, timeout + left)
        if answer.get("state") in protocol.FINAL:
            return Result(answer)
        if until is not None and time.monotonic() >= until:
            raise errors.NotFinished(f"{job} is {answer.get('state')}: not finished within {wait:g} s")


def checked(r: Result) -> Result:
    if r.state not in ("done", "partial"):
        raise errors.JobFailed(r)
    return r


def watch(job: str, after: int, timeout: float, silence: float = SILENCE_S) -> Flow[None]:
    """Emits each event once and in order, until "end": over lost connections, and when the daemon stopped sending."""
    first = True
    while True:
        if not first:  # or there would be two
            request = yield Send("UNWATCH", {"job": job}, (), time.monotonic() + timeout)
            yield Forget(request)
        first = False
        header = {"job": job, "after": after} if after else {"job": job}
        request = yield Send("WATCH", header, (), time.monotonic() + timeout)
        while True:
            reply = yield Wait(request, time.monotonic() + silence)
            if reply is None or reply is LOST:
                break
            if reply.verb in ("ERROR", "REJECTED"):
                raise errors.refusal(reply.verb, reply.header)
            event = protocol.event(reply.header) if reply.verb == "EVENT" else None
            if event is None or event.job != job or (event.seq <= after and event.event != "end"):
                continue
            after = max(after, event.seq)
            yield Emit(event)
            if event.event == "end":
                return
        yield Forget(request)


class TextStream:
    """Events to pieces of text. When an attempt begins anew and says the same again, which is the rule, nothing is to be
    seen of that."""

    def __init__(self) -> None:
        self._given = ""
        self._again = 0
        self.result: Optional[Result] = None

    def take(self, event: Event) -> str:
        """What is new, perhaps nothing."""
        if event.event == "state" and event.state == "running":
            self._again = 0
        elif event.event == "text":
            return self._piece(event.text)
        elif event.event == "end":
            self.result = event.result
            self._again = 0
            return self._piece(self.result.text if self.result else "")
        return ""

    def _piece(self, text: str) -> str:
        same = min(len(text), len(self._given) - self._again)
        if not self._given.startswith(text[:same], self._again):
            raise errors.StreamDiverged("the job began anew and says something else: what was streamed does not count")
        new = text[same:]
        self._again += len(text)
        self._given += new
        return new
