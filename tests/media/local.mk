check_PROGRAMS += tests/media/test_sandbox
TESTS += tests/media/test_sandbox
tests_media_test_sandbox_SOURCES = tests/media/test_sandbox.c tests/test.h
tests_media_test_sandbox_CFLAGS = $(TEST_CFLAGS)
tests_media_test_sandbox_LDADD = $(LIBMEDIA) $(TEST_LIBS)
