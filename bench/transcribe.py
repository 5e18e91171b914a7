#!/usr/bin/env python3
"""Transcription beside faster-whisper: word error rate and time, on the same model files.

Speech is made by espeak-ng from the sentences below, in several voices, and mixed with noise:

    bench/transcribe.py --model MODEL.gguf --ct2 FOLDER --sensorium build/sensorium wer --work DIR
    bench/transcribe.py --model MODEL.gguf --ct2 FOLDER --sensorium build/sensorium time --work DIR

Both run with beam 1, temperature 0 and 2 threads. `time` alternates between the two, each loaded once
where it can be; medians count. Needs espeak-ng, NumPy, faster-whisper."""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import time
import wave

import numpy as np
import page

SENTENCES = """The ferry leaves the harbour at seven in the morning and returns before it is dark.
My sister bought a small house near the river, and she planted apple trees behind it.
Nobody expected the committee to agree so quickly on the new budget for the library.
When the storm had passed, the children ran outside to look for broken branches.
A good map shows not only the roads but also the places where a traveller can rest.
The doctor asked him to drink more water and to walk for half an hour every day.
In the evening the old man sat by the window and read letters from his brother.
Scientists have measured the temperature of the lake every week for thirty years.
Please send the documents to the office in London before the end of the month.
The museum opens at nine, but the exhibition on the second floor is closed today.
She explained the problem slowly, so that everyone at the table could understand.
After dinner we played cards until the candles had burned down to the end.
The engine made a strange noise, and the driver decided to stop at the next village.
Farmers in the valley grow wheat, potatoes and a few acres of yellow flowers.
He promised to return the money in spring, although he had never kept a promise.
The teacher wrote three questions on the board and left the room without a word.
Two hundred people waited in the rain for the doors of the theatre to open.
It is easier to learn a language when you speak it with your neighbours.
The bridge was built of stone and wood more than four hundred years ago.
They found the lost dog sleeping under a bench in the railway station.""".split("\n")
VOICES = [("en-us", 150), ("en-gb", 160), ("en-gb-scotland", 145), ("en-us+f3", 155), ("en-gb+m7", 165)]
LEVELS = [("clean", None), ("20 dB", 20), ("10 dB", 10), ("5 dB", 5)]
RATE = 16000


def say(text, voice, speed, path):
    subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-g", "6", "-w", str(path), text], check=True)


def read_wave(path):
    with wave.open(str(path)) as w:
        x = np.frombuffer(w.readframes(w.getnframes()), np.int16).astype(np.float64) / 32768
        rate = w.getframerate()
    at = np.arange(int(len(x) * RATE / rate)) * rate / RATE
    return np.interp(at, np.arange(len(x)), x)


