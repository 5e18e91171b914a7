
check_PROGRAMS += tests/llm/test_families
TESTS += tests/llm/test_families
LLM_TEST_SUPPORT = \
  tests/test.h \
  tests/llm/golden.c tests/llm/golden.h tests/mm_golden.c tests/mm_golden.h \
  tests/llm/naive_device.c tests/llm/naive_device.h
tests_llm_test_families_SOURCES = tests/llm/test_families.c $(LLM_TEST_SUPPORT)
tests_llm_test_families_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_llm_test_families_LDADD = $(LIBLLM) $(TEST_LIBS)
# SENSORIUM (and SN_TEST_SMOLLM2) say what to test; README.md in tests/reference.
dist_check_SCRIPTS += tests/llm/families.py tests/llm/smollm2.py
TESTS += tests/llm/families.py tests/llm/smollm2.py

check_PROGRAMS += tests/llm/test_sampler
TESTS += tests/llm/test_sampler
tests_llm_test_sampler_SOURCES = \
  tests/llm/test_sampler.c tests/llm/vocab.c tests/llm/vocab.h tests/test.h
tests_llm_test_sampler_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_llm_test_sampler_LDADD = $(LIBLLM) $(TEST_LIBS)
EXTRA_DIST += tests/llm/sampler_golden.py tests/llm/golden/sampler.json

check_PROGRAMS += tests/llm/test_pages
TESTS += tests/llm/test_pages
tests_llm_test_pages_SOURCES = tests/llm/test_pages.c tests/test.h
tests_llm_test_pages_CFLAGS = $(TEST_CFLAGS)
tests_llm_test_pages_LDADD = $(LIBLLM) $(TEST_LIBS)

check_PROGRAMS += tests/llm/test_engine
TESTS += tests/llm/test_engine
tests_llm_test_engine_SOURCES = \
  tests/llm/test_engine.c tests/llm/tiny_file.c tests/llm/tiny_file.h $(LLM_TEST_SUPPORT)
tests_llm_test_engine_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_llm_test_engine_LDADD = $(LIBLLM) $(TEST_LIBS)

check_PROGRAMS += tests/llm/test_cross
TESTS += tests/llm/test_cross
tests_llm_test_cross_SOURCES = \
  tests/llm/test_cross.c tests/llm/tiny_file.c tests/llm/tiny_file.h $(LLM_TEST_SUPPORT)
tests_llm_test_cross_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_llm_test_cross_LDADD = $(LIBLLM) $(TEST_LIBS)

check_PROGRAMS += tests/llm/test_hostile
TESTS += tests/llm/test_hostile
tests_llm_test_hostile_SOURCES = \
  tests/llm/test_hostile.c tests/llm/tiny_file.c tests/llm/tiny_file.h \
  tests/llm/naive_device.c tests/llm/naive_device.h tests/test.h
tests_llm_test_hostile_CFLAGS = $(TEST_CFLAGS)
tests_llm_test_hostile_LDADD = $(LIBLLM) $(TEST_LIBS)

check_PROGRAMS += tests/llm/test_generate
TESTS += tests/llm/test_generate
tests_llm_test_generate_SOURCES = tests/llm/test_generate.c $(LLM_TEST_SUPPORT)
tests_llm_test_generate_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_llm_test_generate_LDADD = $(LIBLLM) $(TEST_LIBS)

check_PROGRAMS += tests/llm/test_whisper
TESTS += tests/llm/test_whisper
tests_llm_test_whisper_SOURCES = tests/llm/test_whisper.c tests/mm_golden.c tests/mm_golden.h tests/test.h
tests_llm_test_whisper_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_llm_test_whisper_LDADD = $(LIBLLM) $(TEST_LIBS)

check_PROGRAMS += tests/llm/test_prefix
TESTS += tests/llm/test_prefix
tests_llm_test_prefix_SOURCES = tests/llm/test_prefix.c $(LLM_TEST_SUPPORT)
tests_llm_test_prefix_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_llm_test_prefix_LDADD = $(LIBLLM) $(TEST_LIBS)
