check_PROGRAMS += tests/base/test_base
TESTS += tests/base/test_base
tests_base_test_base_SOURCES = tests/base/test_base.c tests/test.h
tests_base_test_base_CFLAGS = $(TEST_CFLAGS)
tests_base_test_base_LDADD = $(LIBBASE) $(TEST_LIBS)

check_PROGRAMS += tests/base/test_disk_cache
TESTS += tests/base/test_disk_cache
tests_base_test_disk_cache_SOURCES = tests/base/test_disk_cache.c tests/test.h
tests_base_test_disk_cache_CFLAGS = $(TEST_CFLAGS)
tests_base_test_disk_cache_LDADD = $(LIBBASE) $(TEST_LIBS)

check_PROGRAMS += tests/base/test_turn
TESTS += tests/base/test_turn
tests_base_test_turn_SOURCES = tests/base/test_turn.c tests/test.h
tests_base_test_turn_CFLAGS = $(TEST_CFLAGS)
tests_base_test_turn_LDADD = $(LIBBASE) $(TEST_LIBS)
