#!/usr/bin/env python3
"""Writes docs/accuracy.md: what each stage of each multimodal family differs from transformers by.

    bench/accuracy.py --build BUILD [--out docs/accuracy.md]

Runs the comparing tests, which print a line a family, and puts their lines into a table."""
import argparse
import os
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
SCRIPTS = ("tests/pipeline/pictures.py", "tests/pipeline/sounds.py", "tests/pipeline/videos.py")
STAGES = ("pixels", "mel", "encoder", "projector", "logits")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", required=True)
    p.add_argument("--out")
    a = p.parse_args()
    env = dict(os.environ, SENSORIUM=str(pathlib.Path(a.build).resolve() / "sensorium"))
    table = {}
    for script in SCRIPTS:
        if not (TOP / script).exists():
            continue
        done = subprocess.run([sys.executable, TOP / script], capture_output=True, text=True, env=env, check=False)
        if done.returncode != 0:
            sys.exit(f"{script}:\n{done.stdout}{done.stderr}")
        for family, rest in re.findall(r"^([\w-]+) +((?:(?:%s) .*))$" % "|".join(STAGES), done.stdout, re.M):
            for stage, value in re.findall(r"(%s) ([0-9.e+-]+)" % "|".join(STAGES), rest):
                table.setdefault(family, {})[stage] = "" if value == "0.0e+00" else value  # not there
    lines = ["# Accuracy of what sees and hears", "", "Written by `bench/accuracy.py`; do not edit.", "",
             "Tiny models of the full architectures with random F32 weights (tests/reference), real picture,",
             "sound and video files, against Hugging Face transformers in float32. Pixels: largest difference in grey levels;",
             "mel: largest difference; encoder, projector: 1 - cosine of the worst row; logits: largest difference",
             "over their standard deviation. Greedy continuations are the same.", "",
             "| family | " + " | ".join(STAGES) + " |", "|" + " --- |" * (len(STAGES) + 1)]
    for family in sorted(table):
        lines.append(f"| {family} | " + " | ".join(table[family].get(s, "") for s in STAGES) + " |")
    text = "\n".join(lines) + "\n"
    if a.out:
        pathlib.Path(a.out).write_text(text, encoding="utf-8")
    print(text)


main()
