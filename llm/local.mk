noinst_LIBRARIES += llm/libllm.a
llm_libllm_a_SOURCES = \
  llm/engine.c llm/engine_impl.h \
  llm/family.c \
  llm/forward.c \
  llm/hparams.c llm/hparams.h \
  llm/llm.h llm/llm_impl.h \
  llm/mla.c \
  llm/model.c \
  llm/moe.c \
  llm/pages.c llm/pages.h \
  llm/rope.c llm/rope.h \
  llm/sampler.h \
  llm/sequences.c \
  llm/step.c \
  llm/weights.c llm/weights.h llm/weights_impl.h \
  llm/weights_mla.c \
  llm/weights_moe.c
LIBLLM = llm/libllm.a $(LIBMODEL)
