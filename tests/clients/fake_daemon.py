#!/usr/bin/env python3
"""What docs/protocol.md says a daemon does, without doing the work: canned jobs, for tests of clients.

A job's tag says, in words, what becomes of it and what goes wrong on the way:
  slow        half a second between its events          fail, partial, dead    that is its end
  hang        stays running                             retry                  a second attempt
  busy        REJECTED the first two times              full                   REJECTED always
  silent      SUBMIT is not answered the first time     restart                the daemon goes away in mid-stream
  garbage     its replies come among broken ones        forget                 the watch is dropped in mid-stream
  nonsense    the reply's header is no JSON             big                    a text of a megabyte

Tests run it in a thread (`with FakeDaemon() as daemon`), or as a program: fake_daemon.py ENDPOINT [COMMAND...],
which runs COMMAND with $SENSORIUM_ENDPOINT set, or for ever."""

import collections
import hashlib
import heapq
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import zmq

FINAL = {"done", "partial", "failed", "cancelled", "expired", "dead"}
STATES = ("queued", "running", "done", "partial", "failed", "cancelled", "expired", "dead")


class Refused(Exception):
    """An ERROR: code, message, field."""

    def __init__(self, code, message, **more):
        super().__init__(message)
        self.header = {"code": code, "message": message, **more}


class Job:
    def __init__(self, number, header, media):
        self.number, self.id = number, f"{number}-{hashlib.sha256(b'%d' % number).hexdigest()[:16]}"
        self.header, self.media = header, media
        self.words = set(header.get("tag", "").split())
        self.state, self.attempts, self.result = "queued", 0, None
        self.events, self.waiting, self.stage = [], [], {}
        self.submitted, self.started, self.finished = now_ms(), None, None

    @property
    def text(self):
        if "big" in self.words:
            return "0123456789abcdef" * 65536
        options = self.header.get("options", {})
        return options.get("echo") or "You said: " + self.header.get("prompt", "nothing")

    def row(self):
        h = self.header
        row = {"job": self.id, "state": self.state, "task": h.get("task", "generate"), "tag": h.get("tag", ""),
               "model": h.get("model", "fake"), "priority": h.get("priority", 0), "attempts": self.attempts,
               "submitted_at_ms": self.submitted, **self.stage}
        for name, at in (("started_at_ms", self.started), ("finished_at_ms", self.finished)):
            if at:
                row[name] = at
        return row


def now_ms():
    return int(time.time() * 1000)


