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

check_PROGRAMS += tests/media/test_sound_child
TESTS += tests/media/test_sound_child
tests_media_test_sound_child_SOURCES = tests/media/test_sound_child.c tests/media/recordings.h tests/test.h
tests_media_test_sound_child_CFLAGS = $(TEST_CFLAGS)
tests_media_test_sound_child_LDADD = $(LIBMEDIA) $(TEST_LIBS)

check_PROGRAMS += tests/media/test_video
TESTS += tests/media/test_video
tests_media_test_video_SOURCES = tests/media/test_video.c tests/media/recordings.h tests/test.h
tests_media_test_video_CFLAGS = $(TEST_CFLAGS) $(MEDIA_CFLAGS)
tests_media_test_video_LDADD = $(LIBMEDIA) $(TEST_LIBS)
