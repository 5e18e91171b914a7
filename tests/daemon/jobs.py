#!/usr/bin/env python3
"""Jobs of models through the daemon: what the program says by itself, whatever runs beside them, and nothing of
one client for another."""

import hashlib
import json
import os
import subprocess
import sys

import zmq

import program
from program import MODELS, Client, Daemon, check

PROGRAM = os.environ.get("SENSORIUM", "./sensorium")
TEXT = MODELS / "llama-smol.gguf"
EYES = MODELS / "idefics3.gguf"
MEDIA = program.HERE.parent / "reference" / "media"
SPEECH = program.HERE.parent.parent / "samples" / "inaugural.mp3"
SMOLLM2 = None if program.QUICK else os.environ.get("SN_TEST_SMOLLM2")
WHISPER = os.environ.get("SN_TEST_WHISPER")
ALTERNATIONS = int(os.environ.get("SN_TEST_ALTERNATIONS", "60" if program.QUICK else "300"))
QUESTIONS = ["Why is the sky blue?", "Name three colours.", "Count to ten.", "What is a sonnet?", "Hello!",
             "Write one sentence about the sea, then one about the hills behind it, and stop.", "2 + 2 =", "Why?"]


def alone(*args):
    form = ["-f", "json"] if args[0] == "transcribe" else ["--json"]
    done = subprocess.run([PROGRAM, *map(str, args), *form], capture_output=True, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return json.loads(done.stdout)


def texts_do_not_depend_on_company(folder):
    model = SMOLLM2 or TEXT
    n_tokens, n_jobs = (24 if SMOLLM2 else 40), (16 if program.QUICK else 64)
    with Daemon(folder, "--model", f"m={model}", "--together", 8, "--context", 512) as daemon:
        c = Client(daemon.endpoint)
        header = [{"model": "m", "prompt": q, "options": {"max_tokens": n_tokens}} for q in QUESTIONS]
        wanted = [alone("generate", "-m", model, "-p", q, "-n", n_tokens, "--ctx", 512)["text"] for q in QUESTIONS]
        first = [c.result(c.submit(h))["text"] for h in header]
        check(first == wanted, f"one at a time: {first} is not {wanted}")
        jobs = [c.submit(header[i % len(header)]) for i in range(n_jobs)]
        results = [c.result(j, timeout_s=300) for j in jobs]
        wrong = [i for i, r in enumerate(results) if r.get("text") != wanted[i % len(wanted)]]
        check(not wrong, f"of {n_jobs} together {len(wrong)} differ: {wrong and results[wrong[0]]}")
        usage = results[0]["usage"]
        check(0 < usage["completion_tokens"] <= n_tokens and usage["prompt_tokens"] > 0, f"usage: {usage}")
        check(len(results[0]["model"]["sha256"]) == 64, f"model: {results[0]['model']}")
        steps = c.ask("STATS")["engine"]
        check(not SMOLLM2 or steps["step_rows"] > 1.5 * steps["steps"], f"they were not written together: {steps}")
        c.close()


def pictures(folder):
    image = MEDIA / "wide.png"
    with Daemon(folder, "--model", f"eyes={EYES}", "--root", MEDIA) as daemon:
        c = Client(daemon.endpoint)
        wanted = alone("ask", "-m", EYES, "--image", image, "What is this?", "-n", 20)["text"]
        header = {"prompt": "What is this?", "options": {"max_tokens": 20}}
        frame = c.result(c.submit({**header, "media": [{"kind": "image", "frame": 0}]}, [image.read_bytes()]))
        check(frame["text"] == wanted, f"a frame: {frame} is not {wanted!r}")
        sha = frame["media"][0]["sha256"]
        again = c.result(c.submit({**header, "media": [{"kind": "image", "sha256": sha}]}))
        check(again["text"] == wanted, f"by its hash: {again}")
        check(again["media"][0].get("cached"), f"its rows were kept: {again['media']}")
        path = c.result(c.submit({**header, "media": [{"kind": "image", "path": str(image)}]}))
        check(path["text"] == wanted, f"by its path: {path}")
        text = json.dumps(path)
        check(str(MEDIA) not in text, f"a path in a result: {text}")
        broken = c.result(c.submit({**header, "media": [{"kind": "image", "frame": 0, "name": "scan.png"}]},
                                   [image.read_bytes()[:60]]))
        check((broken["state"], broken["error"]["code"]) == ("failed", "media_broken"), f"a broken one: {broken}")
        check("scan.png" in broken["error"]["message"], f"its name is told: {broken['error']}")
        plan = c.ask("ESTIMATE", {**header, "media": [{"kind": "image", "frame": 0}]}, [image.read_bytes()])
        check(plan["fits"] and plan["prompt_tokens"] == frame["usage"]["prompt_tokens"],
              f"an estimate: {plan}, used: {frame['usage']}")
        check(len(c.ask("LIST")["jobs"]) == 4, "an estimate leaves no job")
        c.close()


def path_that_changes(folder):
    copy = folder / "in" / "copy.png"
    copy.parent.mkdir()
    copy.write_bytes((MEDIA / "wide.png").read_bytes())
    with Daemon(folder, "--model", f"eyes={EYES}", "--root", copy.parent, "--together", 1) as daemon:
        c = Client(daemon.endpoint)
        hold = [c.submit({"task": "noop", "options": {"sleep_ms": 500}}) for _ in range(4)]
        job = c.submit({"prompt": "?", "media": [{"kind": "image", "path": str(copy)}]})
        copy.write_bytes((MEDIA / "tall.png").read_bytes())
        r = c.result(job)
        check((r["state"], r["error"]["code"]) == ("failed", "media_changed"), f"a file that changed: {r}")
        for h in hold:
            c.result(h)
        c.close()


def transcripts(folder):
    if not WHISPER:
        print("(no Whisper: left out)")
        return
    with Daemon(folder, "--model", f"whisper={WHISPER}") as daemon:
        c = Client(daemon.endpoint)
        wanted = alone("transcribe", "-m", WHISPER, SPEECH)
        sound = SPEECH.read_bytes()
        job = c.submit({"task": "transcribe", "media": [{"kind": "audio", "frame": 0}], "watch": True}, [sound])
        r = c.result(job, timeout_s=300)
        text = " ".join(s["text"] for s in wanted["segments"])
        check(r["state"] == "done" and r["text"].split() == text.split(), f"a transcript: {r} is not {text!r}")
        check(len(r["segments"]) == len(wanted["segments"]) and r["language"] == "en", f"segments: {r}")
        cut = c.result(c.submit({"task": "transcribe", "media": [{"kind": "audio", "frame": 0, "name": "cut"}]},
                                [sound[: len(sound) // 2] + os.urandom(20000)]), timeout_s=300)
        check(cut["state"] in ("partial", "done", "failed"), f"a damaged recording: {cut}")
        check(cut["state"] != "partial" or cut["missing"], f"missing parts are named: {cut}")
        c.close()


def cancel_in_the_midst(folder):
    with Daemon(folder, "--model", f"m={TEXT}") as daemon:
        c = Client(daemon.endpoint)
        request = c.send("SUBMIT", {"model": "m", "prompt": "Tell me everything.", "watch": True,
                                    "options": {"max_tokens": 100000, "temperature": 1}})
        verb, header = c.reply(request)
        check(verb == "ACCEPTED", f"{verb} {header}")
        job, seen = header["job"], 0
        while seen < 5:
            verb, event = c.reply(request)
            seen += event["event"] == "text"
            if event["event"] == "end":
                break
        if event["event"] != "end":
            c.ask("CANCEL", {"job": job})
            end = c.result(job)
            check(end["state"] == "cancelled", f"cancelled in the midst: {end}")
        c.close()


def the_protocol_is_kept(folder):
    """A second implementation, written from the document alone."""
    root = folder / "root"
    root.mkdir()
    daemon = Daemon(folder, "--faults", "--jobs-max", 40, "--root", root, "--model", f"m={TEXT}")
    with daemon:
        done = subprocess.run([sys.executable, program.HERE / "conformance.py", daemon.endpoint, "--root", root,
                               "--faults", "--jobs-max", "40"], capture_output=True, text=True, check=False,
                              timeout=300 * program.SLOW)
        check(done.returncode == 0, f"conformance: {(done.stdout + done.stderr)[-1500:]}")


# --- two clients with secrets ---

def certificate(path, name=None, role=None, secret=True):
    public, private = zmq.curve_keypair()
    meta = (f'    name = "{name}"\n' if name else "") + (f'    role = "{role}"\n' if role else "")
    path.write_text(f'metadata\n{meta}curve\n    public-key = "{public.decode()}"\n'
                    + (f'    secret-key = "{private.decode()}"\n' if secret else ""))
    path.chmod(0o600)
    return public, private


def clients_know_nothing_of_each_other(folder):
    keys = folder / "clients"
    keys.mkdir()
    server, _ = certificate(folder / "server.cert_secret")
    daemon = Daemon(folder, "--endpoint", "tcp://127.0.0.1:*", "--certificate", folder / "server.cert_secret",
                    "--clients", keys, "--log-level", "debug", "--model", f"m={TEXT}")
    people = {}
    for name in ("anna", "bert"):
        public, private = certificate(keys / f"{name}.cert", name, "submit")
        people[name] = {"keys": (public, private, server), "secret": f"{name}-{os.urandom(12).hex()}"}
    with daemon:
        log = daemon.log.read_text()
        endpoint = "tcp://127.0.0.1:" + log.split("tcp://127.0.0.1:")[1].split()[0].strip('"')
        for p in people.values():
            p["client"], p["jobs"] = Client(endpoint, p["keys"]), []
        names = list(people)
        for i in range(ALTERNATIONS):
            p, other = people[names[i % 2]], people[names[(i + 1) % 2]]
            header = {"task": "noop", "options": {"echo": p["secret"]}, "tag": p["secret"], "key": f"key {i // 2}"}
            if i % 10 < 2:  # a model, whose caches are shared by nobody
                header = {"model": "m", "prompt": f"My secret is {p['secret']}.", "options": {"max_tokens": 8}}
            job = p["client"].submit({**header, "media": [{"kind": "image", "frame": 0}]}
                                     if header.get("task") and i % 7 == 0 else header,
                                     [p["secret"].encode()] if header.get("task") and i % 7 == 0 else [])
            result = p["client"].result(job)
            p["jobs"].append(job)
            check(other["secret"] not in json.dumps(result), f"job {i} has the other's secret")
            check(result["state"] == "done", f"job {i}: {result}")
            if header.get("task"):
                check(result["text"] == p["secret"], f"job {i} says {result['text']!r}")
            else:
                check(result["usage"]["cached_tokens"] == 0 or p["jobs"][:-1], f"job {i} found a stranger's prompt")
        for name, p in people.items():
            other = people[names[1 - names.index(name)]]
            for verb in ("STATUS", "RESULT", "CANCEL", "DELETE", "WATCH"):
                try:
                    p["client"].ask(verb, {"job": other["jobs"][0]})
                    check(False, f"{verb} of another's job was answered")
                except program.Refused as e:
                    check(e.code == "not_found", f"{verb} of another's job: {e}")
            listed = json.dumps(p["client"].ask("LIST", {"limit": 1000}))
            check(other["secret"] not in listed and other["jobs"][0] not in listed, "LIST has another's jobs")
            sha = hashlib.sha256(other["secret"].encode()).hexdigest()
            try:
                p["client"].submit({"task": "noop", "media": [{"kind": "image", "sha256": sha}]})
                check(False, "what another sent is known by its hash")
            except program.Refused as e:
                check(e.code == "unknown_hash", f"another's hash: {e}")
        stranger = Client(endpoint, (*zmq.curve_keypair(), server))
        try:
            stranger.ask("PING", timeout_s=1)
            check(False, "a stranger's key was served")
        except TimeoutError:
            pass
        log = daemon.log.read_text()
        check(not any(p["secret"] in log for p in people.values()), "the log has a secret")
        for c in [stranger, *(p["client"] for p in people.values())]:
            c.close()


if __name__ == "__main__":
    program.main([the_protocol_is_kept, texts_do_not_depend_on_company, pictures, path_that_changes, transcripts, cancel_in_the_midst,
                  clients_know_nothing_of_each_other])
