"""Whisper: an encoder of 30 s windows and a decoder with cross-attention, in one file (there is no
form of it in GGUF that others use; names are those of model/whisper_file.h)."""

import math

import numpy as np
import torch
from scipy.io import wavfile
from transformers import (SuppressTokensAtBeginLogitsProcessor, SuppressTokensLogitsProcessor,
                          WhisperConfig, WhisperFeatureExtractor, WhisperTimeStampLogitsProcessor)

import mm_common
from golden_files import write_json
from mm_common import HERE, draw_tower
from tiny_models import exact, random_state
from tiny_vocab import bpe_vocab

LANGUAGES = ("en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no "
             "th ur hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw "
             "gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl "
             "mg as tt haw ln ha ba jw su").split()
SPECIALS = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{c}|>" for c in LANGUAGES),
            *(f"<|{w}|>" for w in ("translate", "transcribe", "startoflm", "startofprev", "nospeech",
                                   "notimestamps")),
            *(f"<|{i / 50:.2f}|>" for i in range(1501))]
N_TEXT = 275
N_RULED = 40
MEL_KEPT = 240      # columns; the sound ends at 230
STACK = {           # name within a layer of WhisperEncoder, GGUF's within a block
    "self_attn_layer_norm": "ln1", "final_layer_norm": "ln2", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.out_proj": "attn_out",
    "fc1": "ffn_up", "fc2": "ffn_down",
}
DECODER = {
    "self_attn_layer_norm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.out_proj": "attn_output", "encoder_attn_layer_norm": "cross_norm",
    "encoder_attn.q_proj": "cross_q", "encoder_attn.k_proj": "cross_k", "encoder_attn.v_proj": "cross_v",
    "encoder_attn.out_proj": "cross_output", "final_layer_norm": "ffn_norm", "fc1": "ffn_up",
    "fc2": "ffn_down",
}


def sound(file="tones.wav"):
    """float32 samples in [-1, 1] at 16 kHz."""
    rate, x = wavfile.read(HERE / "media" / file)
    assert rate == 16000 and x.dtype == np.int16 and x.ndim == 1
    return (x / 32768).astype(np.float32)


def encoder_tensors(weights, prefix):
    """GGUF name -> array of a Whisper encoder, as in mmproj files: biases of convolutions are
    columns there."""
    out = {}
    for name, w in weights.items():
        if not name.startswith(prefix):
            continue
        name = name.removeprefix(prefix)
        stem, kind = name.rsplit(".", 1)
        if stem in ("conv1", "conv2"):
            out[f"a.conv1d.{stem[-1]}.{kind}"] = w[:, None] if kind == "bias" else w
        elif stem == "embed_positions":
            out["a.position_embd.weight"] = w
        elif stem == "layer_norm":
            out[f"a.post_ln.{kind}"] = w
        else:
            _, number, rest = stem.split(".", 2)
            out[f"a.blk.{number}.{STACK[rest]}.{kind}"] = w
    return out


def decoder_tensors(weights, prefix):
    top = {"embed_tokens": "d.token_embd", "embed_positions": "d.position_embd", "layer_norm": "d.output_norm"}
    out = {}
    for name, w in weights.items():
        if name.startswith(prefix):
            stem, kind = name.removeprefix(prefix).rsplit(".", 1)
            if stem in top:
                out[f"{top[stem]}.{kind}"] = w
            else:
                _, number, rest = stem.split(".", 2)
                out[f"d.blk.{number}.{DECODER[rest]}.{kind}"] = w
    return out


