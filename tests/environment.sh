# Read by make check before every test. What is missing makes tests skip:
#   SENSORIUM          the program (set by the Makefile)
#   SN_TEST_SMOLLM2    SmolLM2-135M-Instruct Q4_1, from the cache ("sensorium pull smollm2")
#   SN_TEST_WHISPER    Whisper base, from the cache ("sensorium pull whisper-base")
#   SN_TEST_VOCABS, SN_TEST_TEMPLATES   folders that ./quickstart check fetches
#   SN_TEST_QUICK      set: tests that take long skip, or take a small sample
#   SN_TEST_TEXTS      texts per tokenizer (10000)
#   SN_TEST_SANITIZED  set: the program is ten times slower than usual; recordings are for the tiny Whisper
sn_cache=${SENSORIUM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sensorium}
if test -z "${SN_TEST_SMOLLM2+set}"; then
    SN_TEST_SMOLLM2=$(find "$sn_cache/models" -name SmolLM2-135M-Instruct.Q4_1.gguf 2>/dev/null |
        head -n 1)
fi
if test -z "${SN_TEST_WHISPER+set}"; then
    SN_TEST_WHISPER=$(find "$sn_cache/models/ct2" -name model.gguf 2>/dev/null | head -n 1)
fi
if test -n "${SN_TEST_QUICK-}"; then
    SN_TEST_SMOLLM2='' SN_TEST_WHISPER='' SN_TEST_VOCABS='' SN_TEST_TEMPLATES='' SN_TEST_TEXTS=300
    export SN_TEST_VOCABS SN_TEST_TEMPLATES SN_TEST_TEXTS
fi
if test -n "${SN_TEST_SANITIZED-}"; then
    SN_TEST_WHISPER=''
fi
unset SENSORIUM_FEATURE_CACHE # tests say themselves where features are kept
export SENSORIUM SN_TEST_SMOLLM2 SN_TEST_WHISPER
