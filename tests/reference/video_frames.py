#!/usr/bin/env python3
"""Which frames of a video the processors of transformers choose, for many lengths and rates; prints what
tests/pipeline/frames.txt holds: the family, frames and rate of the video, what was asked for ("-": nothing,
"fps 3", "frames 6"), how many frames, the first, the last, their sum."""

import numpy as np
from transformers import LlavaOnevisionVideoProcessor, Qwen2VLVideoProcessor, SmolVLMVideoProcessor
from transformers.video_utils import VideoMetadata

VIDEOS = ((2, 30), (3, 10), (7, 2), (16, 5), (90, 30), (301, 29.97), (719, 23.976), (1800, 30), (5000, 25),
          (40000, 24), (200000, 60))
QWEN, SMOL = Qwen2VLVideoProcessor(), SmolVLMVideoProcessor(num_frames=64, fps=1)
PLAIN = LlavaOnevisionVideoProcessor()


def chosen(family, meta, asked):
    kind, value = asked
    if family == "pairs":
        return QWEN.sample_frames(meta, **({"num_frames": value} if kind == "frames" else
                                           {"fps": value if kind == "fps" else 2}))
    if family == "told":
        return SMOL.sample_frames(meta, num_frames=64, fps=value if kind == "fps" else 1)
    n = {"frames": value, "-": 8}[kind]
    return PLAIN.sample_frames(meta, num_frames=min(n, meta.total_num_frames))


def main():
    for family, asks in (("pairs", (("-", 0), ("fps", 1), ("frames", 6))), ("told", (("-", 0), ("fps", 0.5))),
                         ("pictures", (("-", 0), ("frames", 5)))):
        for total, fps in VIDEOS:
            meta = VideoMetadata(total_num_frames=total, fps=fps, duration=total / fps)
            for asked in asks:
                if asked[0] == "fps" and asked[1] > fps or asked[0] == "frames" and asked[1] > total:
                    continue
                at = np.asarray(chosen(family, meta, asked))
                if asked[0] == "fps" and len(at) == {"pairs": 768, "told": 64}[family]:
                    continue  # refused here, since not as asked
                print(family, total, f"{fps:g}", *asked, len(at), at[0], at[-1], int(at.sum(dtype=np.int64)))


if __name__ == "__main__":
    main()
