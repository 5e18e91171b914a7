check_PROGRAMS += tests/media/test_sandbox
TESTS += tests/media/test_sandbox
tests_media_test_sandbox_SOURCES = tests/media/test_sandbox.c tests/test.h
tests_media_test_sandbox_CFLAGS = $(TEST_CFLAGS)
tests_media_test_sandbox_LDADD = $(LIBMEDIA) $(TEST_LIBS)

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
EXTRA_DIST += tests/media/make_recordings.py \
  tests/media/recordings/aac.aac \
  tests/media/recordings/aac.flv \
  tests/media/recordings/aac.m4a \
  tests/media/recordings/aac.mkv \
  tests/media/recordings/aac.ts \
  tests/media/recordings/ac3.ac3 \
  tests/media/recordings/adpcm-ms.wav \
  tests/media/recordings/alac.m4a \
  tests/media/recordings/amr-nb.amr-nb \
  tests/media/recordings/chained.ogg \
  tests/media/recordings/clip-mute.mp4 \
  tests/media/recordings/clip-streamed.mkv \
  tests/media/recordings/clip.avi \
  tests/media/recordings/clip.mkv \
  tests/media/recordings/clip.mp4 \
  tests/media/recordings/clip.ts \
  tests/media/recordings/clip.webm \
  tests/media/recordings/colour-2020-full.mp4 \
  tests/media/recordings/colour-2020-limited.mp4 \
  tests/media/recordings/colour-601-full.mp4 \
  tests/media/recordings/colour-601-limited.mp4 \
  tests/media/recordings/colour-709-full.mp4 \
  tests/media/recordings/colour-709-limited.mp4 \
  tests/media/recordings/cover.mp3 \
  tests/media/recordings/eac3.eac3 \
  tests/media/recordings/flac.flac \
  tests/media/recordings/flac.ogg \
  tests/media/recordings/golden-sound.txt \
  tests/media/recordings/golden-video.txt \
  tests/media/recordings/jpeg2000.mov \
  tests/media/recordings/mp2.mp2 \
  tests/media/recordings/mp2.mpg \
  tests/media/recordings/mp3.avi \
  tests/media/recordings/mp3.mp3 \
  tests/media/recordings/mulaw.wav \
  tests/media/recordings/opus.opus \
  tests/media/recordings/opus.webm \
  tests/media/recordings/pcm-f32-16k-mono.wav \
  tests/media/recordings/pcm-s16-5.1.wav \
  tests/media/recordings/pcm-s16.wav \
  tests/media/recordings/pcm-s24-48k.wav \
  tests/media/recordings/pcm-u8-8k-mono.wav \
  tests/media/recordings/pcm.aiff \
  tests/media/recordings/pcm.au \
  tests/media/recordings/pcm.caf \
  tests/media/recordings/pcm.mov \
  tests/media/recordings/pcm.w64 \
  tests/media/recordings/pixels-2-1.mkv \
  tests/media/recordings/pixels-2-3.mkv \
  tests/media/recordings/rf64.wav \
  tests/media/recordings/speex.ogg \
  tests/media/recordings/turned-0.mp4 \
  tests/media/recordings/turned-180.mp4 \
  tests/media/recordings/turned-270.mp4 \
  tests/media/recordings/turned-90.mp4 \
  tests/media/recordings/turned-flip.mp4 \
  tests/media/recordings/turned-mirror.mp4 \
  tests/media/recordings/turned-transpose.mp4 \
  tests/media/recordings/turned-transverse.mp4 \
  tests/media/recordings/vorbis.ogg \
  tests/media/recordings/wavpack.wv \
  tests/media/recordings/wmav2.wma
dist_check_SCRIPTS += tests/media/sound-ffmpeg.py
TESTS += tests/media/sound-ffmpeg.py
