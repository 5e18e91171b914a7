#!/usr/bin/env python3
"""The queue beside PostgreSQL and beanstalkd, all durable, on the same disk, in turns.

    bench/queue.py --daemon build/sensoriumd --load build/bench/queue_load [--folder DIR] [--rounds 5] [--out PAGE.md]

Clients submit jobs of 1 KiB: 8 with one outstanding each, then with 64. PostgreSQL inserts rows of 1 KiB by 8
pgbench clients with synchronous commit, and claims them one by one with SKIP LOCKED (it needs the packages
postgresql and beanstalkd, and to be run as root: PostgreSQL refuses to be root and is run as "postgres"). The
daemon claims and finishes no-op jobs, which go to its worker process and back. Medians; ratios are of medians.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "daemon"))
import page
import program

SLOTS = 16  # jobs that the worker takes at a time: twice --together
POSTGRES = next(iter(sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


def run(*words, **kw):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False, **kw)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    return done.stdout


class Postgres:
    """A cluster of its own, with the settings it comes with (fsync and synchronous_commit are on)."""

    def __init__(self, folder):
        self.folder = folder / "pg"
        self.folder.mkdir(mode=0o700)
        shutil.chown(self.folder, "postgres")
        self.user = ["runuser", "-u", "postgres", "--"]
        run(*self.user, POSTGRES / "initdb", "-D", self.folder, "--auth", "trust")
        self.control("start", "-w", "-l", self.folder / "log", "-o",
                     f"-c listen_addresses='' -c unix_socket_directories={self.folder}")
        self.sql("CREATE TABLE jobs (id bigserial PRIMARY KEY, state int NOT NULL DEFAULT 0, header text)")
        self.sql("CREATE INDEX ON jobs (id) WHERE state = 0")
        self.script("insert", "INSERT INTO jobs (header) VALUES (repeat('x', 1024));")
        self.script("claim", "UPDATE jobs SET state = 1 WHERE id = (SELECT id FROM jobs WHERE state = 0 ORDER BY id "
                    "LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id;")

    def control(self, *words):
        # The server keeps pg_ctl's output open.
        subprocess.run([*self.user, str(POSTGRES / "pg_ctl"), "-D", str(self.folder), *map(str, words)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def sql(self, text):
        run(*self.user, POSTGRES / "psql", "-h", self.folder, "-d", "postgres", "-qc", text)

    def script(self, name, text):
        (self.folder / f"{name}.sql").write_text(text)
        (self.folder / f"{name}.sql").chmod(0o644)

    def rate(self, name, seconds):
        out = run(*self.user, POSTGRES / "pgbench", "-h", self.folder, "-d", "postgres", "-n", "-c", 8, "-j", 2, "-T",
                  seconds, "-M", "prepared", "-f", self.folder / f"{name}.sql")
        return float(next(l for l in out.splitlines() if l.startswith("tps")).split()[2])

    def stop(self):
        self.control("stop", "-m", "immediate")


class Beanstalk:
    def __init__(self, folder):
        (folder / "bean").mkdir()
        self.port = 11399
        self.process = subprocess.Popen(["beanstalkd", "-l", "127.0.0.1", "-p", str(self.port), "-b",
                                         str(folder / "bean"), "-f0"])
        time.sleep(0.5)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def load(a, *words):
    return json.loads(run(a.load, *words))


def hold(daemon):
    """Jobs that sleep in all places the worker has: what is submitted from now on waits."""
    c = program.Client(daemon.endpoint)
    for _ in range(SLOTS):
        c.submit({"task": "noop", "priority": 100, "options": {"sleep_ms": 600000}})
    while c.ask("STATS")["queue"]["jobs"]["running"] < SLOTS:
        time.sleep(0.02)
    c.close()


def fresh(folder, name):
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name).mkdir()
    return program.Daemon(folder / name, "--jobs-max", 10_000_000, "--share-percent", 100, "--log-level", "error")


def submits(a, folder, clients, outstanding):
    """Submits alone, as the inserts beside them: nothing is run meanwhile."""
    with fresh(folder, "submits") as daemon:
        hold(daemon)
        return load(a, "snjp", daemon.endpoint, clients, outstanding, a.seconds)


def drained(daemon, timeout_s=600):
    """Waits until nothing is queued or running."""
    c = program.Client(daemon.endpoint)
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        jobs = c.ask("STATS")["queue"]["jobs"]
        if jobs["queued"] + jobs["running"] == 0:
            break
        time.sleep(0.05)
    c.close()


def done_count(client):
    return client.ask("STATS")["queue"]["jobs"]["done"]


def claims(a, daemon):
    """No-op jobs that wait behind some that sleep, from the first that ends to the last, per second."""
    c = program.Client(daemon.endpoint)
    for _ in range(SLOTS):
        c.submit({"task": "noop", "keep_s": 0, "priority": 100, "options": {"sleep_ms": 4000}})
    jobs = load(a, "snjp", daemon.endpoint, 8, 64, 2, '{"task":"noop"}')["n"]
    base, begin = done_count(c), None
    while True:
        n = done_count(c) - base
        if begin is None and n > 200:
            begin, first = time.monotonic(), n
        if begin and n >= jobs * 0.95:
            rate = (n - first) / (time.monotonic() - begin)
            break
        time.sleep(0.02)
    c.close()
    drained(daemon)
    return rate


def fsync_ms(folder, n=300):
    """What the disk takes for one page, appended as SQLite's log is."""
    path, times = folder / "fsync", []
    fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    for _ in range(n):
        os.write(fd, b"x" * 4120)
        begin = time.perf_counter()
        os.fdatasync(fd)
        times.append(time.perf_counter() - begin)
    os.close(fd)
    return 1e3 * statistics.median(times)


