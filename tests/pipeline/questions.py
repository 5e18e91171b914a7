#!/usr/bin/env python3
"""Several questions about the same media in one process, a conversation about a picture, and features that
outlive a process: the answers are those of asking one by one, and what was computed once is not again."""

import json
import os
import pathlib
import sys

# at the end: a file there is called inspect.py, as a module that others import
sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from program import HERE, TINY, check, main, run, status  # noqa: E402

MODELS, MEDIA = HERE.parent / "reference" / "models", HERE.parent / "reference" / "media"
WIDE, TALL, TONES = (MEDIA / n for n in ("wide.png", "tall.png", "tones.wav"))
QUESTIONS = ("What is this?", "What is it for?", "Why?")
SEEING = ("idefics3", "qwen2vl", "qwen25vl", "gemma3v", "llava")
OFF = {"SENSORIUM_FEATURE_CACHE": ""}


def ask(model, media, questions, *more, env=None):
    done = run("ask", "-m", model, "--template", "chatml", *media, "-n", 6, "--json", *more, *questions,
               env=env or OFF)
    status(done, 0, f"ask {model.name}")
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def several(_):
    """Each answer is that of asking alone, in families of every kind of position and attention."""
    for name in SEEING:
        media = ("--image", WIDE, "--image", TALL)
        together = ask(MODELS / f"{name}.gguf", media, QUESTIONS)
        check([a["prompt"] for a in together] == list(QUESTIONS), f"{name}: {together}")
        for answer, question in zip(together, QUESTIONS):
            alone = ask(MODELS / f"{name}.gguf", media, [question])[0]
            check(answer["ids"] == alone["ids"], f"{name}: {answer['ids']} together, {alone['ids']} alone")
            check("prompt" not in alone, f"{name}: one question is repeated in its answer")
        usage = [a["usage"] for a in together]
        check(usage[0]["cached_tokens"] == 0 and
              all(u["cached_tokens"] > u["prompt_tokens"] // 2 for u in usage[1:]), f"{name}: {usage}")
    text = ask(TINY, (), QUESTIONS)
    check(len(text) == 3 and text[2]["ids"] == ask(TINY, (), QUESTIONS[2:])[0]["ids"], f"text alone: {text}")


def outputs(_):
    args = ("ask", "-m", MODELS / "idefics3.gguf", "--template", "chatml", "--image", WIDE, "-n", 4)
    lines = status(run(*args, *QUESTIONS), 0, "ask, as text").stdout.decode().split("\n")
    for i, question in enumerate(QUESTIONS):
        at = lines.index(f"> {question}") if f"> {question}" in lines else -1
        check(at == 0 if i == 0 else at > 0 and lines[at - 1] == "", f"heading {i} in {lines}")
    check(b"> " not in run(*args, QUESTIONS[0]).stdout, "one question gets a heading")
    ids = status(run(*args, "--ids", *QUESTIONS), 0, "ask --ids").stdout.decode().splitlines()
    check(len(ids) == 3 and all(len(x.split()) == 4 for x in ids), f"ask --ids: {ids}")
    status(run(*args), 2, "ask without a question")


def chat(_):
    """The second turn runs only what is new, and a picture belongs to the first, also after /reset."""
    args = ("chat", "-m", MODELS / "qwen2vl.gguf", "--template", "chatml", "--image", WIDE, "-n", 4, "-v")
    done = status(run(*args, stdin="one\ntwo\n/reset\none\n"), 0, "chat --image")
    counts = [[int(w) for w in line.replace(",", "").split() if w.isdigit()]
              for line in done.stderr.decode().splitlines() if "from the cache" in line]
    check(len(counts) == 3 and counts[0][1] == 0 and counts[1][1] > counts[0][0] - 10 and
          counts[2][:2] == [counts[0][0], counts[0][0] - 1], f"chat --image: {counts}")
    answers = done.stdout.decode().split("\n")
    check(answers[0] == answers[2], f"chat --image: {answers}")


def features(tmp):
    """Kept on disk only when asked for; found there by the next process, whatever else is in the folder."""
    folder = tmp / "features"
    cache = ("--feature-cache", folder)
    model, media = MODELS / "idefics3.gguf", ("--image", WIDE)
    home = {"SENSORIUM_CACHE": str(tmp / "cache"), **OFF}
    plain = ask(model, media, QUESTIONS[:1], env=home)[0]
    check(not (tmp / "cache").exists(), "features are kept though nobody asked for it")
    first, second = (ask(model, media, QUESTIONS[:1], *cache)[0] for _ in range(2))
    check("cached" not in plain["media"][0] and "cached" not in first["media"][0], f"cached: {first['media']}")
    check(second["media"][0].get("cached") == "disk", f"the second process: {second['media']}")
    check(plain["ids"] == first["ids"] == second["ids"], "answers differ with the cache")
    check(folder.stat().st_mode & 0o777 == 0o700, f"folder of mode {folder.stat().st_mode:o}")
    other = ask(model, ("--image", TALL), QUESTIONS[:1], *cache)[0]
    check("cached" not in other["media"][0], "another picture is found")
    smaller = ask(model, media, QUESTIONS[:1], *cache, "--image-tokens", 20)[0]
    check("cached" not in smaller["media"][0], "another size is found")
    fast = ask(model, media, QUESTIONS[:1], *cache, "--fast")[0]
    check("cached" not in fast["media"][0], "rows of 8-bit products are other rows")
    raw = status(run("generate", "-m", model, "--raw", "--json", "-n", 1, *media, *cache, "-p", "a"), 0,
                 "generate --feature-cache")
    check(json.loads(raw.stdout)["media"][0].get("cached") == "disk", "generate computes again")

    for file in folder.iterdir():
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 64
        file.write_bytes(bytes(data))
    done = status(run("ask", "-m", model, "--template", "chatml", *media, *cache, "-n", 6, "--ids", "-v",
                      QUESTIONS[0]), 0, "ask, with a damaged cache")
    check([int(x) for x in done.stdout.split()] == plain["ids"], "the answer comes of damaged features")
    check(b"damaged" in done.stderr, f"ask -v says {done.stderr}")


def where(tmp):
    """The option, the environment, and what neither may name."""
    model, media = MODELS / "idefics3.gguf", ("--image", WIDE)
    env = {"SENSORIUM_CACHE": str(tmp / "own"), "SENSORIUM_FEATURE_CACHE": "auto"}
    ask(model, media, QUESTIONS[:1], "--feature-cache", "off", env=env)
    check(not (tmp / "own").exists(), "--feature-cache off keeps features")
    again = [ask(model, media, QUESTIONS[:1], env=env)[0] for _ in range(2)][1]
    check(again["media"][0].get("cached") == "disk" and (tmp / "own" / "features").is_dir(),
          f"SENSORIUM_FEATURE_CACHE=auto: {again['media']}")
    (tmp / "open").mkdir()
    os.chmod(tmp / "open", 0o777)
    done = status(run("ask", "-m", model, *media, "--feature-cache", tmp / "open", "a"), 1, "an open folder")
    check(b"others may write" in done.stderr, f"an open folder: {done.stderr}")


def sounds(tmp):
    model, media = MODELS / "ultravox.gguf", ("--audio", TONES)
    cache = ("--feature-cache", tmp / "sounds")
    first, second = (ask(model, media, QUESTIONS[:2], *cache) for _ in range(2))
    check("cached" not in first[0]["media"][0] and second[0]["media"][0].get("cached") == "disk",
          f"sounds: {second}")
    check([a["ids"] for a in first] == [a["ids"] for a in second], "sounds: answers differ")
    check(first[1]["usage"]["cached_tokens"] > 0, f"sounds: {first}")


main((several, outputs, chat, features, where, sounds))
