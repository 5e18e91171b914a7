"""Sound for language models: Qwen2-Audio, and Ultravox, which transformers has no class for: what its
own code does with transformers' WhisperEncoder is written down here.

Ultravox, by its published source: the encoder runs on the frames that the sound fills (not on 30 s),
the positions are cut to them; 8 rows side by side, the last group filled with zeros; norm, matrix,
SwiGLU with the second half as its gate, norm, matrix. One thing differs: the frames are those of
the sound followed by silence (the first columns of the 30 s window); its own processor mirrors the
sound at its end, which changes the last frame."""

import types

import numpy as np
import torch
from torch import nn
from transformers import (LlamaConfig, LlamaForCausalLM, Qwen2AudioConfig, Qwen2AudioProcessor,
                          VoxtralConfig, WhisperConfig, WhisperFeatureExtractor)
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from mm_common import Family, Medium, fast_tokenizer, with_added
from mm_whisper import MEL_KEPT, encoder_tensors, sound
from tiny_zoo import llama3_vocab, mistral_vocab, qwen_vocab, rope

FRAMES = 230    # of tones.wav
STACK = 8


def audio_keys(audio, text_width, projector):
    return {"has_audio_encoder": True, "projector_type": projector,
            "audio.num_mel_bins": audio.num_mel_bins, "audio.embedding_length": audio.d_model,
            "audio.feed_forward_length": audio.encoder_ffn_dim, "audio.block_count": audio.encoder_layers,
            "audio.attention.head_count": audio.encoder_attention_heads,
            "audio.projection_dim": text_width, "audio.attention.layer_norm_epsilon": 1e-5}


def rest_of_mel(mel):
    """The value of all columns that are not kept."""
    rest = mel[:, MEL_KEPT:]
    assert float(rest.max()) == float(rest.min())
    return round(float(rest.max()), 7)


class Sound(Family):
    files = ("tones.wav",)
    audio = dict(d_model=32, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=96,
                 max_source_positions=1500)

    def settings(self, processor):
        return {"class": "WhisperFeatureExtractor", "n_mels": processor.feature_extractor.feature_size}


class Qwen2Audio(Sound):
    name, arch = "qwen2audio", "qwen2"
    classes = ("Qwen2AudioForConditionalGeneration",)
    vocab = with_added(qwen_vocab(), ["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"])
    marker, placeholder = "<|audio_bos|><|AUDIO|><|audio_eos|>", "<|AUDIO|>"
    template = "<|im_start|>user\nAudio 1: <media>\n{0} {1}<|im_end|>\n<|im_start|>assistant\n{2}"

    def config(self):
        return Qwen2AudioConfig(
            audio_config=dict(num_mel_bins=128, **self.audio),
            text_config=dict(
                model_type="qwen2", vocab_size=len(self.vocab["tokenizer.ggml.tokens"]),
                max_position_embeddings=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-6, use_sliding_window=False,
                tie_word_embeddings=False, rope_parameters=rope(10000.0)),
            audio_token_index=self.vocab["tokenizer.ggml.tokens"].index("<|AUDIO|>"))

    def processor(self):
        return Qwen2AudioProcessor(WhisperFeatureExtractor(feature_size=128),
                                   fast_tokenizer(self.vocab, "<|endoftext|>"))

    def inputs(self, processor, prompt):
        return processor(text=[prompt], audio=[sound()], sampling_rate=16000, return_tensors="pt")

    def tower(self, cfg, weights):
        tensors = encoder_tensors(weights, "model.audio_tower.")
        for kind in ("weight", "bias"):
            tensors[f"mm.a.fc.{kind}"] = weights[f"model.multi_modal_projector.linear.{kind}"]
        return audio_keys(cfg.audio_config, cfg.text_config.hidden_size, "qwen2a"), tensors

    def media(self, model, inputs):
        caught = []
        hook = model.model.audio_tower.register_forward_hook(
            lambda m, args, out: caught.append(out.last_hidden_state))
        model(**inputs, use_cache=False)
        hook.remove()
        mel = inputs["input_features"][0]
        assert int(inputs["feature_attention_mask"].sum()) == FRAMES
        n = int((inputs["input_ids"] == model.config.audio_token_id).sum())
        encoder = caught[0][0, :n]
        projected = model.model.multi_modal_projector(encoder)
        return [Medium("tones.wav", encoder.numpy(), projected.numpy(),
                       {"frames": FRAMES, "rest_of_mel": rest_of_mel(mel)},
                       {"mel": mel[:, :MEL_KEPT].numpy()})]


