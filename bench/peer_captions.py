#!/usr/bin/env python3
"""Captions by llama.cpp (PyPI llama-cpp-python, libmtmd), as llama-server with four slots would make them, but
without its HTTP and base64: pictures of four clients are encoded one by one and their answers written in one
batch. Seconds for all pictures, as JSON on stdout; models are loaded before.

    bench/peer_captions.py --model TEXT.gguf --mmproj MMPROJ.gguf --tokens 32 [--threads 2] PICTURE...
"""
import argparse
import ctypes
import json
import time

import llama_cpp as lc
import numpy as np
from llama_cpp import mtmd_cpp as mt
from PIL import Image

SLOTS = 4
BATCH = 2048
PROMPT = "<|im_start|>User:{}{}<end_of_utterance>\nAssistant:"


class Peer:
    def __init__(self, a):
        self.silent = lc.llama_log_callback(lambda level, text, data: None)
        lc.llama_log_set(self.silent, ctypes.c_void_p(0))
        lc.llama_backend_init()
        mp = lc.llama_model_default_params()
        mp.n_gpu_layers = 0
        self.model = lc.llama_model_load_from_file(a.model.encode(), mp)
        cp = lc.llama_context_default_params()
        cp.n_ctx, cp.n_batch, cp.n_ubatch, cp.n_seq_max = SLOTS * 2048, BATCH, 512, SLOTS
        cp.n_threads = cp.n_threads_batch = a.threads
        self.ctx = lc.llama_init_from_model(self.model, cp)
        params = mt.mtmd_context_params_default()
        params.use_gpu, params.print_timings, params.n_threads = False, False, a.threads
        self.mtmd = mt.mtmd_init_from_file(a.mmproj.encode(), self.model, params)
        if not self.mtmd:
            raise SystemExit(f"{a.mmproj}: libmtmd cannot load it")
        self.n_vocab = lc.llama_vocab_n_tokens(lc.llama_model_get_vocab(self.model))
        self.batch = lc.llama_batch_init(BATCH, 0, 1)

    def likeliest(self, i):
        logits = np.ctypeslib.as_array(lc.llama_get_logits_ith(self.ctx, i), shape=(self.n_vocab,))
        return int(np.argmax(logits))

    def decode(self, rows):
        """Rows of (token, position, slot, whether its logits are wanted)."""
        b = self.batch
        b.n_tokens = len(rows)
        for i, (token, position, slot, wanted) in enumerate(rows):
            b.token[i], b.pos[i], b.n_seq_id[i], b.seq_id[i][0], b.logits[i] = token, position, 1, slot, wanted
        if lc.llama_decode(self.ctx, b) != 0:
            raise SystemExit("llama_decode failed")

    def take(self, chunk, past, slot):
        """A chunk of a prompt; the position behind it. Marks that SmolLM2's vocabulary does not have are -1 and left
        out: mtmd_helper_eval_chunks() fails an assertion over them."""
        if mt.mtmd_input_chunk_get_type(chunk) != 0:
            behind = lc.llama_pos(past)
            if mt.mtmd_encode_chunk(self.mtmd, chunk) != 0 or mt.mtmd_helper_decode_image_chunk(
                    self.mtmd, self.ctx, chunk, mt.mtmd_get_output_embd(self.mtmd), past, slot, BATCH,
                    ctypes.byref(behind), mt.mtmd_helper_post_decode_callback(), None) != 0:
                raise SystemExit("a picture cannot be encoded or decoded")
            return behind.value
        n = ctypes.c_size_t()
        all_tokens = mt.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(n))
        tokens = [t for t in all_tokens[:n.value] if t >= 0]
        if not tokens:
            return past
        self.decode([(token, past + i, slot, i + 1 == len(tokens)) for i, token in enumerate(tokens)])
        return past + len(tokens)

    def see(self, path, question, slot):
        """The picture and the prompt; the position and the first token."""
        rgb = np.ascontiguousarray(np.asarray(Image.open(path).convert("RGB")))
        height, width, _ = rgb.shape
        bitmap = mt.mtmd_bitmap_init(width, height, rgb.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)))
        text = mt.mtmd_input_text()
        text.text = PROMPT.format(mt.mtmd_default_marker().decode(), question).encode()
        text.text_len = len(text.text)
        text.add_special, text.parse_special = True, True
        chunks = mt.mtmd_input_chunks_init()
        if mt.mtmd_tokenize(self.mtmd, chunks, ctypes.byref(text), (mt.mtmd_bitmap_p_ctypes * 1)(bitmap), 1) != 0:
            raise SystemExit("mtmd_tokenize failed")
        past = 0
        for i in range(mt.mtmd_input_chunks_size(chunks)):
            past = self.take(mt.mtmd_input_chunks_get(chunks, i), past, slot)
        mt.mtmd_input_chunks_free(chunks)
        mt.mtmd_bitmap_free(bitmap)
        return past, self.likeliest(-1)

    def write(self, state, n_tokens):
        """n_tokens - 1 more tokens for each (position, token) of `state`."""
        for step in range(n_tokens - 1):
            self.decode([(token, pos + step, slot, True) for slot, (pos, token) in enumerate(state)])
            state = [(pos, self.likeliest(i)) for i, (pos, _) in enumerate(state)]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--model", required=True)
    p.add_argument("--mmproj", required=True)
    p.add_argument("--tokens", type=int, required=True)
    p.add_argument("--question", default="Describe this picture.")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("pictures", nargs="+")
    a = p.parse_args()
    peer = Peer(a)
    begin = time.perf_counter()
    for i in range(0, len(a.pictures), SLOTS):
        lc.llama_memory_clear(lc.llama_get_memory(peer.ctx), True)
        state = [peer.see(path, a.question, slot) for slot, path in enumerate(a.pictures[i: i + SLOTS])]
        peer.write(state, a.tokens)
    print(json.dumps({"seconds": time.perf_counter() - begin, "pictures": len(a.pictures),
                      "version": lc.__version__}))


main()