def write_wave(path, x):
    with wave.open(str(path), "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(RATE)
        w.writeframes((np.clip(x, -1, 1) * 32767).astype(np.int16).tobytes())


def pink(n, rng):
    f = np.fft.rfft(rng.standard_normal(n))
    f[1:] /= np.sqrt(np.arange(1, len(f)))
    f[0] = 0
    x = np.fft.irfft(f, n)
    return x / x.std()


def make_speech(work, minutes):
    """[(name, text, path)]: about `minutes` of speech, in files of one voice each."""
    work.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    made, seconds, k = [], 0, 0
    while seconds < 60 * minutes:
        voice, speed = VOICES[k % len(VOICES)]
        order = rng.permutation(len(SENTENCES))
        path, text = work / f"speech{k}.wav", [SENTENCES[i] for i in order]
        if not path.exists():
            parts = []
            for line in text:
                say(line, voice, speed, work / "one.wav")
                parts += [read_wave(work / "one.wav"), np.zeros(int(RATE * rng.uniform(0.2, 1.2)))]
            write_wave(path, 0.5 * np.concatenate(parts))
        else:
            for line in text:
                rng.uniform(0.2, 1.2)
        made.append((f"speech{k}", " ".join(text), path))
        seconds += len(read_wave(path)) / RATE
        k += 1
    return made, seconds


def with_noise(path, db, rng):
    out = path.with_name(f"{path.stem}-{db}.wav")
    if not out.exists():
        x = read_wave(path)
        loud = x[np.abs(x) > 0.01]
        noise = pink(len(x), rng) * loud.std() * 10 ** (-db / 20)
        write_wave(out, 0.7 * (x + noise))
    return out


SAME = {"three": "3", "seven": "7", "nine": "9", "thirty": "30", "two hundred": "200", "four hundred": "400",
        "harbor": "harbour", "traveler": "traveller", "neighbors": "neighbours", "theater": "theatre",
        "o clock": "", "a m": ""}


def words_of(text):
    """Two spellings of one word are one."""
    text = " " + " ".join(re.sub(r"[^a-z0-9 ]+", " ", text.lower()).split()) + " "
    for a, b in SAME.items():
        text = text.replace(f" {a} ", f" {b} ")
    return text.split()


def errors(truth, said):
    """Least number of insertions, deletions and substitutions."""
    row = np.arange(len(said) + 1)
    for i, t in enumerate(truth, 1):
        old, row = row, np.empty_like(row)
        row[0] = i
        for j, s in enumerate(said, 1):
            row[j] = min(old[j] + 1, row[j - 1] + 1, old[j - 1] + (t != s))
    return int(row[-1])


class Ours:
    def __init__(self, a, options=()):
        self.a, self.options = a, options
        self.name = " ".join(["sensorium", *options])

    def text(self, paths):
        run = subprocess.run([self.a.sensorium, "transcribe", "-m", self.a.model, "-t", str(a.threads), "-q", "-l", "en",
                              "-f", "json", "--temperature", "0", *self.options, *map(str, paths)], check=True,
                             capture_output=True, text=True)
        return [json.loads(line)["text"] for line in run.stdout.splitlines()]


class Theirs:
    name = "faster-whisper"

    def __init__(self, a, kind):
        from faster_whisper import WhisperModel
        self.name = f"faster-whisper {kind}"
        self.model = WhisperModel(a.ct2, device="cpu", compute_type=kind, cpu_threads=a.threads)

    def text(self, paths):
        return [" ".join(s.text for s in self.model.transcribe(
            str(p), language="en", beam_size=1, temperature=0)[0]) for p in paths]


def all_engines(a):
    return [Ours(a), Ours(a, ["--fast"])] + [Theirs(a, k) for k in a.kinds.split(",") if k]


def word_error_rates(a):
    speech, seconds = make_speech(a.work, a.minutes)
    n_words = sum(len(words_of(t)) for _, t, _ in speech)
    print(f"{seconds / 60:.1f} minutes of speech, {n_words} words")
    lines = ["| noise | engine | word error rate |", "| --- | --- | --- |"]
    engines = all_engines(a)
    for level, db in LEVELS:
        if a.levels and level not in a.levels.split(","):
            continue
        rng = np.random.default_rng(2)
        paths = [p if db is None else with_noise(p, db, rng) for _, _, p in speech]
        for e in engines:
            said = e.text(paths)
            (a.work / f"{level}-{e.name}.txt".replace(" ", "")).write_text("\n".join(said) + "\n")
            wrong = sum(errors(words_of(t), words_of(s)) for (_, t, _), s in zip(speech, said))
            lines.append(f"| {level} | {e.name} | {100 * wrong / n_words:.2f} % |")
            print(lines[-1], flush=True)
    page.write(a.out, "Word error rates", "transcribe.py wer", [
        f"whisper-base, {seconds / 60:.1f} minutes of speech by espeak-ng, {n_words} words, mixed with pink noise",
        f"faster-whisper {page.version('faster-whisper')}, CTranslate2 {page.version('ctranslate2')}; beam 1, "
        "temperature 0"], lines)


def times(a):
    speech, seconds = make_speech(a.work, a.minutes)
    paths = [p for _, _, p in speech]
    engines = all_engines(a)
    taken = {e.name: [] for e in engines}
    for _ in range(a.runs):
        for e in engines:
            begun = time.perf_counter()
            e.text(paths)
            taken[e.name].append(time.perf_counter() - begun)
    lines = ["|  | seconds | times real time | ratio |", "| --- | --- | --- | --- |"]
    base = statistics.median(taken[engines[-1].name])
    for name, t in taken.items():
        m = statistics.median(t)
        lines.append(f"| {name} | {m:.2f} | {seconds / m:.1f} | {base / m:.2f}x |")
    page.write(a.out, "Transcribing speech", "transcribe.py time", [
        f"whisper-base, {seconds / 60:.1f} minutes of speech by espeak-ng in {len(paths)} files",
        f"faster-whisper {page.version('faster-whisper')}, CTranslate2 {page.version('ctranslate2')}; beam 1, "
        "temperature 0; Sensorium's times include starting and loading",
        f"{a.threads} threads, medians of {a.runs} alternating runs; goal: 2x of int8"], lines)


p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("what", choices=["wer", "time"])
p.add_argument("--model", required=True)
p.add_argument("--ct2", required=True)
p.add_argument("--sensorium", default="build/sensorium")
p.add_argument("--work", type=pathlib.Path, required=True)
p.add_argument("--minutes", type=float, default=4)
p.add_argument("--threads", type=int, default=2)
p.add_argument("--runs", type=int, default=5)
p.add_argument("--out")
p.add_argument("--levels", help="of noise, with commas: clean, 20 dB, ... (all)")
p.add_argument("--kinds", default="int8", help="compute types of faster-whisper, with commas")
a = p.parse_args()
sys.exit({"wer": word_error_rates, "time": times}[a.what](a))
