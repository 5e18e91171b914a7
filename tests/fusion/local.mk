check_PROGRAMS += tests/fusion/test_fusion_families
TESTS += tests/fusion/test_fusion_families
tests_fusion_test_fusion_families_SOURCES = tests/fusion/test_fusion_families.c $(MM_GOLDEN)
tests_fusion_test_fusion_families_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_fusion_test_fusion_families_LDADD = $(LIBFUSION) $(TEST_LIBS)