def rss_kib(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(l for l in text.splitlines() if l.startswith("VmRSS")).split()[1])


def many_clients(a, daemon):
    """Memory of the daemon for each of 1000 clients that only sit there, while 64 work."""
    before = rss_kib(daemon.process.pid)
    idle = subprocess.Popen([a.load, "idle", daemon.endpoint, "1000", str(a.seconds + 4)], stdout=subprocess.PIPE)
    answered = json.loads(idle.stdout.readline())["answered"]
    per_client = (rss_kib(daemon.process.pid) - before) / 1000
    busy = load(a, "snjp", daemon.endpoint, 64, 1, a.seconds, ',"keep_s":0')
    idle.wait()
    drained(daemon)
    return answered, per_client, busy


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--daemon", required=True)
    p.add_argument("--load", required=True)
    p.add_argument("--folder", type=pathlib.Path, help="on the disk to measure (a temporary one)")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=int, default=4)
    p.add_argument("--out")
    a = p.parse_args()
    program.DAEMON = a.daemon
    rows = {}

    def note(name, value):
        rows.setdefault(name, []).append(value)
        print(f"{name}: {value:.4g}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(dir=a.folder, prefix="q") as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        postgres, bean = Postgres(folder), Beanstalk(folder)
        try:
            for _ in range(a.rounds):
                note("pg insert", postgres.rate("insert", a.seconds))
                note("8x1", submits(a, folder, 8, 1)["per_s"])
                note("bean 8x1", load(a, "beanstalk", bean.port, 8, 1, a.seconds)["per_s"])
                note("8x64", submits(a, folder, 8, 64)["per_s"])
                note("pg claim", postgres.rate("claim", a.seconds))
                with fresh(folder, "claims") as daemon:
                    note("claim", claims(a, daemon))
                note("fsync", fsync_ms(folder))
                note("accept", submits(a, folder, 1, 1)["p50_ms"])
            with fresh(folder, "clients") as daemon:
                answered, per_client, busy = many_clients(a, daemon)
        finally:
            postgres.stop()
            bean.stop()
    m = {k: statistics.median(v) for k, v in rows.items()}
    table = [
        ("durable submits, 8 clients, 1 outstanding", "8x1", "pg insert", "PostgreSQL inserts", "≥ 1.5"),
        ("the same", "8x1", "bean 8x1", "beanstalkd -b -f0", "≥ 1"),
        ("the same, 64 outstanding", "8x64", "pg insert", "PostgreSQL inserts", "≥ 5"),
        ("claim and finish of no-op jobs", "claim", "pg claim", "PostgreSQL claims, SKIP LOCKED", "≥ 3"),
        ("accept latency of one client, ms", "accept", "fsync", "fdatasync of the disk, ms", "≤ 1.5"),
    ]
    lines = ["| what | Sensorium | | beside | ratio | goal |", "| --- | --- | --- | --- | --- | --- |"]
    for what, ours, theirs, name, goal in table:
        lines.append(f"| {what} | {m[ours]:.4g} | {m[theirs]:.4g} | {name} | {m[ours] / m[theirs]:.2f} | {goal} |")
    lines += ["", f"1000 idle clients, 64 busy: {answered} answered, {busy['refused']} of {busy['n']} submits refused, "
              f"{per_client:.1f} KiB for each idle client (goal: 64)."]
    page.write(a.out, "The queue", "queue.py", [
        "per second, where nothing else is said; jobs of 1 KiB, durable before the answer",
        f"PostgreSQL {POSTGRES.parent.name} as it comes, 8 pgbench clients; beanstalkd -b -f0",
        f"in turns, medians of {a.rounds} times {a.seconds} s"], lines)


main()
