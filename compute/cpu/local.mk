# The CPU device. Each ISA is its own small library with its own flags; its object also carries the
# templates (*_tmpl.h).
compute_libcompute_a_SOURCES += \
  compute/cpu/act.h \
  compute/cpu/attention.c \
  compute/cpu/attention_float_tmpl.h \
  compute/cpu/attention_int_tmpl.h \
  compute/cpu/attention_tmpl.h \
  compute/cpu/attn_layout.h \
  compute/cpu/choose.c \
  compute/cpu/coef.h \
  compute/cpu/cpu.h \
  compute/cpu/device.c \
  compute/cpu/kernels.h \
  compute/cpu/kv_layout.c \
  compute/cpu/math_tmpl.h \
  compute/cpu/matmul.c \
  compute/cpu/mm8_tmpl.h \
  compute/cpu/mm_tmpl.h \
  compute/cpu/panel.c compute/cpu/panel.h \
  compute/cpu/scalar.h \
  compute/cpu/scalar_attn.c \
  compute/cpu/scalar_math.h \
  compute/cpu/scalar_mm.c \
  compute/cpu/scalar_vec.c \
  compute/cpu/simd.h \
  compute/cpu/vec_tmpl.h \
  compute/cpu/weights.c

LIBKERNELS =
if HAVE_AVX2
noinst_LIBRARIES += compute/libk_avx2.a
compute_libk_avx2_a_SOURCES = compute/cpu/kernels_avx2.c
compute_libk_avx2_a_CFLAGS = $(AM_CFLAGS) -mavx2 -mfma -mf16c
LIBKERNELS += compute/libk_avx2.a
endif
if HAVE_AVX512
noinst_LIBRARIES += compute/libk_avx512.a
compute_libk_avx512_a_SOURCES = compute/cpu/kernels_avx512.c
compute_libk_avx512_a_CFLAGS = $(AM_CFLAGS) -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni
LIBKERNELS += compute/libk_avx512.a
endif
if HAVE_NEON
noinst_LIBRARIES += compute/libk_neon.a
compute_libk_neon_a_SOURCES = compute/cpu/kernels_neon.c
compute_libk_neon_a_CFLAGS = $(AM_CFLAGS)
LIBKERNELS += compute/libk_neon.a
endif
