#!/usr/bin/env python3
"""What goes wrong around jobs: workers that die and hang, files that vanish, clients that vanish, disks that are
full. Each costs what it must, and nothing else."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import program
from program import Client, Daemon, check

PNG = (program.HERE.parent / "reference" / "media" / "wide.png").read_bytes()


def noop(echo="", **options):
    return {"task": "noop", "options": {"echo": echo, **options}}


def killer_ends_dead_neighbours_live(folder):
    with Daemon(folder, "--faults", "--backoff-ms", 50) as daemon:
        c = Client(daemon.endpoint)
        before = [c.submit(noop(f"before {i}", sleep_ms=100)) for i in range(6)]
        killer = c.submit(noop("never", fault="crash"))
        after = [c.submit(noop(f"after {i}", sleep_ms=20)) for i in range(20)]
        end = c.result(killer)
        check(end["state"] == "dead", f"the killer ended {end['state']}")
        check(end["error"]["code"] == "worker_died" and end["error"]["message"], f"its error: {end.get('error')}")
        check(end["attempts"] >= 2, f"it had {end['attempts']} attempts")
        for i, job in enumerate(before):
            r = c.result(job)
            check((r["state"], r["text"]) == ("done", f"before {i}"), f"neighbour {r}")
        for i, job in enumerate(after):
            r = c.result(job)
            check((r["state"], r["text"]) == ("done", f"after {i}"), f"neighbour {r}")
        check(c.ask("REQUEUE", {"job": killer})["state"] == "queued", "a dead job gets no other chance")
        check(c.result(killer)["state"] == "dead", "it ends dead again")
        c.close()


def worker_killed_from_outside(folder):
    with Daemon(folder) as daemon:
        c = Client(daemon.endpoint)
        jobs = [c.submit(noop(f"{i}", sleep_ms=300)) for i in range(12)]
        time.sleep(0.2)
        os.kill(daemon.worker(), signal.SIGKILL)
        for i, job in enumerate(jobs):
            r = c.result(job)
            check((r["state"], r["text"]) == ("done", f"{i}"), f"job {i}: {r}")
        c.close()


def hanging_worker_is_killed(folder):
    with Daemon(folder, "--faults", "--hang-s", 2 * program.SLOW, "--backoff-ms", 50) as daemon:
        c = Client(daemon.endpoint)
        hang, other = c.submit(noop("", fault="hang")), c.submit(noop("other"))
        r = c.result(hang, timeout_s=60)
        check((r["state"], r["error"]["code"]) == ("dead", "worker_hung"), f"a job that hangs: {r}")
        check(c.result(other)["text"] == "other", "its neighbour is done")
        c.close()


def failures_and_retries(folder):
    with Daemon(folder, "--faults", "--backoff-ms", 20) as daemon:
        c = Client(daemon.endpoint)
        r = c.result(c.submit(noop("", fault="fail")))
        check(r["state"] == "failed" and r["attempts"] == 1, f"a failure is final: {r}")
        r = c.result(c.submit({**noop("", fault="retry"), "retries": 2}))
        check(r["state"] == "failed" and r["attempts"] == 3, f"three attempts: {r}")
        late = c.submit({**noop("", sleep_ms=60000), "deadline_at_ms": int(time.time() * 1000) + 400})
        check(c.result(late)["state"] == "expired", "a job past its deadline is expired")
        long = c.submit(noop("", sleep_ms=60000))
        while c.ask("STATUS", {"job": long})["state"] == "queued":
            time.sleep(0.02)
        begin = time.monotonic()
        c.ask("CANCEL", {"job": long})
        check(c.result(long)["state"] == "cancelled", "a running job is cancelled")
        check(time.monotonic() - begin < 2 * program.SLOW, "and at once")
        c.close()


def spool_file_removed(folder):
    with Daemon(folder, "--together", 1) as daemon:
        c = Client(daemon.endpoint)
        hold = [c.submit(noop("", sleep_ms=700)) for _ in range(4)]
        victim = c.submit({"task": "noop", "media": [{"kind": "image", "frame": 0}]}, [PNG])
        other = c.submit({"task": "noop", "media": [{"kind": "image", "frame": 0}], "options": {"echo": "well"}},
                         [PNG + b"x"])
        sizes = {p.stat().st_size: p for p in daemon.data.rglob("*") if p.is_file() and "spool" in p.parts}
        sizes[len(PNG)].unlink()
        r = c.result(victim)
        check((r["state"], r["error"]["code"]) == ("failed", "media_missing"), f"its file is gone: {r}")
        check(c.result(other)["text"] == "well", "its neighbour's is not")
        for job in hold:
            c.result(job)
        c.close()


def client_vanishes(folder):
    """A client that is killed in the midst of a stream: its jobs are kept, or cancelled where they say so."""
    with Daemon(folder) as daemon:
        script = ("import sys, time; sys.path.insert(0, sys.argv[1]); import program\n"
                  "c = program.Client(sys.argv[2])\n"
                  "for policy in ('keep', 'cancel'):\n"
                  "    print(c.submit({'task': 'noop', 'options': {'sleep_ms': 6000, 'echo': policy},\n"
                  "                    'on_disconnect': policy, 'watch': True}), flush=True)\n"
                  "time.sleep(60)\n")
        child = subprocess.Popen([sys.executable, "-c", script, str(program.HERE), daemon.endpoint],
                                 stdout=subprocess.PIPE, text=True)
        keep, cancel = child.stdout.readline().strip(), child.stdout.readline().strip()
        child.kill()
        child.wait()
        child.stdout.close()
        c = Client(daemon.endpoint)
        check(c.result(keep)["text"] == "keep", "a job whose client is gone is kept")
        check(c.result(cancel)["state"] == "cancelled", "or cancelled, where it says so")
        c.close()


def slow_reader(folder):
    """A client that watches and does not read: nobody else notices, and its result waits."""
    with Daemon(folder) as daemon:
        slow, c = Client(daemon.endpoint), Client(daemon.endpoint)
        slow.socket.rcvhwm = 1
        text = "x" * 200000
        jobs = [slow.submit({**noop(text), "watch": True}) for _ in range(100)]
        for i in range(50):
            check(c.result(c.submit(noop(f"{i}")))["text"] == f"{i}", "another client is served")
        for job in jobs:
            check(c.result(job)["text"] == text, "results of the slow one are there")
        slow.close()
        c.close()


def clock_jumps(folder):
    """Wall time forward and back (a library that lies about it): nothing is lost, nothing expires wrongly."""
    faketime = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if not faketime or os.environ.get("SN_TEST_SANITIZED"):
        print("(no libfaketime: left out)")
        return
    offset = folder / "offset"
    offset.write_text("+0")
    env = {"LD_PRELOAD": str(faketime), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1",
           "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with Daemon(folder, env=env) as daemon:
        c = Client(daemon.endpoint)
        jobs = []
        for jump in ("+3600", "-86400", "+0"):
            jobs += [c.submit(noop(f"{jump} {i}", sleep_ms=50)) for i in range(10)]
            offset.write_text(jump)
            time.sleep(0.2)
        check(all(c.result(j)["state"] == "done" for j in jobs), "all are done")
        c.close()


def disk_full(folder):
    """On a small file system: refused with disk_full, and what was accepted ends."""
    mount = folder / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(mount)], capture_output=True,
                      check=False).returncode:
        print("(no mount here: left out)")
        return
    try:
        daemon = Daemon(folder, "--reserve-bytes", "1M")
        daemon.data = mount / "data"
        with daemon:
            c = Client(daemon.endpoint)
            accepted, refused = [], None
            for i in range(100):
                try:
                    accepted.append(c.submit({"task": "noop", "media": [{"kind": "image", "frame": 0}],
                                              "options": {"echo": f"{i}"}}, [os.urandom(200000)]))
                except program.Refused as e:
                    refused = e
                    break
            check(refused and (refused.verb, refused.code) == ("REJECTED", "disk_full"), f"refused: {refused}")
            check(refused and refused.header.get("retry_after_ms", 0) > 0, "with a time")
            for i, job in enumerate(accepted):
                check(c.result(job)["text"] == f"{i}", "what was accepted ends")
            for job in accepted:
                c.ask("DELETE", {"job": job})
            for _ in range(50 * program.SLOW):  # files go in the background
                try:
                    c.result(c.submit({"task": "noop", "media": [{"kind": "image", "frame": 0}]}, [os.urandom(200000)]))
                    break
                except program.Refused:
                    time.sleep(0.2)
            else:
                check(False, "there is room again, and still it is refused")
            c.close()
            check(daemon.stop() == 0, "it ends well")
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False)


def journal_locked(folder):
    """A second daemon on the same folder, and a stranger who holds the journal."""
    import sqlite3
    with Daemon(folder) as daemon:
        second = subprocess.run([program.DAEMON, "--data", str(daemon.data), "--endpoint", f"ipc://{folder}/2"],
                                capture_output=True, text=True, timeout=60, check=False)
        check(second.returncode == 1 and "another process" in second.stderr and second.stderr.count("\n") == 1,
              f"a second daemon: {second.returncode} {second.stderr!r}")
        c = Client(daemon.endpoint)
        stranger = sqlite3.connect(daemon.data / "journal.db", isolation_level=None)
        stranger.execute("BEGIN IMMEDIATE")
        request = c.send("SUBMIT", noop("patience"))
        time.sleep(1)
        check(c.ask("PING")["protocol"] == "SNJP/1", "the daemon still answers")
        stranger.execute("ROLLBACK")
        verb, header = c.reply(request)
        if verb == "REJECTED":
            header["job"] = c.submit(noop("patience"))
        check(c.result(header["job"])["text"] == "patience", "and goes on")
        c.close()


def broken_starts(folder):
    """One clear line and an exit status; nothing half-started."""
    busy = socket.socket()
    busy.bind(("127.0.0.1", 0))
    busy.listen()
    port = busy.getsockname()[1]
    public_key = folder / "server.cert_secret"
    public_key.write_text("metadata\ncurve\n")
    public_key.chmod(0o644)
    conf = folder / "conf"
    conf.write_text("[queue]\njobs-max = many\n")
    data = ["--data", folder / "data"]
    table = [
        (2, ["--config", conf, *data], ["conf:2", "jobs-max", "'many'"]),
        (2, ["--config", folder / "none", *data], ["none"]),
        (2, ["--jobs-max", "0", *data], ["jobs-max", "'0'"]),
        (2, ["--nonsense", *data], ["--nonsense"]),
        (2, ["--model", "x", *data], ["NAME=FILE"]),
        (1, ["--model", f"x={folder}/none.gguf", *data], ["none.gguf"]),
        (1, ["--model", f"x={conf}", *data], ["x"]),
        (1, ["--endpoint", f"tcp://127.0.0.1:{port}", *data], [str(port), "in use"]),
        (1, ["--endpoint", "tcp://0.0.0.0:1", *data], ["0.0.0.0", "keys"]),
        (1, ["--endpoint", "tcp://0.0.0.0:1", "--certificate", public_key, "--clients", folder, *data],
         ["server.cert_secret", "read"]),
        (1, ["--http", "somewhere", *data], ["HOST:PORT"]),
        (1, ["--http", f"127.0.0.1:{port}", *data], [str(port)]),
    ]
    for status, args, words in table:
        done = subprocess.run([program.DAEMON, *map(str, args), "--log-level", "error"], capture_output=True,
                              text=True, timeout=120, check=False)
        lines = done.stderr.strip().split("\n")
        check(done.returncode == status, f"{args}: exit status {done.returncode}, not {status}: {done.stderr}")
        check(len(lines) == 1 and lines[0].startswith("sensoriumd: "), f"{args}: {lines}")
        check(all(w in done.stderr for w in words), f"{args}: {done.stderr!r} lacks one of {words}")
    busy.close()


def sockets_for_some(folder):
    for i, (who, mode, of_folder) in enumerate((("owner", 0o600, 0o700), ("group", 0o660, 0o710), ("all", 0o666, 0o711))):
        path = folder / f"made{i}" / "s"
        with Daemon(folder, "--endpoint", f"ipc://{path}", "--socket", who):
            modes = path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777
            check(modes == (mode, of_folder), f"--socket {who}: {modes[0]:o} in a folder of {modes[1]:o}")


def settings_metrics_signals(folder):
    conf = folder / "conf"
    conf.write_text(f"[daemon]\nhttp = 127.0.0.1:0\nlog = json\n[security]\nroot = {folder}\n")
    good = subprocess.run([program.DAEMON, "--config", str(conf), "--check-config"], capture_output=True, text=True,
                          timeout=120, check=False)
    check(good.returncode == 0 and "in order" in good.stdout, f"--check-config: {good}")
    with Daemon(folder, "--config", conf) as daemon:
        import json
        lines = [json.loads(l) for l in daemon.log.read_text().splitlines()]
        port = next(l["port"] for l in lines if l["message"] == "metrics")

        def get(path):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as r:
                    return r.status, r.read().decode()
            except urllib.error.HTTPError as e:
                return e.code, ""

        c = Client(daemon.endpoint)
        secret = "a word that no log may have"
        c.result(c.submit(noop(secret)))
        time.sleep(1.5)
        status, text = get("/metrics")
        check(status == 200 and 'sensorium_jobs_ended_total{state="done"} 1' in text, f"metrics: {text[:400]}")
        check('sensorium_stage_seconds_count{stage="queue"} 1' in text, "the histogram of waiting")
        check(get("/healthz")[0] == 200 and get("/readyz")[0] == 200 and get("/other")[0] == 404, "health")
        check(secret not in daemon.log.read_text(), "the log has what a job said")
        conf.write_text(conf.read_text() + "[model tiny]\nfile = " + str(program.MODELS / "llama-smol.gguf") + "\n")
        daemon.process.send_signal(signal.SIGHUP)
        for _ in range(100 * program.SLOW):
            if any(m["name"] == "tiny" for m in c.ask("PING")["models"]):
                break
            time.sleep(0.1)
        else:
            check(False, "a model that was added is not there after SIGHUP")
        running = c.submit(noop("slow", sleep_ms=500))
        queued = [c.submit(noop(f"{i}", sleep_ms=500)) for i in range(40)]
        while c.ask("STATUS", {"job": running})["state"] == "queued":
            time.sleep(0.02)
        check(daemon.stop() == 0, "SIGTERM")
        daemon.start()
        check(c.result(running)["attempts"] == 1, "what ran was ended before")
        check(all(c.result(j)["state"] == "done" for j in queued), "what waited is there after")
        c.close()


def once(folder):
    with Daemon(folder) as daemon:
        c = Client(daemon.endpoint)
        job = c.submit(noop("left", sleep_ms=3000))
        c.close()
        daemon.kill()
    done = subprocess.run([*daemon.command(), "--once"], timeout=120, capture_output=True, check=False)
    check(done.returncode == 0, f"--once: {done}")
    with daemon:
        c = Client(daemon.endpoint)
        check(c.ask("RESULT", {"job": job})["state"] == "done", "--once did what was left")
        c.close()


if __name__ == "__main__":
    program.main([killer_ends_dead_neighbours_live, worker_killed_from_outside, hanging_worker_is_killed,
                  failures_and_retries, spool_file_removed, client_vanishes, slow_reader, clock_jumps, disk_full,
                  journal_locked, broken_starts, sockets_for_some, settings_metrics_signals, once])
