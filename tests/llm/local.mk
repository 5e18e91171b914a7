
check_PROGRAMS += tests/llm/test_families
TESTS += tests/llm/test_families
LLM_TEST_SUPPORT = \
  tests/test.h \
  tests/llm/golden.c tests/llm/golden.h \
  tests/llm/naive_device.c tests/llm/naive_device.h
tests_llm_test_families_SOURCES = tests/llm/test_families.c $(LLM_TEST_SUPPORT)
tests_llm_test_families_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_llm_test_families_LDADD = $(LIBLLM) $(TEST_LIBS)

check_PROGRAMS += tests/llm/test_sampler
TESTS += tests/llm/test_sampler
tests_llm_test_sampler_SOURCES = \
  tests/llm/test_sampler.c tests/llm/vocab.c tests/llm/vocab.h tests/test.h
tests_llm_test_sampler_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_llm_test_sampler_LDADD = $(LIBLLM) $(TEST_LIBS)
EXTRA_DIST += tests/llm/sampler_golden.py tests/llm/golden/sampler.json