class UltravoxProjector(nn.Module):
    def __init__(self, width, hidden, text_width):
        super().__init__()
        self.ln_pre = LlamaRMSNorm(width * STACK, eps=1e-6)
        self.linear_1 = nn.Linear(width * STACK, hidden, bias=False)
        self.ln_mid = LlamaRMSNorm(hidden // 2, eps=1e-6)
        self.linear_2 = nn.Linear(hidden // 2, text_width, bias=False)

    def forward(self, x):
        x = nn.functional.pad(x, (0, 0, 0, -x.shape[1] % STACK))
        x = x.reshape(x.shape[0], -1, x.shape[2] * STACK)
        value, gate = self.linear_1(self.ln_pre(x)).chunk(2, dim=-1)
        return self.linear_2(self.ln_mid(nn.functional.silu(gate) * value))


class UltravoxModel(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.audio_tower = WhisperEncoder(cfg.audio_config)
        self.multi_modal_projector = UltravoxProjector(cfg.audio_config.d_model, 64,
                                                       cfg.text_config.hidden_size)
        self.language_model = LlamaForCausalLM(cfg.text_config)
        for m in (self.audio_tower, self.language_model):
            m.set_attn_implementation("eager")
        self.audio_token_id = cfg.audio_token_id

    def encode(self, mel):
        t = self.audio_tower
        x = nn.functional.gelu(t.conv2(nn.functional.gelu(t.conv1(mel)))).transpose(1, 2)
        x = x + t.embed_positions.weight[:x.shape[1]]
        for layer in t.layers:
            out = layer(x, None)
            x = out[0] if isinstance(out, tuple) else out
        return t.layer_norm(x)

    def forward(self, input_ids, mel, attention_mask=None, use_cache=False):
        x = self.language_model.model.embed_tokens(input_ids)
        rows = self.multi_modal_projector(self.encode(mel))[0]
        x = x.masked_scatter((input_ids == self.audio_token_id)[..., None], rows)
        return self.language_model(inputs_embeds=x, use_cache=use_cache)


class Ultravox(Sound):
    name, arch = "ultravox", "llama"
    vocab = with_added(llama3_vocab(), ["<|start_header_id|>", "<|end_header_id|>", "<|audio|>"])
    marker = placeholder = "<|audio|>"
    template = ("<|start_header_id|>user<|end_header_id|>\n\n{0} <media> {1}<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n{2}")

    def config(self):
        tokens = self.vocab["tokenizer.ggml.tokens"]
        text = LlamaConfig(
            vocab_size=len(tokens), max_position_embeddings=512, hidden_size=32, intermediate_size=96,
            num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=1, head_dim=16,
            tie_word_embeddings=True, rms_norm_eps=1e-5,
            rope_parameters=rope(10000.0, "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                 original_max_position_embeddings=32))
        return types.SimpleNamespace(
            text_config=text, audio_config=WhisperConfig(num_mel_bins=80, **self.audio),
            get_text_config=lambda: text, audio_token_id=tokens.index("<|audio|>"))

    def new_model(self, cfg):
        return UltravoxModel(cfg)

    def processor(self):
        return types.SimpleNamespace(feature_extractor=WhisperFeatureExtractor(feature_size=80),
                                     tokenizer=fast_tokenizer(self.vocab, "<|end_of_text|>"))

    def inputs(self, processor, prompt):
        mel = processor.feature_extractor(sound(), sampling_rate=16000, return_tensors="pt")["input_features"]
        n = -(-(-(-FRAMES // 2)) // STACK)
        rest_of_mel(mel[0])
        ids = processor.tokenizer(prompt.replace("<|audio|>", "<|audio|>" * n), return_tensors="pt")
        return {"input_ids": ids["input_ids"], "mel": mel[:, :, :FRAMES]}

    def tower(self, cfg, weights):
        tensors = encoder_tensors(weights, "audio_tower.")
        for ours, theirs in (("norm_pre", "ln_pre"), ("mlp.1", "linear_1"), ("norm_mid", "ln_mid"),
                             ("mlp.2", "linear_2")):
            tensors[f"mm.a.{ours}.weight"] = weights[f"multi_modal_projector.{theirs}.weight"]
        return {**audio_keys(cfg.audio_config, cfg.text_config.hidden_size, "ultravox"),
                "audio.projector.stack_factor": STACK}, tensors

    def media(self, model, inputs):
        encoder = model.encode(inputs["mel"])
        return [Medium("tones.wav", encoder[0].numpy(), model.multi_modal_projector(encoder)[0].numpy(),
                       {"frames": FRAMES}, {"mel": np.asarray(inputs["mel"][0])})]


class Voxtral(Sound):
    """Windows of 30 s are heard whole, silence included; 4 rows side by side. Its prompts are made by
    mistral-common, which puts [BEGIN_AUDIO] before a sound."""
    name, arch = "voxtral", "llama"
    classes = ("VoxtralForConditionalGeneration",)
    vocab = with_added(mistral_vocab(), ["[INST]", "[/INST]", "[AUDIO]", "[BEGIN_AUDIO]", "<pad>"])
    marker, placeholder = "[BEGIN_AUDIO][AUDIO]", "[AUDIO]"
    template = "[INST]<media>{0} {1}[/INST]{2}"
    stack = 4

    def config(self):
        tokens = self.vocab["tokenizer.ggml.tokens"]
        return VoxtralConfig(
            audio_config=dict(num_mel_bins=128, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                              intermediate_size=32 * self.stack, max_source_positions=1500),
            text_config=dict(
                model_type="llama", vocab_size=len(tokens), max_position_embeddings=512, hidden_size=32,
                intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                head_dim=16, rms_norm_eps=1e-5, tie_word_embeddings=False, rope_parameters=rope(10000.0)),
            audio_token_id=tokens.index("[AUDIO]"))

    def processor(self):
        return types.SimpleNamespace(feature_extractor=WhisperFeatureExtractor(feature_size=128),
                                     tokenizer=fast_tokenizer(self.vocab, "<pad>"))

    def inputs(self, processor, prompt):
        mel = processor.feature_extractor(sound(), sampling_rate=16000, padding=True, truncation=False,
                                          pad_to_multiple_of=480000, return_tensors="pt")["input_features"]
        ids = processor.tokenizer(prompt.replace("[AUDIO]", "[AUDIO]" * (1500 // self.stack)),
                                  return_tensors="pt")
        return {"input_ids": ids["input_ids"], "attention_mask": ids["attention_mask"], "input_features": mel}

    def tower(self, cfg, weights):
        tensors = encoder_tensors(weights, "model.audio_tower.")
        for i in (1, 2):
            tensors[f"mm.a.mlp.{i}.weight"] = weights[f"model.multi_modal_projector.linear_{i}.weight"]
        audio = cfg.audio_config
        keys = audio_keys(types.SimpleNamespace(
            num_mel_bins=audio.num_mel_bins, d_model=audio.hidden_size, encoder_ffn_dim=audio.intermediate_size,
            encoder_layers=audio.num_hidden_layers, encoder_attention_heads=audio.num_attention_heads),
            cfg.text_config.hidden_size, "voxtral")
        return {**keys, "audio.projector.stack_factor": self.stack}, tensors

    def media(self, model, inputs):
        got = model.get_audio_features(inputs["input_features"])
        mel = inputs["input_features"][0]
        return [Medium("tones.wav", got.last_hidden_state[0].numpy(), got.pooler_output.reshape(
            -1, model.config.text_config.hidden_size).numpy(),
                       {"frames": FRAMES, "rest_of_mel": rest_of_mel(mel)}, {"mel": mel[:, :MEL_KEPT].numpy()})]


FAMILIES = [Ultravox(), Qwen2Audio(), Voxtral()]
