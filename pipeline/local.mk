# pipeline/: see README.md
EXTRA_DIST += pipeline/README.md
noinst_LIBRARIES += pipeline/libpipeline.a
pipeline_libpipeline_a_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) -O3
pipeline_libpipeline_a_SOURCES = \
  pipeline/chat_media.c pipeline/chat_media.h \
  pipeline/cutter.c pipeline/cutter.h \
  pipeline/desk.c pipeline/desk.h pipeline/desk_impl.h \
  pipeline/desk_chores.c \
  pipeline/desk_decode.c \
  pipeline/desk_encode.c \
  pipeline/desk_media.c \
  pipeline/desk_models.c \
  pipeline/desk_prompt.c \
  pipeline/desk_result.c \
  pipeline/desk_transcribe.c \
  pipeline/feature_cache.c pipeline/feature_cache.h \
  pipeline/feature_key.c pipeline/feature_key.h \
  pipeline/hearing.c pipeline/hearing.h \
  pipeline/recall.c pipeline/recall.h \
  pipeline/sight.c pipeline/sight.h \
  pipeline/transcribe.c pipeline/transcribe.h pipeline/transcribe_impl.h \
  pipeline/transcribe_segments.c \
  pipeline/transcribe_words.c \
  pipeline/watch.c pipeline/watch.h \
  pipeline/watch_plan.c
LIBPIPELINE = pipeline/libpipeline.a $(LIBQUEUE) fusion/libfusion.a llm/libllm.a $(LIBENCODERS) $(LIBLLM)
