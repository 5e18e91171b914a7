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

PICTURES = tests/encoders/pictures.c tests/encoders/pictures.h tests/test.h
EXTRA_DIST += tests/encoders/make_preprocess_golden.py \
  tests/encoders/golden/mel.txt tests/encoders/golden/preprocess.txt

check_PROGRAMS += tests/encoders/test_resize tests/encoders/test_preprocess tests/encoders/test_mel
TESTS += tests/encoders/test_resize tests/encoders/test_preprocess tests/encoders/test_mel
tests_encoders_test_resize_SOURCES = tests/encoders/test_resize.c $(PICTURES)
tests_encoders_test_resize_CFLAGS = $(TEST_CFLAGS)
tests_encoders_test_resize_LDADD = $(LIBENCODERS) $(TEST_LIBS)
tests_encoders_test_preprocess_SOURCES = tests/encoders/test_preprocess.c $(PICTURES)
tests_encoders_test_preprocess_CFLAGS = $(TEST_CFLAGS)
tests_encoders_test_preprocess_LDADD = $(LIBENCODERS) $(TEST_LIBS)
tests_encoders_test_mel_SOURCES = tests/encoders/test_mel.c $(PICTURES)
tests_encoders_test_mel_CFLAGS = $(TEST_CFLAGS)
tests_encoders_test_mel_LDADD = $(LIBENCODERS) $(TEST_LIBS)

# one picture, prepared and timed: bench/preprocess.py
check_PROGRAMS += tests/encoders/preprocess_tool
tests_encoders_preprocess_tool_SOURCES = tests/encoders/preprocess_tool.c
tests_encoders_preprocess_tool_CFLAGS = $(AM_CFLAGS)
tests_encoders_preprocess_tool_LDADD = $(LIBMEDIA) $(LIBENCODERS)
