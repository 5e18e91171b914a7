# Reference data of the decoder and the scripts that made it.
EXTRA_DIST += \
    tests/reference/README.md \
    tests/reference/check_llamacpp.py \
    tests/reference/compare_logits.py \
    tests/reference/engine.py \
    tests/reference/gguf_files.py \
    tests/reference/golden_files.py \
    tests/reference/make_model.py \
    tests/reference/make_variants.py \
    tests/reference/smollm2_truth.py \
    tests/reference/text/english.txt \
    tests/reference/text/mixed.txt \
    tests/reference/tiny_convert.py \
    tests/reference/tiny_models.py \
    tests/reference/tiny_vocab.py \
    tests/reference/tiny_zoo.py
EXTRA_DIST += \
    tests/reference/models/deepseek2-legacy.gguf \
    tests/reference/models/deepseek2-lite.gguf \
    tests/reference/models/deepseek3.gguf \
    tests/reference/models/gemma3-linear.gguf \
    tests/reference/models/gemma3.gguf \
    tests/reference/models/llama-linear.gguf \
    tests/reference/models/llama-rope3.gguf \
    tests/reference/models/llama-smol.gguf \
    tests/reference/models/mistral.gguf \
    tests/reference/models/mixtral.gguf \
    tests/reference/models/qwen2-yarn.gguf \
    tests/reference/models/qwen2.gguf \
    tests/reference/models/qwen3.gguf \
    tests/reference/models/qwen3moe.gguf \
    tests/reference/models/deepseek2.gguf \
    tests/reference/models/gemma.gguf \
    tests/reference/models/gemma2.gguf \
    tests/reference/models/granite.gguf \
    tests/reference/models/mistral3.gguf \
    tests/reference/models/phi3.gguf \
    tests/reference/models/qwen2moe.gguf \
    tests/reference/models/smollm3.gguf
EXTRA_DIST += \
    tests/reference/golden/deepseek2.json \
    tests/reference/golden/deepseek2.npy \
    tests/reference/golden/gemma.json \
    tests/reference/golden/gemma.npy \
    tests/reference/golden/gemma2.json \
    tests/reference/golden/gemma2.npy \
    tests/reference/golden/granite.json \
    tests/reference/golden/granite.npy \
    tests/reference/golden/mistral3.json \
    tests/reference/golden/mistral3.npy \
    tests/reference/golden/phi3.json \
    tests/reference/golden/phi3.npy \
    tests/reference/golden/qwen2moe.json \
    tests/reference/golden/qwen2moe.npy \
    tests/reference/golden/smollm3.json \
    tests/reference/golden/smollm3.npy \
    tests/reference/golden/deepseek2-legacy.json \
    tests/reference/golden/deepseek2-legacy.npy \
    tests/reference/golden/deepseek2-lite.json \
    tests/reference/golden/deepseek2-lite.npy \
    tests/reference/golden/deepseek3.json \
    tests/reference/golden/deepseek3.npy \
    tests/reference/golden/gemma3-linear.json \
    tests/reference/golden/gemma3-linear.npy \
    tests/reference/golden/gemma3.json \
    tests/reference/golden/gemma3.npy \
    tests/reference/golden/llama-linear.json \
    tests/reference/golden/llama-linear.npy \
    tests/reference/golden/llama-rope3.json \
    tests/reference/golden/llama-rope3.npy \
    tests/reference/golden/llama-smol.json \
    tests/reference/golden/llama-smol.npy \
    tests/reference/golden/mistral.json \
    tests/reference/golden/mistral.npy \
    tests/reference/golden/mixtral.json \
    tests/reference/golden/mixtral.npy \
    tests/reference/golden/qwen2-yarn.json \
    tests/reference/golden/qwen2-yarn.npy \
    tests/reference/golden/qwen2.json \
    tests/reference/golden/qwen2.npy \
    tests/reference/golden/qwen3.json \
    tests/reference/golden/qwen3.npy \
    tests/reference/golden/qwen3moe.json \
    tests/reference/golden/qwen3moe.npy
EXTRA_DIST += \
    tests/reference/golden/smollm2/english.json \
    tests/reference/golden/smollm2/english_ids.npy \
    tests/reference/golden/smollm2/english_logprobs.npy \
    tests/reference/golden/smollm2/full_logits.npy \
    tests/reference/golden/smollm2/mixed.json \
    tests/reference/golden/smollm2/mixed_ids.npy \
    tests/reference/golden/smollm2/mixed_logprobs.npy \
    tests/reference/golden/smollm2/prompts.json \
    tests/reference/golden/smollm2/prompts_ids.npy \
    tests/reference/golden/smollm2/prompts_logits.npy
