noinst_LIBRARIES += pipeline/libpipeline.a
pipeline_libpipeline_a_SOURCES = \
  pipeline/chat_media.c pipeline/chat_media.h \
  pipeline/sight.c pipeline/sight.h
pipeline_libpipeline_a_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
LIBPIPELINE = pipeline/libpipeline.a fusion/libfusion.a llm/libllm.a $(LIBENCODERS)
