#!/usr/bin/env python3
"""Picture files through the program, stage by stage, against transformers: `encode` (pixels, encoder,
projector), `logits` and `generate` with --image and <__media__>; `ask`; and what is refused. Prints a
line for each family."""

import json
import pathlib
import sys

try:
    import numpy as np
except ImportError:
    print("skip: numpy is missing")
    sys.exit(77)

# at the end: a file there is called inspect.py, as a module that NumPy imports
sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from golden import GOLDEN, MODELS, decode_family  # noqa: E402
from program import HERE, TINY, check, main, run, status  # noqa: E402

MEDIA = HERE.parent / "reference" / "media"
SEEN = ".png"


def families():
    """Those whose media are all pictures."""
    for path in sorted(GOLDEN.glob("*/prompt.json")):
        info = json.loads(path.read_text(encoding="utf-8"))
        media = info.get("media", [])
        if path.parent.name != "whisper" and media and all(m["file"].endswith(SEEN) for m in media):
            yield path.parent.name, info


def tower(info):
    """The file that sees: the model's own, where there is no other."""
    return MODELS / info.get("mmproj", info.get("model"))


def pictures(info):
    return [a for m in info["media"] for a in ("--image", MEDIA / m["file"])]


def cosine(a, b):
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def levels(pixels, info):
    mean, std = (np.array(info["processor"][n]).reshape(3, 1, 1) for n in ("image_mean", "image_std"))
    return (pixels * std + mean) * 255


def estimate(tmp):
    """As many tokens as rows come, without running anything; and a status when they do not fit."""
    seeing = [(name, info) for name, info in families() if "model" in info]
    for name, info in seeing:
        files = pictures(info)
        rows = 0
        for i in range(len(info["media"])):
            rows += len(stage(name, info, i, "projector", tmp / "rows.npy"))
        done = run("estimate", "-m", tower(info), *files, "--json")
        status(done, 0, f"{name}: estimate")
        plan = json.loads(done.stdout)
        what = "tokens" if "mmproj" in info else "memory_rows"
        check(plan[what] == rows == sum(p[what] for p in plan["pictures"]),
              f"{name}: {plan[what]} {what} estimated, {rows} rows")
        check(("mmproj" in info) == ("memory_rows" not in plan) == ("context" not in plan), f"{name}: {plan}")
    name, info = seeing[0]
    many = [a for _ in range(400) for a in pictures(info)]
    done = run("estimate", "-m", MODELS / info["model"], "--mmproj", MODELS / info["mmproj"], *many)
    status(done, 1, f"{name}: estimate of 800 pictures")
    check(b"the context is" in done.stderr, f"{name}: {done.stderr}")


def stage(name, info, i, what, out):
    medium = info["media"][i]
    done = run("encode", "-m", tower(info), "--image", MEDIA / medium["file"], "--stage", what,
               "-o", out)
    status(done, 0, f"{name}: encode --stage {what}")
    if done.returncode:
        return None
    return np.load(out).astype(np.float64)


def encode(tmp):
    """Pixels within one grey level, rows within an angle of cosine 0.99999."""
    for name, info in families():
        worst = {"pixels": 0.0, "encoder": 0.0, "projector": 0.0}
        for i, medium in enumerate(info["media"]):
            for what in worst:
                if what not in medium and what != "pixels":
                    continue
                got = stage(name, info, i, what, tmp / "stage.npy")
                if got is None:
                    continue
                if what == "pixels":
                    truth = np.load(GOLDEN / name / f"pixels_{i}.npy").astype(np.float64)
                    # what is over whole patches no encoder looks at
                    truth = truth[..., :got.shape[-2], :got.shape[-1]]
                    same = got.shape == truth.shape
                    error = np.abs(levels(got, info) - truth).max() if same else np.inf
                else:
                    first, n = medium[what]
                    truth = np.load(GOLDEN / name / f"{what}.npy").astype(np.float64)[first:first + n]
                    error = 1 - cosine(got, truth) if got.shape == truth.shape else np.inf
                worst[what] = max(worst[what], error)
        check(worst["pixels"] <= 1, f"{name}: pixels differ by {worst['pixels']} levels")
        for what in ("encoder", "projector"):
            check(worst[what] <= 1e-5, f"{name}: {what} is off by 1 - cosine {worst[what]:.1e}")
        print(f"{name:12} pixels {worst['pixels']:.2f} levels, encoder {worst['encoder']:.1e}, "
              f"projector {worst['projector']:.1e}")


def decode(tmp):
    for name, info in families():
        if "model" in info:
            decode_family(name, info, [*pictures(info)], tmp / "logits.npy")


