"""Idefics3 as SmolVLM has it: tiles and an overview, SigLIP, pixel shuffle, one matrix, a Llama."""

import numpy as np
from transformers import Idefics3Config, Idefics3ImageProcessor, Idefics3Processor, LlamaConfig

from mm_common import Family, Medium, fast_tokenizer, levels, with_added
from mm_llava import vit_keys, vit_tensors
from tiny_vocab import NORMAL, bpe_vocab
from tiny_zoo import rope

TILE, PATCH, SCALE, EDGE = 24, 4, 2, 72
HALF = (0.5, 0.5, 0.5)
ADDED = ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>",
         *(f"<row_{r}_col_{c}>" for r in (1, 2, 3) for c in (1, 2, 3))]


def smolvlm_vocab():
    """With the token of two newlines, which stand before the overview."""
    keys = bpe_vocab(280, "smollm", "<|im_start|>", "<|im_end|>", False,
                     ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], True)
    newline = "\u010a"
    keys["tokenizer.ggml.tokens"] = [*keys["tokenizer.ggml.tokens"], newline * 2]
    keys["tokenizer.ggml.token_type"] = [*keys["tokenizer.ggml.token_type"], NORMAL]
    keys["tokenizer.ggml.merges"] = [*keys["tokenizer.ggml.merges"], f"{newline} {newline}"]
    return with_added(keys, ADDED)


class Idefics3(Family):
    name, arch = "idefics3", "llama"
    classes = ("Idefics3ForConditionalGeneration",)
    vocab = smolvlm_vocab()
    template = "<|im_start|>User:<media>{0}<media>{1}<end_of_utterance>\nAssistant: {2}"

    def config(self):
        tokens = self.vocab["tokenizer.ggml.tokens"]
        return Idefics3Config(
            vision_config=dict(hidden_size=48, intermediate_size=96, num_hidden_layers=2,
                               num_attention_heads=3, image_size=TILE, patch_size=PATCH,
                               hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6),
            text_config=LlamaConfig(
                vocab_size=len(tokens), max_position_embeddings=512, hidden_size=48, intermediate_size=64,
                num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2, head_dim=16,
                rms_norm_eps=1e-5, tie_word_embeddings=True, rope_parameters=rope(100000.0)),
            scale_factor=SCALE, image_token_id=tokens.index("<image>"), tie_word_embeddings=True,
            pad_token_id=tokens.index("<|im_end|>"))

    def processor(self):
        return Idefics3Processor(
            Idefics3ImageProcessor(size={"longest_edge": EDGE}, max_image_size={"longest_edge": TILE},
                                   return_row_col_info=True),
            fast_tokenizer(self.vocab, "<|im_end|>"), image_seq_len=(TILE // PATCH // SCALE) ** 2)

    def inputs(self, processor, prompt):
        out = super().inputs(processor, prompt)
        assert len(processor.tokenizer) == len(self.vocab["tokenizer.ggml.tokens"])  # none was added
        return out

    def tower(self, cfg, weights):
        keys = vit_keys(cfg.vision_config, cfg.text_config.hidden_size, "idefics3", HALF, HALF,
                        cfg.vision_config.layer_norm_eps)
        keys.update({"use_gelu": True, "vision.projector.scale_factor": SCALE,
                     "vision.preproc_image_size": EDGE})
        tensors = vit_tensors(weights, "model.vision_model.")
        tensors["mm.model.fc.weight"] = weights["model.connector.modality_projection.proj.weight"]
        return keys, tensors

    def media(self, model, inputs):
        pixels, mask = inputs["pixel_values"][0], inputs["pixel_attention_mask"][0]
        assert mask.all()
        out, first = [], 0
        for file, (rows, cols) in zip(self.files, ((2, 3), (3, 2)), strict=True):
            views = pixels[first:first + rows * cols + 1]
            first += len(views)
            got = model.model.get_image_features(views[None])
            encoder = got.last_hidden_state.flatten(0, 1)
            out.append(Medium(file, encoder.numpy(), np.concatenate(got.pooler_output),
                              {"views": len(views), "rows": rows, "cols": cols},
                              {"pixels": levels(views.numpy(), HALF, HALF)}))
        assert first == len(pixels)
        return out


FAMILIES = [Idefics3()]
