"""The blocking client."""

from __future__ import annotations

import collections
import time
from typing import Any, Callable, Deque, Dict, Iterator, Mapping, Optional, Sequence, Set

import zmq
import zmq.utils.monitor

from . import _flow, _link, errors, protocol
from ._flow import Flow, T
from ._link import File
from .protocol import Event, Header, Reply, Result, Status


class Job:
    """A job of the daemon, by its name. `duplicate`: it was there already, under the key that was given."""

    def __init__(self, client: "Client", id: str, duplicate: bool = False) -> None:
        self.client = client
        self.id = id
        self.duplicate = duplicate
        self._result: Optional[Result] = None

    def result(self, timeout: Optional[float] = None, check: bool = True) -> Result:
        """Waits for it, at most `timeout` seconds (NotFinished). A job that failed is JobFailed, unless `check` is
        False; one that is done in parts is a result whose `missing` says which are not."""
        if self._result is None:
            self._result = self.client.result(self.id, timeout)
        return _flow.checked(self._result) if check else self._result

    def status(self) -> Status:
        return self.client.status(self.id)

    def watch(self, after: int = 0) -> Iterator[Event]:
        return self.client.watch(self.id, after)

    def stream(self) -> Iterator[str]:
        """The text as it is made. At its end a job that failed is JobFailed."""
        text = _flow.TextStream()
        for event in self.watch():
            piece = text.take(event)
            if piece:
                yield piece
        self._result = text.result
        if text.result is not None:
            _flow.checked(text.result)

    def cancel(self) -> Status:
        return self.client.cancel(self.id)

    def requeue(self) -> Status:
        self._result = None
        return self.client.requeue(self.id)

    def delete(self) -> None:
        self.client.delete(self.id)

    def __repr__(self) -> str:
        return f"<Job {self.id}>"


