"""A video through the tiny models that have a way of their own for it: Qwen2-VL and Qwen2.5-VL (pairs
of frames, positions in time) and Idefics3 as SmolVLM2 uses it (frames behind their times). The models are
those of the picture families; only golden/NAME-video/ is new."""

import numpy as np
import torch
from transformers import Qwen2VLVideoProcessor, SmolVLMProcessor, SmolVLMVideoProcessor
from transformers.video_utils import VideoMetadata

import make_media
import mm_idefics
import mm_qwen_vl
from mm_common import CLIP_MEAN, CLIP_STD, Family, Medium, fast_tokenizer, levels

FILE = "clip.mp4"
FACTOR = mm_qwen_vl.PATCH * mm_qwen_vl.MERGE
# the limits that Qwen2VLVideoProcessor has for patches of 14: as many tokens here
SIZE = {"shortest_edge": 128 * FACTOR ** 2, "longest_edge": 768 * FACTOR ** 2}


def metadata():
    n = make_media.N_FRAMES
    return VideoMetadata(total_num_frames=n, fps=make_media.FPS, duration=n / make_media.FPS)


class Video(Family):
    """One video in the place of the pictures."""
    base = None                # the family whose model it is
    sampling = {}              # the processor's arguments
    files = (FILE,)

    def __init__(self):
        self.name = f"{self.base.name}-video"
        self.arch, self.vocab, self.classes = self.base.arch, self.base.vocab, self.base.classes

    def config(self):
        return self.base.config()

    def draw(self, name, shape, cfg):
        return self.base.draw(name, shape, cfg)

    def write(self, cfg, weights, folder):
        return {"model": f"{self.base.name}.gguf", "mmproj": f"{self.base.name}.mmproj.gguf"}

    def inputs(self, processor, prompt):
        frames = torch.from_numpy(make_media.frames()).permute(0, 3, 1, 2)
        return processor(text=[prompt], videos=[frames], video_metadata=[metadata()], do_sample_frames=True,
                         return_tensors="pt", **self.sampling)

    def frames(self):
        """Numbers of those that are looked at."""
        return np.asarray(self.processor().video_processor.sample_frames(metadata(), **self.sampling)).tolist()

    def info(self, **more):
        frames = self.frames()
        times = [k / make_media.FPS for k in frames[::len(frames) // more["views"]]]  # of views
        return {"frames": frames, "seconds": make_media.N_FRAMES / make_media.FPS, "times": times, **more}


class QwenVideo(Video):
    marker = "<|vision_start|><|video_pad|><|vision_end|>"
    placeholder = "<|video_pad|>"
    template = "<|im_start|>user\n<media>{0} {1}<|im_end|>\n<|im_start|>assistant\n{2}"
    sampling = {"fps": 2}

    def config(self):
        cfg = super().config()
        if hasattr(cfg.vision_config, "tokens_per_second"):
            cfg.vision_config.tokens_per_second = 2  # as in the released models
        return cfg

    def processor(self):
        p = self.base.processor()
        p.video_processor = Qwen2VLVideoProcessor(patch_size=mm_qwen_vl.PATCH, merge_size=mm_qwen_vl.MERGE,
                                                  size=SIZE, cap_pixels_per_frame=True)
        return p

    def media(self, model, inputs):
        got = model.model.get_video_features(inputs["pixel_values_videos"], inputs["video_grid_thw"])
        thw = inputs["video_grid_thw"]
        t, h, w = thw[0].tolist()
        tokens = got.pooler_output[0]
        rows = model.model.visual(inputs["pixel_values_videos"], thw).last_hidden_state.reshape(t, h * w, -1)
        order = mm_qwen_vl.raster((h, w))
        by_token = torch.stack([self.base.by_token(r, torch.tensor([1, h, w])) for r in rows])
        assert torch.allclose(model.model.visual.merger(by_token.flatten(0, 1)), tokens, atol=1e-4)
        pixels = inputs["pixel_values_videos"].numpy()
        pixels = pixels.reshape(t, h * w, 3, 2, mm_qwen_vl.PATCH, mm_qwen_vl.PATCH)[:, order]
        pixels = pixels.reshape(t, h, w, 3, 2, mm_qwen_vl.PATCH, mm_qwen_vl.PATCH).transpose(0, 4, 3, 1, 5, 2, 6)
        pixels = pixels.reshape(2 * t, 3, h * mm_qwen_vl.PATCH, w * mm_qwen_vl.PATCH)
        step = inputs["second_per_grid_ts"] if "second_per_grid_ts" in inputs else [0]
        return [Medium(FILE, by_token[:, order].flatten(0, 1).numpy(), tokens.numpy(),
                       self.info(views=t, grid=[h, w], step=float(step[0])),
                       {"pixels": levels(pixels, CLIP_MEAN, CLIP_STD)})]

    def more(self, inputs, n):
        return self.base.more(inputs, n)

    def extra_info(self, model, inputs):
        kw = {}
        if "second_per_grid_ts" in inputs:
            kw["second_per_grid_ts"] = inputs["second_per_grid_ts"]
        p, _ = model.model.get_rope_index(inputs["input_ids"], inputs["mm_token_type_ids"],
                                          video_grid_thw=inputs["video_grid_thw"],
                                          attention_mask=inputs["attention_mask"], **kw)
        return {"positions": p[:, 0].tolist(), "next_position": int(p.max()) + 1}


class Qwen2VLVideo(QwenVideo):
    base = mm_qwen_vl.Qwen2VL()


class Qwen25VLVideo(QwenVideo):
    base = mm_qwen_vl.Qwen25VL()


class SmolVLMVideo(Video):
    base = mm_idefics.Idefics3()
    marker = "<video>"
    template = "<|im_start|>User: <media>{0} {1}<end_of_utterance>\nAssistant: {2}"
    sampling = {"num_frames": 64, "fps": 1}

    def processor(self):
        edge = {"longest_edge": mm_idefics.TILE}
        p = self.base.processor()
        return SmolVLMProcessor(p.image_processor, fast_tokenizer(self.vocab, "<|im_end|>"),
                                SmolVLMVideoProcessor(size=edge, max_image_size=edge),
                                image_seq_len=p.image_seq_len)

    def media(self, model, inputs):
        pixels = inputs["pixel_values"][0]
        side = mm_idefics.TILE // mm_idefics.PATCH
        got = model.model.get_image_features(pixels[None])
        return [Medium(FILE, got.last_hidden_state.flatten(0, 1).numpy(), np.concatenate(got.pooler_output),
                       self.info(views=len(pixels), grid=[side, side]),
                       {"pixels": levels(pixels.numpy(), mm_idefics.HALF, mm_idefics.HALF)})]


FAMILIES = [Qwen2VLVideo(), Qwen25VLVideo(), SmolVLMVideo()]
