#!/usr/bin/env python3
"""Whether the daemon grows: no-op jobs and small jobs of a model, memory and descriptors all the while.

    bench/soak.py --daemon build/sensoriumd --model SmolLM2-135M-Instruct.Q4_1.gguf [--noops 100000] [--jobs 2000]
        [--out PAGE.md]

Resident memory of daemon and worker is sampled all the time; the mean of the last quarter of each phase stands
beside that of its first, after a tenth of the jobs to warm up.
"""
import argparse
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "daemon"))
import page
import program


def sample(daemon):
    got = {}
    for name, pid in (("daemon", daemon.process.pid), ("worker", daemon.worker())):
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
        got[name] = (int(next(l for l in text.splitlines() if l.startswith("VmRSS")).split()[1]) / 1024,
                     len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir())))
    return got


def phase(daemon, n, header, outstanding):
    """Samples of a phase of n jobs."""
    c = program.Client(daemon.endpoint)
    samples, begun, ended, wrong = [], 0, 0, 0
    while ended < n:
        while begun < n and begun - ended < outstanding:
            c.send("SUBMIT", {**header(begun), "watch": True, "keep_s": 0})
            begun += 1
        _, verb, reply = c.receive(600)
        if verb in ("REJECTED", "ERROR"):
            sys.exit(f"{verb} {reply}")
        if verb == "EVENT" and reply["event"] == "end":
            ended += 1
            wrong += reply["state"] != "done"
            if ended % max(n // 400, 1) == 0 and ended > n // 10:
                samples.append(sample(daemon))
    c.close()
    if wrong:
        sys.exit(f"{wrong} of {n} jobs were not done")
    return samples


def growth(samples, name, what):
    values = [s[name][what] for s in samples]
    quarter = max(len(values) // 4, 1)
    first, last = sum(values[:quarter]) / quarter, sum(values[-quarter:]) / quarter
    return first, last


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--daemon", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--noops", type=int, default=100_000)
    p.add_argument("--jobs", type=int, default=2_000)
    p.add_argument("--out")
    a = p.parse_args()
    program.DAEMON = a.daemon
    lines = ["| jobs | seconds | process | memory first, MiB | last | growth | descriptors first | last |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:
        with program.Daemon(folder, "--model", f"m={a.model}", "--log-level", "error", "--context", 256) as daemon:
            for what, n, header, outstanding in (
                    (f"{a.noops} no-op", a.noops, lambda i: {"task": "noop", "options": {"echo": f"{i}"}}, 64),
                    (f"{a.jobs} of SmolLM2", a.jobs,
                     lambda i: {"model": "m", "prompt": f"Say {i}.", "options": {"max_tokens": 4}}, 16)):
                begin = time.monotonic()
                samples = phase(daemon, n, header, outstanding)
                seconds = time.monotonic() - begin
                for name in ("daemon", "worker"):
                    (m0, m1), (f0, f1) = growth(samples, name, 0), growth(samples, name, 1)
                    lines.append(f"| {what} | {seconds:.0f} | {name} | {m0:.1f} | {m1:.1f} | {100 * (m1 / m0 - 1):+.1f} % | "
                                 f"{f0:.1f} | {f1:.1f} |")
                    print(lines[-1], file=sys.stderr, flush=True)
    page.write(a.out, "The daemon over many jobs", "soak.py", [
        "resident memory, mean of the last quarter of the jobs beside that of the first; goal: + 2 % at most"], lines)


main()
