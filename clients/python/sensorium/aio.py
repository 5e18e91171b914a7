"""The asyncio client."""

from __future__ import annotations

import asyncio
import time
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, List, Mapping, Optional, Sequence, Set

import zmq
import zmq.asyncio
import zmq.utils.monitor

from . import _flow, _link, errors, protocol
from ._flow import Flow, T
from ._link import File
from .protocol import Event, Header, Reply, Result, Status


class AsyncJob:
    """A job of the daemon, by its name: as Job, but to await."""

    def __init__(self, client: "AsyncClient", id: str, duplicate: bool = False) -> None:
        self.client = client
        self.id = id
        self.duplicate = duplicate
        self._result: Optional[Result] = None

    async def result(self, timeout: Optional[float] = None, check: bool = True) -> Result:
        if self._result is None:
            self._result = await self.client.result(self.id, timeout)
        return _flow.checked(self._result) if check else self._result

    async def status(self) -> Status:
        return await self.client.status(self.id)

    def watch(self, after: int = 0) -> AsyncIterator[Event]:
        return self.client.watch(self.id, after)

    async def stream(self) -> AsyncIterator[str]:
        text = _flow.TextStream()
        async for event in self.watch():
            piece = text.take(event)
            if piece:
                yield piece
        self._result = text.result
        if text.result is not None:
            _flow.checked(text.result)

    async def cancel(self) -> Status:
        return await self.client.cancel(self.id)

    async def requeue(self) -> Status:
        self._result = None
        return await self.client.requeue(self.id)

    async def delete(self) -> None:
        await self.client.delete(self.id)

    def __repr__(self) -> str:
        return f"<AsyncJob {self.id}>"