class FakeDaemon:
    def __init__(self, endpoint=None, secret=None):
        self.folder = None
        if not endpoint:
            self.folder = tempfile.TemporaryDirectory()
            endpoint = f"ipc://{self.folder.name}/fake.sock"
        self.endpoint, self.secret = endpoint, secret
        self.context = zmq.Context()
        self.jobs, self.keys = {}, {}
        self.numbers, self.seqs = itertools.count(1), itertools.count(1 << 32)
        self.timers, self.order = [], itertools.count()
        self.watchers = {}  # (peer, job id) -> (request, after)
        self.seen = collections.Counter()  # verbs, and words of tags of SUBMIT
        self.headers = []  # all that came
        self.stopping = False
        self.socket = None
        self.bind()

    # --- life ---

    def bind(self):
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.linger = 200
        self.socket.router_mandatory = 1
        if self.secret:  # (public, secret): any client that knows the public key
            self.socket.curve_publickey, self.socket.curve_secretkey = self.secret
            self.socket.curve_server = 1
        self.socket.bind(self.endpoint)
        if self.endpoint.endswith(":*"):
            self.endpoint = self.socket.last_endpoint.decode().rstrip("\0")

    def restart(self, away=0.3):
        """All connections and watches are gone; jobs are not."""
        self.socket.close()
        self.watchers.clear()
        time.sleep(away)
        for attempt in range(50):
            try:
                return self.bind()
            except zmq.ZMQError:
                time.sleep(0.02 * attempt)
        raise RuntimeError(f"{self.endpoint} cannot be had again")

    def __enter__(self):
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()
        self.socket.close()
        self.context.destroy(linger=0)
        if self.folder:
            self.folder.cleanup()

    def run(self):
        while not self.stopping:
            due = self.timers[0][0] - time.monotonic() if self.timers else 0.05
            if self.socket.poll(max(0, min(50, due * 1000))):
                self.take(self.socket.recv_multipart())
            while self.timers and self.timers[0][0] <= time.monotonic():
                heapq.heappop(self.timers)[2]()

    def later(self, seconds, what):
        heapq.heappush(self.timers, (time.monotonic() + seconds, next(self.order), what))

    # --- messages ---

    def send(self, peer, request, verb, header):
        body = header if isinstance(header, bytes) else json.dumps(header).encode()
        try:
            self.socket.send_multipart([*peer, b"SNJP/1", verb.encode(), request, body])
        except zmq.ZMQError:
            pass  # that client is gone

    def garbage(self, peer, request):
        for frames in ([b""], [b"SNJP/1"], [b"SNJP/1", b"OK"], [b"SNJP/1", b"OK", b"x" * 65, b"{}"],
                       [b"SNJP/9", b"OK", b"0", b"{}"], [b"SNJP/1", b"OK", b"99999999999999999999999", b"{}"],
                       [b"SNJP/1", b"ok\0", b"1", b"{}"], [b"SNJP/1", b"HELLO", request, b"{}"],
                       [b"SNJP/1", b"EVENT", request, b"[" * 100000], [b"SNJP/1", b"EVENT", request, b"\xff\xfe"],
                       [b"SNJP/1", b"EVENT", request, b'{"job":7,"seq":"x","event":[]}'],
                       [b"SNJP/1", b"EVENT", b"4096", b"{}"], [b"SNJP/1", b"OK", b"4097", b"{}", b"m" * 1000]):
            self.socket.send_multipart([*peer, *frames])

    def take(self, frames):
        peer, frames = frames[:1], frames[1:]
        if frames[0] == b"":
            peer, frames = [*peer, b""], frames[1:]
        _, verb, request, header, *media = frames
        verb, header = verb.decode(), json.loads(header)
        self.seen[verb] += 1
        self.headers.append((verb, header))
        try:
            answer = getattr(self, "on_" + verb.lower())(peer, request, header, media)
            if answer is not None:
                self.send(peer, request, "OK", answer)
        except Refused as e:
            self.send(peer, request, "ERROR", e.header)
        except AttributeError:
            self.send(peer, request, "ERROR", {"code": "unknown_verb", "message": f"there is no verb {verb}"})

    def job(self, header):
        job = self.jobs.get(header.get("job"))
        if not job:
            raise Refused("not_found", f"there is no job {header.get('job')}")
        return job

    # --- submitting ---

    def check(self, header, media):
        if header.get("model") == "none":
            raise Refused("unknown_model", "there is no model 'none': PING lists those there are", field="model")
        if header.get("task", "generate") == "generate" and not (header.get("prompt") or header.get("messages")):
            raise Refused("bad_field", "generate needs a prompt or messages", field="prompt")
        if header.get("deadline_at_ms", 1 << 53) < now_ms():
            raise Refused("deadline_past", "the deadline is over", field="deadline_at_ms")
        seen = []
        for m in header.get("media", []):
            if "frame" in m:
                data = media[m["frame"]]
            elif "path" in m:
                if not os.path.exists(m["path"]):
                    raise Refused("path_unreadable", f"{m['path']}: no such file", field="media")
                data = pathlib.Path(m["path"]).read_bytes()
            else:
                raise Refused("unknown_hash", "nothing with that hash was sent: send the bytes", field="media")
            seen.append({"name": m.get("name", ""), "sha256": hashlib.sha256(data).hexdigest(),
                         "tokens": len(data)})
        return seen

    def on_submit(self, peer, request, header, media):
        words = set(header.get("tag", "").split())
        self.seen.update(words)
        seen = self.check(header, media)
        if "full" in words or ("busy" in words and self.seen["busy"] < 3):
            return self.send(peer, request, "REJECTED", {"code": "busy", "message": "the queue is full",
                                                         "retry_after_ms": 30})
        key, duplicate = header.get("key"), False
        job = self.keys.get(key) if key else None
        if job:
            if job.header != header:
                raise Refused("key_conflict", f"another job has the key {key}", field="key")
            duplicate = True
        else:
            job = Job(next(self.numbers), header, seen)
            self.jobs[job.id] = job
            if key:
                self.keys[key] = job
            self.begin(job)
        if "silent" in words and self.seen["silent"] == 1:
            return None
        if "garbage" in words:
            self.garbage(peer, request)
        answer = {"job": job.id, "state": job.state, **({"duplicate": True} if duplicate else {})}
        self.send(peer, request, "ACCEPTED", b"{nonsense" if "nonsense" in words else answer)
        if header.get("watch"):
            self.watch(peer, request, job, 0)
        return None

    def begin(self, job):
        pause = 0.5 if "slow" in job.words else 0.005
        at = 0
        for do in self.steps(job):
            at += pause
            self.later(at, lambda do=do: job.state not in FINAL and do())

    def steps(self, job):
        text = job.text
        half = len(text) // 2
        yield lambda: self.run_attempt(job)
        yield lambda: self.event(job, "stage", stage="generate", progress={"done": 1, "total": 4})
        yield lambda: self.event(job, "text", text=text[:half])
        if "retry" in job.words:
            yield lambda: self.run_attempt(job)
            yield lambda: self.event(job, "text", text=text[:half])
        if "hang" in job.words:
            return
        if "restart" in job.words:
            yield lambda: (job.words.discard("restart"), self.restart())
        if "forget" in job.words:
            yield self.watchers.clear
        yield lambda: self.event(job, "text", text=text[half:])
        yield lambda: self.end(job)

    def run_attempt(self, job):
        job.state, job.started = "running", now_ms()
        job.attempts += 1
        self.event(job, "state", state="running", attempt=next(self.seqs))

    def end(self, job, state=None):
        words = {"fail": "failed", "partial": "partial", "dead": "dead"}
        state = state or next((words[w] for w in words if w in job.words), "done")
        job.state, job.finished, job.stage = state, now_ms(), {}
        error = {"failed": ("model_failed", "the model had no idea"), "dead": ("worker_died", "it died, twice"),
                 "partial": ("media_broken", "1 of 3 pages could not be read"),
                 "cancelled": ("cancelled", "it was cancelled")}.get(state)
        job.result = {"job": job.id, "state": state, "task": job.header.get("task", "generate"),
                      "tag": job.header.get("tag", ""), "finish": "stop", "media": job.media,
                      "text": "" if state in ("failed", "dead", "cancelled") else job.text, "attempts": job.attempts,
                      "usage": {"prompt_tokens": 7, "completion_tokens": 5}, "timings": {"total_ms": 12},
                      "model": {"name": job.header.get("model", "fake"), "sha256": "0" * 64},
                      **({"error": dict(zip(("code", "message"), error))} if error else {}),
                      **({"missing": ["page 2"]} if state == "partial" else {})}
        self.event(job, "end", state=state, result=job.result)
        for peer, request in job.waiting:
            self.send(peer, request, "OK", job.result)
        job.waiting.clear()

    # --- watching ---

    def event(self, job, kind, **what):
        event = {"job": job.id, "seq": next(self.seqs), "event": kind, **what}
        job.events.append(event)
        if kind == "stage":
            job.stage = what
        for (peer, name), request in list(self.watchers.items()):
            if name == job.id:
                self.send(peer, request, "EVENT", event)
                if kind == "end":
                    self.watchers.pop((peer, name), None)

    def watch(self, peer, request, job, after):
        for event in job.events:
            if event["seq"] > after or event["event"] == "end":
                self.send(peer, request, "EVENT", event)
        if job.state not in FINAL:
            self.watchers[tuple(peer), job.id] = request

    def on_watch(self, peer, request, header, _):
        self.watch(peer, request, self.job(header), header.get("after", 0))

    def on_unwatch(self, peer, _request, header, _media):
        self.watchers.pop((tuple(peer), self.job(header).id), None)
        return {}

    # --- asking ---

    def on_status(self, _peer, _request, header, _):
        return self.job(header).row()

    def on_result(self, peer, request, header, _):
        job = self.job(header)
        if job.result or not header.get("wait_ms"):
            return job.result or job.row()
        waits = (peer, request)
        job.waiting.append(waits)

        def over():
            if waits in job.waiting:
                job.waiting.remove(waits)
                self.send(peer, request, "OK", job.row())
        self.later(header["wait_ms"] / 1000, over)
        return None

    def on_cancel(self, _peer, _request, header, _):
        job = self.job(header)
        if job.state not in FINAL:
            self.end(job, "cancelled")
        return job.row()

    def on_requeue(self, _peer, _request, header, _):
        job = self.job(header)
        if job.state not in FINAL - {"done", "partial"}:
            raise Refused("not_final", f"the job is {job.state}: CANCEL it first")
        job.state, job.result, job.words = "queued", None, set()
        self.begin(job)
        return job.row()

    def on_delete(self, _peer, _request, header, _):
        job = self.job(header)
        if job.state not in FINAL:
            raise Refused("not_final", f"the job is {job.state}: CANCEL it first")
        del self.jobs[job.id]
        return {}

    def on_list(self, _peer, _request, header, _):
        jobs = sorted(self.jobs.values(), key=lambda j: -j.number)
        before = int(header["before"].split("-")[0]) if "before" in header else 1 << 60
        rows = [j.row() for j in jobs if j.number < before and header.get("state", j.state) == j.state
                and header.get("tag", j.header.get("tag", "")) == j.header.get("tag", "")]
        limit = header.get("limit", 100)
        return {"jobs": rows[:limit], "more": len(rows) > limit}

    def on_estimate(self, _peer, _request, header, media):
        seen = self.check(header, media)
        tokens = sum(m["tokens"] for m in seen)
        return {"fits": tokens < 1000, "prompt_tokens": 7, "media_tokens": tokens, "context": 1000, "media": seen}

    def on_stats(self, *_):
        states = collections.Counter(j.state for j in self.jobs.values())
        return {"queue": {"jobs": {s: states[s] for s in STATES}, "spool_bytes": 1234567}, "front": {"clients": 2},
                "engine": {"model_bytes": 134500000}, "memory": {"resident_bytes": 200000000}}

    def on_ping(self, *_):
        return {"version": "0", "protocol": "SNJP/1", "tenant": "local", "role": "admin",
                "models": [{"name": "fake", "tasks": ["generate", "noop"], "kinds": ["image"], "loaded": True}]}


def main(argv):
    daemon = FakeDaemon(argv[0])
    if len(argv) == 1:
        return daemon.run()
    with daemon:
        return subprocess.run(argv[1:], env={**os.environ, "SENSORIUM_ENDPOINT": daemon.endpoint}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
