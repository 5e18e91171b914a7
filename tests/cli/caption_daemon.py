#!/usr/bin/env python3
"""A stand-in for sensoriumd that captions by the digest of what it is given: docs/protocol.md as far as
`sensorium caption` uses it, and faults on request. It remembers jobs in its data folder, also over a kill.

In the environment: FAKE_DELAY (seconds a job takes), FAKE_REJECT (so many SUBMITs get REJECTED first),
FAKE_CRASH (ends itself at that many jobs, once), FAKE_FORBID (no paths). What is in a file decides, too: "broken" makes
the job fail, "partial" partial, "empty" say nothing, "long" end for its length."""

import argparse
import hashlib
import json
import os
import pathlib
import sys
import time

import zmq


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Daemon:
    def __init__(self, options):
        self.options = options
        self.data = pathlib.Path(options.data)
        self.data.mkdir(parents=True, exist_ok=True)
        self.journal = self.data / "jobs.jsonl"
        self.jobs, self.keys, self.waiting = {}, {}, []
        self.rejects = int(os.environ.get("FAKE_REJECT", "0"))
        self.delay = float(os.environ.get("FAKE_DELAY", "0"))
        if self.journal.exists():
            for line in self.journal.read_text().splitlines():
                job = json.loads(line)
                self.jobs[job["job"]] = job
                self.keys[job["key"]] = job["job"]
        self.models = [m.split("=", 1)[0] for m in options.model] or ["eyes", "whisper"]

    def save(self, job):
        with self.journal.open("a") as f:
            f.write(json.dumps(job) + "\n")
        self.jobs[job["job"]] = job
        self.keys[job["key"]] = job["job"]

    def count(self):
        """Each run of a job is a line of the log, which the test reads."""
        log = os.environ.get("FAKE_LOG")
        if log:
            with open(log, "a") as f:
                f.write("job\n")
        crash = self.data / "crashed"
        limit = int(os.environ.get("FAKE_CRASH", "0"))
        if limit and not crash.exists() and sum(1 for j in self.jobs.values() if j["final"]) + 1 == limit:
            crash.write_text("")
            print("the stand-in falls over", file=sys.stderr, flush=True)
            os._exit(3)

    def run(self, job):
        self.count()
        data, header = bytes.fromhex(job["hex"]), job["header"]
        result = {"job": job["job"], "task": header.get("task", "generate"), "finish": "stop", "state": "done",
                  "model": {"name": header.get("model", "eyes"), "sha256": "ab" * 32},
                  "text": f" {header.get('prompt', 'said')}: {digest(data)[:12]}\n"}
        if b"broken" in data:
            result.update(state="failed", error={"code": "media_broken", "message": "it is broken"})
        elif b"partial" in data:
            result.update(state="partial", missing=["window 2"],
                          error={"code": "media_broken", "message": "a part is broken"})
        elif b"empty" in data:
            result["text"] = ""
        elif b"long" in data:
            result["finish"] = "length"
        if header.get("task") == "transcribe":
            result["segments"] = [{"start_s": 0, "end_s": 1, "text": "said"}]
            result["language"] = "en"
        job.update(final=True, result=result)
        self.save(job)

    def submit(self, header, frames):
        if self.rejects:
            self.rejects -= 1
            return "REJECTED", {"code": "busy", "message": "full", "retry_after_ms": 100}
        medium = header["media"][0]
        if "path" in medium:
            path = medium["path"]
            roots = [os.path.join(os.path.realpath(r), "") for r in self.options.root]
            if os.environ.get("FAKE_FORBID") or not any(os.path.realpath(path).startswith(r) for r in roots):
                return "ERROR", {"code": "path_forbidden", "message": "not below a root", "field": "path"}
            data = pathlib.Path(path).read_bytes()
        else:
            data = frames[medium["frame"]]
        known = self.jobs.get(self.keys.get(header["key"]))
        if known:
            if known["header"] != header:
                return "ERROR", {"code": "key_conflict", "message": "another job has this key"}
            state = known["result"]["state"] if known["final"] else "queued"
            return "ACCEPTED", {"job": known["job"], "state": state, "duplicate": True}
        name = f"{len(self.jobs) + 1}-{digest(header['key'].encode())[:16]}"
        job = {"job": name, "key": header["key"], "header": header, "hex": data.hex(), "final": False,
               "due": time.time() + self.delay}
        self.save(job)
        return "ACCEPTED", {"job": name, "state": "queued"}

    def answer(self, verb, header, frames, reply):
        if verb == "PING":
            return "OK", {"version": "0", "protocol": "SNJP/1", "tenant": "local", "role": "admin", "models": [
                {"name": m, "tasks": ["transcribe" if "whisper" in m else "generate"], "loaded": False,
                 "kinds": ["audio"] if "whisper" in m else ["image", "video"]} for m in self.models]}
        if verb == "SUBMIT":
            return self.submit(header, frames)
        job = self.jobs.get(header["job"])
        if not job:
            return "ERROR", {"code": "not_found", "message": "no such job"}
        if verb == "REQUEUE":
            job["final"] = False
        if verb == "CANCEL" and not job["final"]:
            job.update(final=True, result={"job": job["job"], "state": "cancelled", "error": {
                "code": "cancelled", "message": "it was cancelled"}})
            self.save(job)
        if verb == "RESULT":
            self.waiting.append((job["job"], reply))
            return None
        return "OK", {"job": job["job"], "state": "running"}

    def serve(self):
        socket = zmq.Context.instance().socket(zmq.ROUTER)
        for endpoint in self.options.endpoint:
            socket.bind(endpoint)
        while True:
            while socket.poll(20):
                peer, version, verb, request, header, *frames = socket.recv_multipart()

                def reply(verb, header, peer=peer, version=version, request=request):
                    socket.send_multipart([peer, version, verb.encode(), request, json.dumps(header).encode()])
                said = self.answer(verb.decode(), json.loads(header), frames, reply)
                if said:
                    reply(*said)
            for job in list(self.jobs.values()):
                if not job["final"] and job["due"] <= time.time():
                    self.run(job)
            still = []
            for name, reply in self.waiting:
                if self.jobs[name]["final"]:
                    reply("OK", self.jobs[name]["result"])
                else:
                    still.append((name, reply))
            self.waiting = still


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for flag in ("--endpoint", "--model", "--root"):
        parser.add_argument(flag, action="append", default=[])
    for flag in ("--data", "--log-level"):
        parser.add_argument(flag)
    Daemon(parser.parse_args()).serve()
