noinst_LIBRARIES += compute/libcompute.a
compute_libcompute_a_SOURCES = \
  compute/device.h \
  compute/dequant.c \
  compute/half.h \
  compute/quant.c compute/quant.h \
  compute/quant_k.c \
  compute/type.c compute/type.h
compute_libcompute_a_CFLAGS = $(AM_CFLAGS)
include $(top_srcdir)/compute/cpu/local.mk
LIBCOMPUTE = compute/libcompute.a $(LIBKERNELS) $(LIBBASE)
