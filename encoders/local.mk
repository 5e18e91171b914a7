# encoders/: see README.md
noinst_LIBRARIES += encoders/libencoders.a
encoders_libencoders_a_CFLAGS = $(AM_CFLAGS) -O3
encoders_libencoders_a_SOURCES = \
  encoders/audio.c encoders/audio.h encoders/audio_impl.h \
  encoders/audio_weights.c \
  encoders/encoder.h \
  encoders/mel.c encoders/mel.h encoders/mel_kernels.h encoders/mel_tmpl.h \
  encoders/mel_plain.c \
  encoders/preprocess.c encoders/preprocess.h \
  encoders/preprocess_families.c \
  encoders/preprocess_plan.c \
  encoders/resize.c encoders/resize.h encoders/resize_kernels.h \
  encoders/resize_plain.c \
  encoders/vision.c encoders/vision_impl.h \
  encoders/vision_grid.c \
  encoders/vision_hparams.c \
  encoders/vision_pre.c \
  encoders/vision_tiles.c \
  encoders/vision_weights.c
LIBENCODERS = encoders/libencoders.a

# kernels of one instruction set each
if HAVE_AVX2
noinst_LIBRARIES += encoders/libpre_avx2.a
encoders_libpre_avx2_a_SOURCES = encoders/mel_avx2.c encoders/resize_avx2.c
encoders_libpre_avx2_a_CFLAGS = $(AM_CFLAGS) -O3 -mavx2
LIBENCODERS += encoders/libpre_avx2.a encoders/libencoders.a
endif
if HAVE_AVX512
noinst_LIBRARIES += encoders/libpre_avx512.a
encoders_libpre_avx512_a_SOURCES = encoders/resize_avx512.c
encoders_libpre_avx512_a_CFLAGS = $(AM_CFLAGS) -O3 -mavx2 -mavx512f -mavx512bw -mavx512vl -mavx512vnni
LIBENCODERS += encoders/libpre_avx512.a encoders/libencoders.a
endif
LIBENCODERS += $(LIBMODEL)
EXTRA_DIST += encoders/README.md
