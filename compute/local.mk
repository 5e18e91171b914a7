noinst_LIBRARIES += compute/libcompute.a
compute_libcompute_a_SOURCES = \
  compute/device.h \
  compute/dequant.c \
  compute/half.h \
  compute/quant.c compute/quant.h \
  compute/quant_k.c \
  compute/type.c compute/type.h
LIBCOMPUTE = compute/libcompute.a $(LIBBASE)
