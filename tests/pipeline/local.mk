# tests of pipeline/
check_PROGRAMS += tests/pipeline/test_cutter
TESTS += tests/pipeline/test_cutter
tests_pipeline_test_cutter_SOURCES = tests/pipeline/test_cutter.c tests/test.h
tests_pipeline_test_cutter_CFLAGS = $(TEST_CFLAGS)
tests_pipeline_test_cutter_LDADD = $(LIBPIPELINE) $(TEST_LIBS)

check_PROGRAMS += tests/pipeline/test_transcribe
TESTS += tests/pipeline/test_transcribe
tests_pipeline_test_transcribe_SOURCES = tests/pipeline/test_transcribe.c $(MM_GOLDEN)
tests_pipeline_test_transcribe_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_pipeline_test_transcribe_LDADD = $(LIBPIPELINE) $(TEST_LIBS)

check_PROGRAMS += tests/pipeline/test_sight_families
TESTS += tests/pipeline/test_sight_families
tests_pipeline_test_sight_families_SOURCES = tests/pipeline/test_sight_families.c $(MM_GOLDEN)
tests_pipeline_test_sight_families_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_pipeline_test_sight_families_LDADD = $(LIBPIPELINE) $(TEST_LIBS)

check_PROGRAMS += tests/pipeline/test_sight_hostile
TESTS += tests/pipeline/test_sight_hostile
tests_pipeline_test_sight_hostile_SOURCES = tests/pipeline/test_sight_hostile.c $(MM_GOLDEN)
tests_pipeline_test_sight_hostile_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_pipeline_test_sight_hostile_LDADD = $(LIBPIPELINE) $(TEST_LIBS)

# SENSORIUM says what to test.
EXTRA_DIST += tests/pipeline/golden.py
dist_check_SCRIPTS += tests/pipeline/pictures.py
TESTS += tests/pipeline/pictures.py
dist_check_SCRIPTS += tests/pipeline/sounds.py
TESTS += tests/pipeline/sounds.py
dist_check_SCRIPTS += tests/pipeline/videos.py
TESTS += tests/pipeline/videos.py

check_PROGRAMS += tests/pipeline/test_watch
TESTS += tests/pipeline/test_watch
EXTRA_DIST += tests/pipeline/frames.txt tests/reference/video_frames.py
tests_pipeline_test_watch_SOURCES = tests/pipeline/test_watch.c $(MM_GOLDEN)
tests_pipeline_test_watch_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_pipeline_test_watch_LDADD = $(LIBPIPELINE) $(LIBMEDIA) $(TEST_LIBS)

check_PROGRAMS += tests/pipeline/test_feature_cache
TESTS += tests/pipeline/test_feature_cache
tests_pipeline_test_feature_cache_SOURCES = tests/pipeline/test_feature_cache.c tests/test.h
tests_pipeline_test_feature_cache_CFLAGS = $(TEST_CFLAGS)
tests_pipeline_test_feature_cache_LDADD = $(LIBPIPELINE) $(TEST_LIBS)

check_PROGRAMS += tests/pipeline/test_recall
TESTS += tests/pipeline/test_recall
tests_pipeline_test_recall_SOURCES = tests/pipeline/test_recall.c $(MM_GOLDEN)
tests_pipeline_test_recall_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_pipeline_test_recall_LDADD = $(LIBPIPELINE) $(TEST_LIBS)
dist_check_SCRIPTS += tests/pipeline/questions.py
TESTS += tests/pipeline/questions.py

# The desk: jobs in, outcomes out.
DESK_HOST = tests/pipeline/desk_host.c tests/pipeline/desk_host.h $(MM_GOLDEN)
check_PROGRAMS += tests/pipeline/test_desk
TESTS += tests/pipeline/test_desk
tests_pipeline_test_desk_SOURCES = tests/pipeline/test_desk.c $(DESK_HOST)
tests_pipeline_test_desk_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_pipeline_test_desk_LDADD = $(LIBPIPELINE) $(LIBMEDIA) $(TEST_LIBS)

check_PROGRAMS += tests/pipeline/test_desk_models
TESTS += tests/pipeline/test_desk_models
tests_pipeline_test_desk_models_SOURCES = tests/pipeline/test_desk_models.c $(DESK_HOST)
tests_pipeline_test_desk_models_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_pipeline_test_desk_models_LDADD = $(LIBPIPELINE) $(LIBMEDIA) $(TEST_LIBS)

check_PROGRAMS += tests/pipeline/test_desk_media
TESTS += tests/pipeline/test_desk_media
tests_pipeline_test_desk_media_SOURCES = tests/pipeline/test_desk_media.c $(DESK_HOST)
tests_pipeline_test_desk_media_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_pipeline_test_desk_media_LDADD = $(LIBPIPELINE) $(LIBMEDIA) $(TEST_LIBS)
