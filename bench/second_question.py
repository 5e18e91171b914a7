#!/usr/bin/env python3
"""What a second question about the same picture costs: time to its first token beside the first one's.

    bench/second_question.py --sensorium build/sensorium --model SmolLM2-135M-Instruct.Q4_1.gguf \\
        --models FOLDER [--rounds 5] [--threads 2] [--out TABLE.md]

bench/make_vision.py fills FOLDER. Seconds from the picture's file to the first token of the answer, with
the models loaded: decoding, preparing, encoding, projecting, and the prompt. "One process" asks both
questions of one `ask`; "two processes" share a folder of features (--feature-cache), which is empty before
the first. Medians.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import page

QUESTIONS = ["What is to be seen here?", "Which colours does the picture have?"]


def ask(a, name, questions, *more):
    words = [a.sensorium, "ask", "-m", a.model, "--mmproj", a.models / f"siglip-512.{name}.mmproj.gguf",
             "--image", a.models / f"{name}.jpg", "-t", a.threads, "-n", 1, "--json", *more, *questions]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stderr}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return answers, [x["timings"]["media_s"] + x["timings"]["first_token_s"] for x in answers]


def one_process(a, name):
    answers, seconds = ask(a, name, QUESTIONS)
    assert answers[1]["usage"]["cached_tokens"] > 0, "the second prompt was run as a whole"
    return seconds


def two_processes(a, name):
    with tempfile.TemporaryDirectory() as folder:
        seconds = []
        for i, question in enumerate(QUESTIONS):
            answers, s = ask(a, name, [question], "--feature-cache", folder + "/features")
            assert ("cached" in answers[0]["media"][0]) == (i > 0), "features were not where they should be"
            seconds += s
        return seconds


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sensorium", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--models", required=True, type=pathlib.Path)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--pictures", default="one,many", help="one (512x512), many (13 tiles)")
    p.add_argument("--out")
    a = p.parse_args()
    lines = ["| picture | questions | first, s | second, s | second / first |",
             "| --- | --- | --- | --- | --- |"]
    for name in a.pictures.split(","):
        what = {"one": "512x512", "many": "1600x1200, 13 tiles"}[name]
        for way, run in (("one process", one_process), ("two processes", two_processes)):
            runs = [run(a, name) for _ in range(a.rounds)]
            first, second = (statistics.median(r[i] for r in runs) for i in range(2))
            lines.append(f"| {what} | {way} | {first:.3f} | {second:.4f} | 1/{first / second:.0f} |")
            print(lines[-1], file=sys.stderr)
    page.write(a.out, "A second question about the same picture", "second_question.py", [
        "SmolLM2-135M behind SigLIP-base of 512 pixels, random weights in F16 (bench/make_vision.py)",
        "from the picture's file to the answer's first token, with the models loaded",
        "one process: both questions of one `ask`; two processes: features kept on disk (`--feature-cache`)",
        f"{a.threads} threads, medians of {a.rounds}; goal: 1/10"], lines)


main()
