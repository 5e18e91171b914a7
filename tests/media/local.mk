check_PROGRAMS += tests/media/test_sandbox
TESTS += tests/media/test_sandbox
tests_media_test_sandbox_SOURCES = tests/media/test_sandbox.c tests/test.h
tests_media_test_sandbox_CFLAGS = $(TEST_CFLAGS)
tests_media_test_sandbox_LDADD = $(LIBMEDIA) $(TEST_LIBS)

# Sound and video
check_PROGRAMS += tests/media/sound_tool
tests_media_sound_tool_SOURCES = tests/media/sound_tool.c
tests_media_sound_tool_LDADD = $(LIBMEDIA)

check_PROGRAMS += tests/media/test_sound
TESTS += tests/media/test_sound
tests_media_test_sound_SOURCES = tests/media/test_sound.c tests/media/recordings.h tests/test.h
tests_media_test_sound_CFLAGS = $(TEST_CFLAGS)
tests_media_test_sound_LDADD = $(LIBMEDIA) $(TEST_LIBS)
check_PROGRAMS += tests/media/test_image
TESTS += tests/media/test_image
tests_media_test_image_SOURCES = \
  tests/media/test_image.c tests/media/pictures.c tests/media/pictures.h tests/test.h
tests_media_test_image_CFLAGS = $(TEST_CFLAGS)
tests_media_test_image_LDADD = $(LIBMEDIA) $(TEST_LIBS)
EXTRA_DIST += tests/media/make_pictures.py tests/media/pictures

check_PROGRAMS += tests/media/test_hostile
TESTS += tests/media/test_hostile
tests_media_test_hostile_SOURCES = \
  tests/media/test_hostile.c tests/media/pictures.c tests/media/pictures.h tests/test.h
tests_media_test_hostile_CFLAGS = $(TEST_CFLAGS)
tests_media_test_hostile_LDADD = $(LIBMEDIA) $(TEST_LIBS)
