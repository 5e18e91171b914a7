MM_GOLDEN = tests/mm_golden.c tests/mm_golden.h tests/test.h
check_PROGRAMS += tests/encoders/test_vision_families
TESTS += tests/encoders/test_vision_families
tests_encoders_test_vision_families_SOURCES = tests/encoders/test_vision_families.c $(MM_GOLDEN)
tests_encoders_test_vision_families_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_encoders_test_vision_families_LDADD = $(LIBENCODERS) $(TEST_LIBS)

check_PROGRAMS += tests/encoders/test_audio
TESTS += tests/encoders/test_audio
tests_encoders_test_audio_SOURCES = tests/encoders/test_audio.c $(MM_GOLDEN)
tests_encoders_test_audio_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_encoders_test_audio_LDADD = $(LIBENCODERS) $(TEST_LIBS)
