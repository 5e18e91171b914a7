
if FUZZERS
noinst_PROGRAMS += tests/fuzz/fuzz_tokenizer
tests_fuzz_fuzz_tokenizer_SOURCES = tests/fuzz/fuzz_tokenizer.c tests/model/vocab.h
tests_fuzz_fuzz_tokenizer_LDADD = $(LIBMODEL)
tests_fuzz_fuzz_tokenizer_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
endif
