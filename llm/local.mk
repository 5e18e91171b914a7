noinst_LIBRARIES += llm/libllm.a
llm_libllm_a_SOURCES = \
  llm/cross.c llm/cross.h \
  llm/engine.c llm/engine_impl.h \
  llm/family.c \
  llm/forward.c \
  llm/generate.c llm/generate.h \
  llm/history.c llm/history.h \
  llm/hparams.c llm/hparams.h \
  llm/llm.h llm/llm_impl.h \
  llm/loop.c llm/loop.h \
  llm/mla.c \
  llm/model.c \
  llm/moe.c \
  llm/pages.c llm/pages.h \
  llm/prefix.c llm/prefix.h \
  llm/rope.c llm/rope.h \
  llm/sampler.c llm/sampler.h \
  llm/select.c llm/select.h \
  llm/sequences.c \
  llm/step.c \
  llm/stop.c llm/stop.h \
  llm/weights.c llm/weights.h llm/weights_impl.h \
  llm/weights_mla.c \
  llm/weights_moe.c \
  llm/whisper.c llm/whisper.h llm/whisper_impl.h \
  llm/whisper_decode.c \
  llm/whisper_follow.c \
  llm/whisper_rules.c \
  llm/writer.c llm/writer.h
llm_libllm_a_CFLAGS = $(AM_CFLAGS) $(ZLIB_CFLAGS) -O3
EXTRA_DIST += llm/README.md
LIBLLM = llm/libllm.a $(LIBMODEL) $(ZLIB_LIBS)
