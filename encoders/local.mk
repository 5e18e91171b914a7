noinst_LIBRARIES += encoders/libencoders.a
encoders_libencoders_a_SOURCES = \
  encoders/audio.c encoders/audio.h encoders/audio_impl.h \
  encoders/audio_weights.c \
  encoders/encoder.h \
  encoders/mel.h \
  encoders/preprocess.h \
  encoders/resize.h \
  encoders/vision.c encoders/vision_impl.h \
  encoders/vision_grid.c \
  encoders/vision_hparams.c \
  encoders/vision_pre.c \
  encoders/vision_weights.c
encoders_libencoders_a_CFLAGS = $(AM_CFLAGS)
LIBENCODERS = encoders/libencoders.a $(LIBMODEL)
