#!/usr/bin/env python3
"""What the daemon costs on the way of a token: one streamed answer through it beside the engine in one process.

    bench/tokens.py --sensorium build/sensorium --daemon build/sensoriumd --model SmolLM2-135M-Instruct.Q4_1.gguf
        [--tokens 256] [--rounds 7] [--threads 2] [--out PAGE.md]

Tokens a second after the first one: of `generate`, by its own clock; of a job that is watched, by the client's, from
the first piece of text to the result. In turns; medians.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "daemon"))
import page
import program

PROMPT = "Write a long story about a lighthouse keeper and the sea."


def engine(a):
    done = subprocess.run([a.sensorium, "generate", "-m", a.model, "-p", PROMPT, "-n", str(a.tokens), "-t",
                           str(a.threads), "--ctx", "2048", "--json"], capture_output=True, text=True, check=True)
    r = json.loads(done.stdout)
    return r["timings"]["decode_tokens_per_s"], r["usage"]["completion_tokens"]


def through(a, client):
    request = client.send("SUBMIT", {"model": "m", "prompt": PROMPT, "watch": True, "options": {"max_tokens": a.tokens}})
    first = None
    while True:
        verb, reply = client.reply(request, 120)
        if verb in ("ERROR", "REJECTED"):
            sys.exit(f"{verb} {reply}")
        if verb == "EVENT" and reply["event"] == "text" and first is None:
            first = time.perf_counter()
        if verb == "EVENT" and reply["event"] == "end":
            seconds = time.perf_counter() - first
            n = reply["result"]["usage"]["completion_tokens"]
            return (n - 1) / seconds, n


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sensorium", required=True)
    p.add_argument("--daemon", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--tokens", type=int, default=256)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--out")
    a = p.parse_args()
    program.DAEMON = a.daemon
    runs = []
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        with program.Daemon(folder, "--model", f"m={a.model}", "--log-level", "error", "--threads", a.threads,
                            "--context", 2048) as daemon:
            c = program.Client(daemon.endpoint)
            through(a, c)
            for _ in range(a.rounds):
                (alone, n), (daemon_rate, m) = engine(a), through(a, c)
                if n != m:
                    sys.exit(f"{n} tokens in one process, {m} through the daemon")
                runs.append((alone, daemon_rate))
                print(f"{runs[-1]}", file=sys.stderr, flush=True)
            c.close()
    alone, daemon_rate = (statistics.median(r[i] for r in runs) for i in range(2))
    page.write(a.out, "The daemon on the way of a token", "tokens.py", [
        f"{pathlib.Path(a.model).name}, {n} tokens, {a.threads} threads, medians of {a.rounds} alternating runs; goal: 3 %"],
        ["| | tokens a second |", "| --- | --- |", f"| in one process (`generate`) | {alone:.1f} |",
         f"| streamed through the daemon | {daemon_rate:.1f} |", f"| cost | {100 * (1 - daemon_rate / alone):.1f} % |"])


main()