class Whisper(mm_common.Family):
    name = arch = "whisper"
    classes = ("WhisperForConditionalGeneration",)
    vocab = bpe_vocab(N_TEXT + len(SPECIALS), "gpt-2", "<|endoftext|>", "<|endoftext|>", False, SPECIALS)

    def config(self):
        tokens = self.vocab["tokenizer.ggml.tokens"]
        return WhisperConfig(
            vocab_size=len(tokens), num_mel_bins=80, d_model=32, encoder_layers=2, decoder_layers=2,
            encoder_attention_heads=2, decoder_attention_heads=4, encoder_ffn_dim=96, decoder_ffn_dim=64,
            max_source_positions=1500, max_target_positions=448,
            decoder_start_token_id=tokens.index("<|startoftranscript|>"), suppress_tokens=None,
            begin_suppress_tokens=None, **{f"{k}_token_id": tokens.index("<|endoftext|>")
                                           for k in ("pad", "bos", "eos")})

    def draw(self, name, shape, cfg):
        if name in ("model.decoder.embed_tokens.weight", "proj_out.weight"):
            n = random_state(self.name, "model.decoder.embed_tokens.weight").standard_normal(shape)
            return exact(n * 2 / math.sqrt(shape[-1]))
        if name == "model.decoder.embed_positions.weight":  # so that texts do not repeat themselves
            return exact(3 * random_state(self.name, name).standard_normal(shape))
        if name.startswith("model.decoder.") and name.endswith("bias"):
            return exact(0.1 * random_state(self.name, name).standard_normal(shape))
        return draw_tower(self.name, name, shape)

    def write(self, cfg, weights, path):
        keys = {"block_count": cfg.decoder_layers, "embedding_length": cfg.d_model,
                "feed_forward_length": cfg.decoder_ffn_dim,
                "attention.head_count": cfg.decoder_attention_heads, "attention.layer_norm_epsilon": 1e-5,
                "context_length": cfg.max_target_positions, "vocab_size": cfg.vocab_size,
                "audio.block_count": cfg.encoder_layers, "audio.embedding_length": cfg.d_model,
                "audio.feed_forward_length": cfg.encoder_ffn_dim,
                "audio.attention.head_count": cfg.encoder_attention_heads,
                "audio.attention.layer_norm_epsilon": 1e-5, "audio.num_mel_bins": cfg.num_mel_bins,
                "audio.context_length": cfg.max_source_positions}

        def put_values(writer):
            mm_common.put_general(writer, {"type": "model", "name": self.name, "file_type": 0,
                                           "quantization_version": 2})
            for key, v in keys.items():
                mm_common.gguf_files.put(writer, f"whisper.{key}", v)
            for key, v in self.vocab.items():
                mm_common.gguf_files.put(writer, key, v)

        mm_common.put_f32(path, "whisper", put_values, {**encoder_tensors(weights, "model.encoder."),
                                                        **decoder_tensors(weights, "model.decoder.")})

    def rules(self, model, stamps):
        """transformers' versions of OpenAI's rules, in its order."""
        tokens = self.vocab["tokenizer.ggml.tokens"]
        g = model.generation_config
        g.no_timestamps_token_id = tokens.index("<|notimestamps|>")
        g.max_initial_timestamp_index = 50
        eot, first_time = tokens.index("<|endoftext|>"), len(tokens) - 1501
        begin = 3 if stamps else 4
        never = range(eot + 1, first_time if stamps else len(tokens))
        out = [SuppressTokensLogitsProcessor(list(never)),
               SuppressTokensAtBeginLogitsProcessor([tokens.index("\u0120"), eot], begin)]
        return out + ([WhisperTimeStampLogitsProcessor(g, begin_index=begin)] if stamps else [])

    @torch.no_grad()
    def make(self, top):
        golden = top / "golden" / self.name
        for folder in (top / "models", golden):
            folder.mkdir(parents=True, exist_ok=True)
        model, cfg, weights = mm_common.build(self)
        self.write(cfg, weights, top / "models" / f"{self.name}.gguf")
        extractor = WhisperFeatureExtractor(feature_size=80)
        mel = extractor(sound(), sampling_rate=16000, return_tensors="pt")["input_features"]
        rest = mel[0, :, MEL_KEPT:]
        assert float(rest.max()) == float(rest.min())  # silence, at the floor
        encoder = model.model.encoder(mel).last_hidden_state
        tokens = self.vocab["tokenizer.ggml.tokens"]
        begin = [tokens.index(t) for t in ("<|startoftranscript|>", "<|en|>", "<|transcribe|>",
                                           "<|notimestamps|>")]
        forced = [*begin, *(int(i) for i in random_state(self.name, "text").choice(N_TEXT, 9))]
        full = self.logits(model, mel, forced)
        noise = self.noise(model, mel, forced, full)
        info = {"family": self.name, "model": "whisper.gguf", "text": "",
                "processor": {"class": "WhisperFeatureExtractor", "n_mels": 80,
                              "rest_of_mel": round(float(rest.max()), 7)},
                "media": [{"file": "tones.wav", "frames": 3000, "encoder": [0, 1500]}],
                "tokens": forced, "last": len(forced), "std": round(float(full.std()), 4),
                "tolerance": self.tolerance, **self.continuations(model, mel, begin)}
        write_json(golden / "prompt.json", info)
        arrays = {"mel_0": mel[0, :, :MEL_KEPT].numpy(), "encoder": encoder[0].numpy(), "logits": full}
        for name, a in arrays.items():
            np.save(golden / f"{name}.npy", np.ascontiguousarray(a))
        mm_common.report(self, arrays, forced, full, noise)

    def logits(self, model, mel, ids):
        return model(mel, decoder_input_ids=torch.tensor([ids])).logits[0].numpy()

    def noise(self, model, mel, ids, full):
        model.to(torch.float64)
        out = np.abs(self.logits(model, mel.double(), ids) - full).max() / full.std()
        model.to(torch.float32)
        return out

    def continuations(self, model, mel, begin):
        """`greedy`: the best token each time after `begin`, no rule at all. `timestamps`: by the rules,
        after `begin` without its last. `plain`: after `begin`, no times. Rules: all special tokens are
        forbidden but the end (and the times, or not); neither a blank nor the end at first; the
        grammar of times, the first of which is at most 1 s."""
        greedy, gaps = [], []
        for _ in range(mm_common.N_GREEDY):
            last = self.logits(model, mel, [*begin, *greedy])[-1]
            second, first = np.sort(last)[-2:]
            gaps.append(round(float(first - second), 5))
            greedy.append(int(last.argmax()))
        return {"begin": begin, "greedy": greedy, "gaps": gaps,
                "timestamps": self.by_the_rules(model, mel, begin[:3], True),
                "plain": self.by_the_rules(model, mel, begin, False)}

    def by_the_rules(self, model, mel, begin, stamps):
        rules, ids = self.rules(model, stamps), list(begin)
        while len(ids) < len(begin) + N_RULED and (len(ids) == len(begin) or
                                                   ids[-1] != model.config.eos_token_id):
            scores = torch.from_numpy(self.logits(model, mel, ids)[-1:])
            for rule in rules:
                scores = rule(torch.tensor([ids]), scores)
            ids.append(int(scores.argmax()))
        return ids[len(begin):]


FAMILIES = [Whisper()]