def ask(_):
    """The model's own template or another: the answer is what the same prompt gives by hand."""
    model, picture = MODELS / "idefics3.gguf", MEDIA / "wide.png"
    done = status(run("ask", "-m", model, "--template", "chatml", "--image", picture, "--temperature", 0,
                      "-n", 4, "--ids", "What <image> is <__media__> this?"), 0, "ask")
    check(len(done.stdout.split()) == 4, f"ask: {done.stdout!r}")
    report = status(run("ask", "-m", model, "--template", "chatml", "--image", picture, "-n", 1, "-v", "a"),
                    0, "ask -v").stderr.decode()
    check("views" in report and "tokens" in report, f"ask -v says {report!r}")


def look(tmp):
    """A model whose pictures do not stand in its prompt: it sees with its own file, also in a chat, and goes
    without where there is nothing to look at."""
    model, files = MODELS / "mllama.gguf", ("--image", MEDIA / "wide.png", "--image", MEDIA / "tall.png")
    ask = ("ask", "-m", model, "--template", "llama3", "--temperature", 0, "-n", 6, "--ids", "the lazy")
    plain = status(run(*ask), 0, "ask without a picture").stdout
    one = status(run(*ask, *files[:2]), 0, "ask with a picture").stdout
    two = status(run(*ask, *files), 0, "ask with two").stdout
    check(len({plain, one, two}) == 3, f"pictures change nothing: {plain!r} {one!r} {two!r}")
    same = status(run(*ask, *files, "--mmproj", model), 0, "ask with itself as --mmproj").stdout
    check(same == two, f"--mmproj: {same!r}, not {two!r}")
    report = status(run(*ask, *files, "-v"), 0, "ask -v").stderr.decode()
    check(report.count("68 rows to look at") == 2, f"ask -v says {report!r}")
    small = status(run(*ask, *files, "-v", "--image-tokens", 17), 0, "one tile each").stderr.decode()
    check(small.count("1 views, 68 rows") == 2, f"--image-tokens 17: {small!r}")
    plan = status(run("estimate", "-m", model, *files), 0, "estimate").stdout.decode()
    check("68 rows to look at" in plan and "2 tokens of a context of 512" in plan, f"estimate says {plan!r}")
    # where the text has no marker, pictures come first, and the beginning token after them
    first, marked = tmp / "first.npy", tmp / "marked.npy"
    status(run("logits", "-m", model, *files, "-p", "the lazy", "-o", first), 0, "pictures first")
    status(run("logits", "-m", model, *files, "-p", "<__media__><__media__>the lazy", "-o", marked), 0, "marked")
    check((np.load(first) == np.load(marked)).all(), "pictures without marker do not come first")


def refusals(tmp):
    llava, qwen = MODELS / "llava.gguf", MODELS / "qwen2vl.mmproj.gguf"
    picture = MEDIA / "wide.png"
    text = tmp / "text.png"
    text.write_text("not a picture")
    cases = (
        (("ask", "-m", TINY, "--image", picture, "a"), "mmproj"),
        (("ask", "-m", llava, "--image", tmp / "none.png", "a"), "none.png"),
        (("ask", "-m", llava, "--image", text, "a"), "text.png"),
        (("ask", "-m", llava, "--mmproj", TINY, "--image", picture, "a"), "vision"),
        (("logits", "-m", TINY, "--mmproj", MODELS / "dinov2.mmproj.gguf", "--image", picture, "-p", "a",
          "-o", tmp / "x.npy"), "dinov2"),
        (("logits", "-m", TINY, "--mmproj", qwen, "--image", picture, "-p", "a", "-o", tmp / "x.npy"),
         "another model"),
        (("logits", "-m", llava, "--image", picture, "-p", "<__media__> <__media__>", "-o", tmp / "x.npy"),
         "2 media markers"),
        (("ask", "-m", llava, "--mmproj", MODELS / "mllama.gguf", "--image", picture, "a"), "no cross-attention"),
        (("ask", "-m", MODELS / "mllama.gguf", "--image", picture, "--image-tokens", 16, "a"), "16"),
        (("encode", "-m", MODELS / "dinov2.mmproj.gguf", "--image", picture, "--stage", "projector", "-o",
          tmp / "x.npy"), "projector"),
    )
    for args, word in cases:
        done = status(run(*args), 1, f"{args[0]} {word}")
        check(word in done.stderr.decode(), f"{word!r} is not in {done.stderr.decode()!r}")
    check(not pathlib.Path(tmp / "x.npy").exists(), "an output in spite of an error")
    for args in (("ask", "-m", llava), ("encode", "-m", qwen, "-o", "x"), ("encode", "-m", qwen, "--image",
                 picture, "--stage", "soul", "-o", "x"), ("generate", "-m", llava, "--tokens", "1", "--image",
                 picture), ("encode", "-m", qwen, "--image", picture)):
        status(run(*args), 2, f"{args}")


main((encode, estimate, decode, ask, look, refusals))