class AsyncClient:
    """A connection to sensoriumd, for many tasks of one event loop: as Client, but to await. Used with `async with`."""

    def __init__(self, endpoint: Optional[str] = None, *, certificate: Optional[File] = None,
                 server_key: Optional[File] = None, timeout: float = 30.0, patience: float = 0.0,
                 silence: float = _flow.SILENCE_S) -> None:
        self.endpoint = endpoint or _link.default_endpoint()
        self.timeout, self.patience, self.silence = timeout, patience, silence
        self._replies = _flow.Replies()
        self._boxes: Dict[bytes, "asyncio.Queue[Reply]"] = {}
        self._context: Any = zmq.asyncio.Context()
        self._tasks: Sequence["asyncio.Task[None]"] = ()
        try:
            self._socket = _link.open_socket(self._context, self.endpoint, certificate, server_key)
            self._monitor = self._socket.get_monitor_socket(_link.MONITORED)
            _link.connect(self._socket, self.endpoint)
        except BaseException:
            self._context.destroy(linger=0)
            raise

    async def __aenter__(self) -> "AsyncClient":
        self._changed = asyncio.Event()  # of the connection
        self._tasks = (asyncio.create_task(self._read()), asyncio.create_task(self._listen()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._context.closed:
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._socket.disable_monitor()
        self._socket.close()
        self._context.destroy(linger=300)

    # --- what the daemon does ---

    async def submit(self, prompt: Optional[str] = None, *, patience: Optional[float] = None, **job: Any) -> AsyncJob:
        header, media = protocol.submission(prompt, **job)
        answer = await self._run(
            _flow.submit(header, media, self.timeout, self.patience if patience is None else patience))
        return AsyncJob(self, str(answer.get("job")), bool(answer.get("duplicate")))

    async def estimate(self, prompt: Optional[str] = None, **job: Any) -> Header:
        header, media = protocol.submission(prompt, **job)
        return await self._ask("ESTIMATE", header, media)

    def job(self, id: str) -> AsyncJob:
        return AsyncJob(self, id)

    async def result(self, job: str, timeout: Optional[float] = None) -> Result:
        return await self._run(_flow.result(job, timeout, self.timeout))

    async def status(self, job: str) -> Status:
        return Status(await self._ask("STATUS", {"job": job}))

    async def cancel(self, job: str) -> Status:
        return Status(await self._ask("CANCEL", {"job": job}))

    async def requeue(self, job: str) -> Status:
        return Status(await self._ask("REQUEUE", {"job": job}, again=False))

    async def delete(self, job: str) -> None:
        await self._ask("DELETE", {"job": job}, again=False)

    async def list(self, *, state: Optional[str] = None, tag: Optional[str] = None, tenant: Optional[str] = None,
                   page: int = 100) -> AsyncIterator[Status]:
        header: Header = {"state": state, "tag": tag, "tenant": tenant, "limit": page}
        while True:
            answer = await self._ask("LIST", {k: v for k, v in header.items() if v is not None})
            rows = [Status(row) for row in answer.get("jobs", []) if isinstance(row, dict)]
            for row in rows:
                yield row
            if not answer.get("more") or not rows:
                return
            header["before"] = rows[-1].job

    async def watch(self, job: str, after: int = 0) -> AsyncIterator[Event]:
        ended = False
        steps = self._steps(_flow.watch(job, after, self.timeout, self.silence), [])
        try:
            async for event in steps:
                ended = event.event == "end"
                yield event
        finally:
            if not ended:
                self._tell("UNWATCH", {"job": job})

    async def stats(self) -> Header:
        return await self._ask("STATS", {})

    async def ping(self) -> Header:
        return await self._ask("PING", {})

    # --- how ---

    async def _ask(self, verb: str, header: Mapping[str, Any], media: Sequence[protocol.Bytes] = (),
                   again: bool = True) -> Header:
        return await self._run(_flow.ask(verb, header, self.timeout, media, again))

    async def _run(self, flow: Flow[T]) -> T:
        returned: List[T] = []
        async for _ in self._steps(flow, returned):
            pass
        return returned[0]

    async def _steps(self, flow: Flow[T], returned: List[T]) -> AsyncIterator[Any]:
        """Serves the flow, and gives what it emits; what it returns is put into `returned`."""
        if not self._tasks:
            raise RuntimeError("use it with 'async with AsyncClient() as client'")
        serve: Dict[type, Callable[[Any], Awaitable[Any]]] = {
            _flow.Send: self._send, _flow.Wait: self._wait, _flow.Forget: self._forget, _flow.Sleep: self._sleep}
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
                    answer = await serve[type(op)](op)
                except errors.SensoriumError as e:
                    problem = e
                if isinstance(op, _flow.Send) and answer:
                    requests.add(answer)
        except StopIteration as end:
            returned.append(end.value)
        finally:
            for request in requests:
                self._replies.forget(request)
                self._boxes.pop(request, None)

    async def _read(self) -> None:
        while True:
            self._replies.take(await self._socket.recv_multipart())

    async def _listen(self) -> None:
        while True:
            frames = await self._monitor.recv_multipart()
            if _link.take_monitor_event(self._replies, zmq.utils.monitor.parse_monitor_message(frames)):
                self._replies.connected = False
                await asyncio.sleep(0.01)  # for what came before, which _read() takes
                self._replies.lost()
            self._changed.set()

    def _tell(self, verb: str, header: Mapping[str, Any]) -> None:
        sent = self._socket.send_multipart(protocol.encode(verb, b"0", header), zmq.NOBLOCK)
        sent.add_done_callback(lambda f: f.cancelled() or f.exception())

    async def _sleep(self, op: _flow.Sleep) -> None:
        await asyncio.sleep(op.seconds)

    async def _send(self, op: _flow.Send) -> bytes:
        box: "asyncio.Queue[Reply]" = asyncio.Queue()
        request = self._replies.new(box.put_nowait)
        frames = protocol.encode(op.verb, request, op.header, op.media)
        try:
            while not await self._try(frames):
                left = op.until - time.monotonic()
                if left <= 0 or self._replies.hopeless:
                    raise self._replies.no_answer(self.endpoint, self.timeout)
                if self._replies.connected:
                    await self._socket.poll(min(left, 0.5) * 1000, zmq.POLLOUT)
                else:
                    await self._connected(min(left, 0.5))
        except BaseException:
            self._replies.forget(request)
            raise
        self._boxes[request] = box
        return request

    async def _try(self, frames: Sequence[protocol.Bytes]) -> bool:
        """Only over a connection that is known to be there: the socket would take it for one that was lost, too."""
        if not self._replies.connected:
            return False
        try:
            await self._socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    async def _connected(self, seconds: float) -> None:
        """Until something becomes of the connection."""
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except asyncio.TimeoutError:
            pass

    async def _wait(self, op: _flow.Wait) -> Optional[Reply]:
        try:
            return await asyncio.wait_for(self._boxes[op.request].get(), max(op.until - time.monotonic(), 0))
        except asyncio.TimeoutError:
            return None

    async def _forget(self, op: _flow.Forget) -> None:
        self._replies.forget(op.request)
        self._boxes.pop(op.request, None)
