#!/bin/sh
# Makes what bench/compare.py measures: SmolLM2-135M-Instruct as Q4_1 (as fetched), F16, Q8_0, Q4_0, Q4_K,
# and a model of 1.5 billion random Q4_0 weights.
#   bench/make_models.sh FOLDER [SENSORIUM] [PYTHON with gguf and numpy]
set -eu
folder=${1:?usage: bench/make_models.sh FOLDER [SENSORIUM] [PYTHON]}
sensorium=${2:-build/sensorium}
python=${3:-python3}
here=$(dirname "$0")
name=SmolLM2-135M-Instruct
mkdir -p "$folder"
"$sensorium" pull smollm2
source=$(find "${SENSORIUM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sensorium}/models" -name "$name.Q4_1.gguf" | head -n 1)
cp "$source" "$folder/$name.Q4_1.gguf"
"$python" "$here/../tests/reference/make_variants.py" "$source" "$folder" F16 Q8_0 Q4_0
"$sensorium" quantize "$folder/$name.F16.gguf" "$folder/$name.Q4_K.gguf" q4_k
"$python" "$here/../tests/reference/make_model.py" --shape 1.5b --type Q4_0 --tokenizer "$source" \
    "$folder/random-1.5b.Q4_0.gguf"
