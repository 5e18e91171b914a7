#!/usr/bin/env python3
"""The daemon is killed (SIGKILL) again and again while clients submit: every accepted job ends exactly once with
the right result, nothing is left over. SN_TEST_KILLS=200 SN_TEST_JOBS=20000 is the long run."""

import os
import random
import sqlite3
import threading
import time

import program
from program import check

KILLS = int(os.environ.get("SN_TEST_KILLS", "4" if program.QUICK else "10"))
JOBS = int(os.environ.get("SN_TEST_JOBS", "200" if program.QUICK else "1000"))
CLIENTS = 4
SEED = int(os.environ.get("SN_TEST_SEED", "1"))


class Submitter(threading.Thread):
    """Submits jobs of its own, each with a key, again where no answer came, and remembers what was accepted."""

    def __init__(self, endpoint, numbers, media):
        super().__init__()
        self.endpoint, self.numbers, self.media = endpoint, numbers, media
        self.accepted, self.results, self.error = {}, {}, None

    def once(self, number):
        """One try at one job; a new client each time the daemon was lost."""
        client = self.client
        frames = [self.media[number % len(self.media)]] if number % 5 == 0 else []
        header = {"task": "noop", "key": f"job-{number}",
                  "options": {"echo": f"answer {number}", "sleep_ms": number % 7 * 10}}
        if frames:
            header["media"] = [{"kind": "image", "frame": 0}]
        job = client.submit(header, frames, timeout_s=2)
        before = self.accepted.setdefault(number, job)
        check(before == job, f"job {number} is {before} and {job}")

    def run(self):
        try:
            self.client = program.Client(self.endpoint)
            for number in self.numbers:
                while number not in self.accepted:
                    try:
                        self.once(number)
                    except (TimeoutError, program.Refused) as e:
                        if isinstance(e, program.Refused) and e.verb == "ERROR":
                            raise
                        self.client.close()
                        self.client = program.Client(self.endpoint)
            self.client.close()
        except Exception as e:
            self.error = e


def kill_at_random(daemon, submitters, rng):
    kills = 0
    while any(s.is_alive() for s in submitters) or kills < KILLS:
        done = sum(len(s.accepted) for s in submitters)
        if kills < KILLS and done >= JOBS * kills // KILLS:
            time.sleep(rng.uniform(0, 0.15))
            daemon.kill()
            kills += 1
            daemon.start()
        time.sleep(0.01)
    return kills


def collect(daemon, accepted):
    """Every job's result, by number."""
    client = program.Client(daemon.endpoint)
    results = {number: client.result(job) for number, job in accepted.items()}
    listed, before = [], None
    while True:
        page = client.ask("LIST", {"limit": 1000, **({"before": before} if before else {})})
        listed += [j["job"] for j in page["jobs"]]
        if not page["more"]:
            break
        before = listed[-1]
    client.close()
    return results, listed


def delete_all(daemon, jobs):
    client = program.Client(daemon.endpoint)
    for job in jobs:
        client.ask("DELETE", {"job": job})
    client.close()


def nothing_is_lost(folder):
    rng = random.Random(SEED)
    media = [rng.randbytes(rng.randrange(1, 40000)) for _ in range(20)]
    daemon = program.Daemon(folder)
    with daemon:
        submitters = [Submitter(daemon.endpoint, range(i, JOBS, CLIENTS), media) for i in range(CLIENTS)]
        for s in submitters:
            s.start()
        kills = kill_at_random(daemon, submitters, rng)
        for s in submitters:
            s.join()
            check(s.error is None, f"a client: {s.error!r}")
        accepted = {n: j for s in submitters for n, j in s.accepted.items()}
        check(len(accepted) == JOBS, f"{len(accepted)} of {JOBS} jobs accepted")
        results, listed = collect(daemon, accepted)
        wrong = [n for n, r in results.items() if r["state"] != "done" or r["text"] != f"answer {n}"]
        check(not wrong, f"{len(wrong)} jobs ended otherwise, the first: {wrong and results[wrong[0]]}")
        check(sorted(listed) == sorted(accepted.values()),
              f"{len(listed)} jobs are there, {len(accepted)} were accepted")
        print(f"{JOBS} jobs, {kills} kills: {len(results) - len(wrong)} ended once and well")
        delete_all(daemon, accepted.values())
        check(daemon.stop() == 0, "the daemon did not end well")
    left = [str(p) for p in daemon.data.rglob("*") if p.is_file() and "spool" in p.parts]
    check(not left, f"files of no job: {left[:5]}")
    verdict = sqlite3.connect(daemon.data / "journal.db").execute("PRAGMA integrity_check").fetchone()[0]
    check(verdict == "ok", f"the journal: {verdict}")


if __name__ == "__main__":
    program.main([nothing_is_lost])
