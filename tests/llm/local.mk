
check_PROGRAMS += tests/llm/test_families
TESTS += tests/llm/test_families
LLM_TEST_SUPPORT = \
  tests/test.h \
  tests/llm/golden.c tests/llm/golden.h \
  tests/llm/naive_device.c tests/llm/naive_device.h
tests_llm_test_families_SOURCES = tests/llm/test_families.c $(LLM_TEST_SUPPORT)
tests_llm_test_families_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_llm_test_families_LDADD = $(LIBLLM) $(TEST_LIBS)
# SENSORIUM (and SN_TEST_SMOLLM2) say what to test; README.md in tests/reference.
dist_check_SCRIPTS += tests/llm/families.py tests/llm/smollm2.py
TESTS += tests/llm/families.py tests/llm/smollm2.py
