#!/usr/bin/env python3
"""One measurement of llama.cpp's libmtmd (PyPI llama-cpp-python): the seconds that encoding a picture's
tiles takes, as JSON on stdout.

    bench/peer_mtmd.py --model TEXT.gguf --mmproj MMPROJ.gguf --image FILE [--threads 2] [--repeat 2]
"""
import argparse
import ctypes
import json
import time

import llama_cpp as lc
import numpy as np
from llama_cpp import mtmd_cpp as mt
from PIL import Image


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--model", required=True)
    p.add_argument("--mmproj", required=True)
    p.add_argument("--image", required=True)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--repeat", type=int, default=2)
    a = p.parse_args()

    silent = lc.llama_log_callback(lambda level, text, data: None)
    lc.llama_log_set(silent, ctypes.c_void_p(0))
    lc.llama_backend_init()
    mp = lc.llama_model_default_params()
    mp.n_gpu_layers = 0
    model = lc.llama_model_load_from_file(a.model.encode(), mp)
    params = mt.mtmd_context_params_default()
    params.use_gpu = False
    params.print_timings = False
    params.n_threads = a.threads
    ctx = mt.mtmd_init_from_file(a.mmproj.encode(), model, params)
    if not ctx:
        raise SystemExit(f"{a.mmproj}: libmtmd cannot load it")

    rgb = np.ascontiguousarray(np.asarray(Image.open(a.image).convert("RGB")))
    height, width, _ = rgb.shape
    bitmap = mt.mtmd_bitmap_init(width, height, rgb.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)))
    text = mt.mtmd_input_text()
    text.text = mt.mtmd_default_marker()
    text.text_len = len(text.text)
    text.add_special = False
    text.parse_special = True
    chunks = mt.mtmd_input_chunks_init()
    bitmaps = (mt.mtmd_bitmap_p_ctypes * 1)(bitmap)
    t0 = time.perf_counter()
    if mt.mtmd_tokenize(ctx, chunks, ctypes.byref(text), bitmaps, 1) != 0:
        raise SystemExit("mtmd_tokenize failed")
    prepare = time.perf_counter() - t0
    images = [c for i in range(mt.mtmd_input_chunks_size(chunks))
              if mt.mtmd_input_chunk_get_type(c := mt.mtmd_input_chunks_get(chunks, i)) == 1]
    seconds = []
    for _ in range(a.repeat):
        t0 = time.perf_counter()
        for chunk in images:
            if mt.mtmd_encode_chunk(ctx, chunk) != 0:
                raise SystemExit("mtmd_encode_chunk failed")
        seconds.append(time.perf_counter() - t0)
    tokens = sum(mt.mtmd_input_chunk_get_n_tokens(c) for c in images)
    print(json.dumps({"encode_s": seconds, "prepare_s": prepare, "chunks": len(images),
                      "tokens": tokens, "version": lc.__version__}))


main()
