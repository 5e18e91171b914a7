noinst_LIBRARIES += compute/libcompute.a
compute_libcompute_a_SOURCES = \
  compute/device.h \
  compute/type.c compute/type.h \
  compute/cpu/kernels.h \
  compute/cpu/panel.h \
  compute/cpu/simd.h
compute_libcompute_a_CFLAGS = $(AM_CFLAGS) -O3
LIBCOMPUTE = compute/libcompute.a $(LIBBASE)
