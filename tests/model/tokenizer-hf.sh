#!/bin/sh
# Ids against Hugging Face's tokenizers. SN_TEST_PYTHON: a Python that has tokenizers and gguf.
# SN_TEST_VOCABS: folders with GGUF files to compare too, separated by colons.
python=${SN_TEST_PYTHON:-python3}
if ! command -v "$python" >/dev/null; then
    echo "skipped: no $python"
    exit 77
fi
IFS=:
set -f
PYTHONDONTWRITEBYTECODE=1 exec "$python" "$srcdir/tests/reference/tokenizer_golden.py" \
    tests/model/tokenize_lines $SN_TEST_VOCABS