class Client:
    """A connection to sensoriumd, for one thread. `timeout` is how many seconds the daemon may be silent, or away;
    `patience` how many a submit goes on when it is told that the daemon is busy."""

    def __init__(self, endpoint: Optional[str] = None, *, certificate: Optional[File] = None,
                 server_key: Optional[File] = None, timeout: float = 30.0, patience: float = 0.0,
                 silence: float = _flow.SILENCE_S) -> None:
        self.endpoint = endpoint or _link.default_endpoint()
        self.timeout, self.patience, self.silence = timeout, patience, silence
        self._replies = _flow.Replies()
        self._boxes: Dict[bytes, Deque[Reply]] = {}
        self._context: Any = zmq.Context()
        try:
            self._socket = _link.open_socket(self._context, self.endpoint, certificate, server_key)
            self._monitor = self._socket.get_monitor_socket(_link.MONITORED)
            _link.connect(self._socket, self.endpoint)
        except BaseException:
            self._context.destroy(linger=0)
            raise

    def close(self) -> None:
        if self._context.closed:
            return
        self._socket.disable_monitor()
        self._socket.close()
        self._context.destroy(linger=300)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what the daemon does ---

    def submit(self, prompt: Optional[str] = None, *, patience: Optional[float] = None, **job: Any) -> Job:
        """A job that is on the daemon's disk when this returns: see protocol.submission() for what it may have.
        Without a `key` it gets one of its own, so that it is one job even when it has to be sent twice."""
        header, media = protocol.submission(prompt, **job)
        answer = self._run(_flow.submit(header, media, self.timeout, self.patience if patience is None else patience))
        return Job(self, str(answer.get("job")), bool(answer.get("duplicate")))

    def estimate(self, prompt: Optional[str] = None, **job: Any) -> Header:
        """What the job would cost, without running it: "fits", "prompt_tokens", "media_tokens", ..."""
        header, media = protocol.submission(prompt, **job)
        return self._ask("ESTIMATE", header, media)

    def job(self, id: str) -> Job:
        return Job(self, id)

    def result(self, job: str, timeout: Optional[float] = None) -> Result:
        return self._run(_flow.result(job, timeout, self.timeout))

    def status(self, job: str) -> Status:
        return Status(self._ask("STATUS", {"job": job}))

    def cancel(self, job: str) -> Status:
        return Status(self._ask("CANCEL", {"job": job}))

    def requeue(self, job: str) -> Status:
        return Status(self._ask("REQUEUE", {"job": job}, again=False))

    def delete(self, job: str) -> None:
        self._ask("DELETE", {"job": job}, again=False)

    def list(self, *, state: Optional[str] = None, tag: Optional[str] = None, tenant: Optional[str] = None,
             page: int = 100) -> Iterator[Status]:
        """Jobs, the newest first, asked for page by page."""
        header: Header = {"state": state, "tag": tag, "tenant": tenant, "limit": page}
        while True:
            answer = self._ask("LIST", {k: v for k, v in header.items() if v is not None})
            rows = [Status(row) for row in answer.get("jobs", []) if isinstance(row, dict)]
            yield from rows
            if not answer.get("more") or not rows:
                return
            header["before"] = rows[-1].job

    def watch(self, job: str, after: int = 0) -> Iterator[Event]:
        """The job's events, each once, until its end: goes on where it was when the connection was lost."""
        ended = False
        try:
            for event in self._iterate(_flow.watch(job, after, self.timeout, self.silence)):
                ended = event.event == "end"
                yield event
        finally:
            if not ended:
                self._tell("UNWATCH", {"job": job})

    def stats(self) -> Header:
        return self._ask("STATS", {})

    def ping(self) -> Header:
        """"version", "models", "tenant", "role": who is there."""
        return self._ask("PING", {})

    # --- how ---

    def _ask(self, verb: str, header: Mapping[str, Any], media: Sequence[protocol.Bytes] = (),
             again: bool = True) -> Header:
        return self._run(_flow.ask(verb, header, self.timeout, media, again))

    def _run(self, flow: Flow[T]) -> T:
        steps = self._steps(flow)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    def _iterate(self, flow: Flow[None]) -> Iterator[Any]:
        yield from self._steps(flow)

    def _steps(self, flow: Flow[T]) -> Any:
        """Serves the flow, and gives what it emits."""
        serve: Dict[type, Callable[[Any], Any]] = {
            _flow.Send: self._send, _flow.Wait: self._wait, _flow.Forget: self._forget,
            _flow.Sleep: lambda op: time.sleep(op.seconds)}
        answer: Any = None
        problem: Optional[BaseException] = None
        requests: Set[bytes] = set()
        try:
            while True:
                op: Any = flow.throw(problem) if problem else flow.send(answer)
                answer = problem = None
                if isinstance(op, _flow.Emit):
                    yield op.what
                    continue
                try:
                    answer = serve[type(op)](op)
                except errors.SensoriumError as e:
                    problem = e
                if isinstance(op, _flow.Send) and answer:
                    requests.add(answer)
        except StopIteration as end:
            return end.value
        finally:
            for request in requests:
                self._forget(_flow.Forget(request))

    def _turn(self, until: float, events: int = zmq.POLLIN) -> bool:
        """Waits for something, takes it; False once it is `until`."""
        left = until - time.monotonic()
        poller = zmq.Poller()
        poller.register(self._socket, events)
        poller.register(self._monitor, zmq.POLLIN)
        ready = dict(poller.poll(int(max(left, 0) * 1000)))
        if self._socket in ready:
            self._read()
        while self._monitor in ready and self._monitor.poll(0):
            if _link.take_monitor_event(self._replies, zmq.utils.monitor.recv_monitor_message(self._monitor)):
                self._read()
                self._replies.lost()
        return bool(ready) or left > 0

    def _read(self) -> None:
        while True:
            try:
                self._replies.take(self._socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return

    def _tell(self, verb: str, header: Mapping[str, Any]) -> None:
        """If that is possible just now; no answer is wanted."""
        try:
            self._socket.send_multipart(protocol.encode(verb, b"0", header), zmq.NOBLOCK)
        except zmq.ZMQError:
            pass

    def _send(self, op: _flow.Send) -> bytes:
        while self._monitor.poll(0):  # what was lost is lost before this
            self._turn(time.monotonic())
        box: Deque[Reply] = collections.deque()
        request = self._replies.new(box.append)
        frames = protocol.encode(op.verb, request, op.header, op.media)
        while not self._try(frames):
            wanted = zmq.POLLIN | zmq.POLLOUT if self._replies.connected else zmq.POLLIN
            if self._replies.hopeless or not self._turn(op.until, wanted):
                self._replies.forget(request)
                raise self._replies.no_answer(self.endpoint, self.timeout)
        self._boxes[request] = box
        return request

    def _try(self, frames: Sequence[protocol.Bytes]) -> bool:
        """Only over a connection that is known to be there: the socket would take it for one that was lost, too."""
        if not self._replies.connected:
            return False
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _wait(self, op: _flow.Wait) -> Optional[Reply]:
        box = self._boxes[op.request]
        while not box and self._turn(op.until):
            pass
        return box.popleft() if box else None

    def _forget(self, op: _flow.Forget) -> None:
        self._replies.forget(op.request)
        self._boxes.pop(op.request, None)
