check_PROGRAMS += tests/model/test_gguf
TESTS += tests/model/test_gguf
tests_model_test_gguf_SOURCES = tests/model/test_gguf.c tests/test.h
tests_model_test_gguf_CFLAGS = $(TEST_CFLAGS)
tests_model_test_gguf_LDADD = $(LIBMODEL) $(TEST_LIBS)
