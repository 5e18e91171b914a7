#!/usr/bin/env python3
"""Captions of a folder through the daemon, beside llama.cpp with four slots: pictures a minute.

    bench/captions.py --daemon build/sensoriumd --peer-python VENV/bin/python --text SmolLM2-135M-Instruct.Q8_0.gguf \\
        --models FOLDER [--pictures 40] [--rounds 5] [--threads 2] [--fast] [--out PAGE.md]

bench/make_vision.py fills FOLDER; VENV has llama-cpp-python, numpy and pillow. Both sides have the model loaded,
see the same JPEG files, one tile each, and write as many tokens. Our side is four clients of the daemon, which
send the files' bytes; the other side is bench/peer_captions.py, in one process, without a server around it.
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

HERE = pathlib.Path(__file__).resolve().parent
QUESTION = "Describe this picture."


def make_pictures(a, folder):
    """Shifted copies of one picture: no two have the same pixels."""
    code = ("import sys\nfrom PIL import Image, ImageChops\nimage = Image.open(sys.argv[1]).convert('RGB')\n"
            "for i in range(int(sys.argv[3])):\n"
            "    ImageChops.offset(image, 3 * i + 1, 5 * i).save(f'{sys.argv[2]}/{i:04}.jpg', quality=90)\n")
    subprocess.run([a.peer_python, "-c", code, str(a.models / "one.jpg"), str(folder), str(a.pictures)], check=True)
    return sorted(folder.glob("*.jpg"))


def ours(daemon, pictures, tokens, outstanding):
    """Seconds for all, and how many tokens they wrote."""
    clients = [program.Client(daemon.endpoint) for _ in range(4)]
    waiting, written, at = {}, 0, 0
    begin = time.perf_counter()
    while at < len(pictures) or waiting:
        while at < len(pictures) and len(waiting) < outstanding:
            c = clients[at % 4]
            request = c.send("SUBMIT", {"prompt": QUESTION, "watch": True, "media": [{"kind": "image", "frame": 0}],
                                        "options": {"max_tokens": tokens}}, [pictures[at].read_bytes()])
            waiting[(at % 4, request)] = pictures[at]
            at += 1
        for i, c in enumerate(clients):
            while (got := c.receive(0.002)):
                request, verb, reply = got
                if verb in ("ERROR", "REJECTED"):
                    sys.exit(f"{verb} {reply}")
                if verb == "EVENT" and reply["event"] == "end":
                    if reply["state"] != "done":
                        sys.exit(f"{reply}")
                    written += reply["result"]["usage"]["completion_tokens"]
                    del waiting[(i, request)]
    seconds = time.perf_counter() - begin
    for c in clients:
        c.close()
    return seconds, written


def peer(a, pictures, tokens):
    done = subprocess.run([a.peer_python, HERE / "peer_captions.py", "--model", a.text, "--mmproj",
                           a.models / "siglip-512.one.mmproj.gguf", "--tokens", str(tokens), "--threads",
                           str(a.threads), *pictures], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--daemon", required=True)
    p.add_argument("--peer-python", required=True)
    p.add_argument("--text", required=True)
    p.add_argument("--models", required=True, type=pathlib.Path)
    p.add_argument("--pictures", type=int, default=40)
    p.add_argument("--tokens", type=int, default=32)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--fast", action="store_true")
    p.add_argument("--out")
    a = p.parse_args()
    program.DAEMON = a.daemon
    model = f"see={a.text},{a.models / 'siglip-512.one.mmproj.gguf'}"
    runs = []
    with tempfile.TemporaryDirectory(prefix="c", dir="/tmp") as folder:
        folder = pathlib.Path(folder)
        (folder / "photos").mkdir()
        pictures = make_pictures(a, folder / "photos")
        for i in range(a.rounds):
            flags = ["--model", model, "--log-level", "error", "--threads", a.threads, *(["--fast"] if a.fast else [])]
            (folder / str(i)).mkdir()
            with program.Daemon(folder / str(i), *flags) as daemon:
                ours(daemon, pictures[:2], a.tokens, 2)  # loads the model
                seconds, written = ours(daemon, pictures[2:], a.tokens, 8)
                daemon.stop()
            n = len(pictures) - 2
            other = peer(a, pictures[2:], max(1, round(written / n)))
            runs.append((60 * n / seconds, 60 * n / other["seconds"], written / n))
            print(f"{runs[-1]}", file=sys.stderr, flush=True)
    mine, theirs, tokens = (statistics.median(r[i] for r in runs) for i in range(3))
    page.write(a.out, "Captions of a folder", "captions.py", [
        "SmolLM2-135M in Q8_0 behind SigLIP-base of 512 pixels with random weights in F16 (bench/make_vision.py)",
        f"{a.pictures - 2} JPEG files of 512x512, {tokens:.0f} tokens each, models loaded",
        f"llama-cpp-python {other['version']}: four pictures encoded one by one, their answers in one batch, in process",
        f"{a.threads} threads, medians of {a.rounds} alternating runs; goal: 3x"],
        ["| | pictures a minute |", "| --- | --- |", f"| Sensorium, four clients of the daemon{', `--fast`' if a.fast else ''} | {mine:.1f} |",
         f"| llama.cpp | {theirs:.1f} |", f"| ratio | {mine / theirs:.2f}x |"])


main()
