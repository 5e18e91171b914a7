#!/usr/bin/env python3
"""One measurement of llama.cpp (through the PyPI package llama-cpp-python), as JSON on stdout.

The same work as `sensorium bench`: a prompt of --prefill tokens in one go, then --decode single
tokens, weights in the page cache, --threads threads. --batch B decodes B sequences together.
"""
import argparse
import ctypes
import json
import resource
import time

t_start = time.perf_counter()
import llama_cpp as lc  # noqa: E402  (its import is not part of the load time)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("-m", "--model", required=True)
    p.add_argument("-t", "--threads", type=int, default=2)
    p.add_argument("--prefill", type=int, default=512)
    p.add_argument("--decode", type=int, default=64)
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--repeat", type=int, default=1)
    p.add_argument("--flash", action="store_true", help="flash attention on (default: the library's choice)")
    a = p.parse_args()

    silent = lc.llama_log_callback(lambda level, text, data: None)
    lc.llama_log_set(silent, ctypes.c_void_p(0))
    lc.llama_backend_init()
    t0 = time.perf_counter()
    mp = lc.llama_model_default_params()
    mp.n_gpu_layers = 0
    model = lc.llama_model_load_from_file(a.model.encode(), mp)
    if not model:
        raise SystemExit(f"{a.model}: llama.cpp cannot load it")
    cp = lc.llama_context_default_params()
    cp.n_ctx = a.prefill + (a.decode + 8) * a.batch + 64
    cp.n_batch = cp.n_ubatch = max(512, a.prefill)
    cp.n_seq_max = a.batch
    cp.kv_unified = True
    cp.n_threads = cp.n_threads_batch = a.threads
    if a.flash:
        cp.flash_attn_type = 1
    ctx = lc.llama_init_from_model(model, cp)
    memory = lc.llama_get_memory(ctx)
    batch = lc.llama_batch_init(max(a.prefill, a.batch, 8), 0, 1)

    def run(tokens):  # (id, position, sequence, wants logits)
        batch.n_tokens = len(tokens)
        for i, (t, pos, seq, want) in enumerate(tokens):
            batch.token[i] = t
            batch.pos[i] = pos
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = seq
            batch.logits[i] = want
        if lc.llama_decode(ctx, batch) != 0:
            raise SystemExit("llama_decode failed")
        lc.llama_synchronize(ctx)

    run([(i + 5, i, 0, i == 7) for i in range(8)])
    first_token = time.perf_counter() - t0
    out = {"prefill": [], "decode": [], "first_token_s": first_token}
    prompt = [(7 * i + 11) % 40000 for i in range(a.prefill)]
    vocab = lc.llama_vocab_n_tokens(lc.llama_model_get_vocab(model))
    prompt = [t % vocab for t in prompt]
    for _ in range(a.repeat):
        lc.llama_memory_clear(memory, True)
        if a.prefill:
            t0 = time.perf_counter()
            run([(t, i, 0, i == a.prefill - 1) for i, t in enumerate(prompt)])
            out["prefill"].append(a.prefill / (time.perf_counter() - t0))
        lc.llama_memory_clear(memory, True)
        run([(5, 0, s, 1) for s in range(a.batch)])
        t0 = time.perf_counter()
        for i in range(a.decode):
            run([((13 * i + s) % vocab, i + 1, s, 1) for s in range(a.batch)])
        if a.decode:
            out["decode"].append(a.decode * a.batch / (time.perf_counter() - t0))
    out["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    out["version"] = lc.__version__
    print(json.dumps(out))


main()
