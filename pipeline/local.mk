noinst_LIBRARIES += pipeline/libpipeline.a
pipeline_libpipeline_a_SOURCES = \
  pipeline/sight.c pipeline/sight.h
pipeline_libpipeline_a_CFLAGS = $(AM_CFLAGS)
LIBPIPELINE = pipeline/libpipeline.a fusion/libfusion.a llm/libllm.a $(LIBENCODERS)
