"""What the tests of pictures, sounds and videos share: a golden file's prompt through the program."""

import numpy as np
from program import HERE, check, run, status

GOLDEN = HERE.parent / "reference" / "golden"
MODELS = HERE.parent / "reference" / "models"


def decode_family(name, info, media, out):
    """Last logits and greedy continuation of the prompt in prompt.json, with these options for its media."""
    args = ["-m", MODELS / info["model"], *media, "-p", info["text"].replace("<media>", "<__media__>")]
    if status(run("logits", *args, "--last", info["last"], "-o", out), 0, f"{name}: logits").returncode:
        return
    error = np.abs(np.load(out) - np.load(GOLDEN / name / "logits.npy")).max() / info["std"]
    check(error <= info["tolerance"], f"{name}: logits are {error:.1e} standard deviations off")
    n = len(info["greedy"])
    done = status(run("generate", "--raw", "--ids", "--temperature", 0, "-n", n, *args), 0, f"{name}: generate")
    ids = [int(x) for x in done.stdout.split()]
    sure = [g > 4 * info["tolerance"] * info["std"] for g in info["gaps"]]
    until = sure.index(False) if False in sure else n
    check(ids[:until] == info["greedy"][:until], f"{name}: goes on with {ids}")
    print(f"{name:14} logits {error:.1e} std")
