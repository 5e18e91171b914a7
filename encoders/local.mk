# encoders/: see README.md
noinst_LIBRARIES += encoders/libencoders.a
encoders_libencoders_a_CFLAGS = $(AM_CFLAGS) -O3
encoders_libencoders_a_SOURCES = \
  encoders/mel.h \
  encoders/preprocess.c encoders/preprocess.h \
  encoders/preprocess_families.c \
  encoders/preprocess_plan.c \
  encoders/resize.c encoders/resize.h encoders/resize_kernels.h \
  encoders/resize_plain.c
encoders_libencoders_a_SOURCES += \
  encoders/encoder.h \
  encoders/vision.c encoders/vision_impl.h \
  encoders/vision_grid.c \
  encoders/vision_hparams.c \
  encoders/vision_pre.c \
  encoders/vision_weights.c
LIBENCODERS = encoders/libencoders.a

# the resize kernels of one instruction set each
if HAVE_AVX2
noinst_LIBRARIES += encoders/libresize_avx2.a
encoders_libresize_avx2_a_SOURCES = encoders/resize_avx2.c
encoders_libresize_avx2_a_CFLAGS = $(AM_CFLAGS) -O3 -mavx2
LIBENCODERS += encoders/libresize_avx2.a encoders/libencoders.a
endif
LIBENCODERS += $(LIBMODEL)
