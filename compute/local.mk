noinst_LIBRARIES += compute/libcompute.a
compute_libcompute_a_SOURCES = compute/type.c compute/type.h compute/device.h
LIBCOMPUTE = compute/libcompute.a $(LIBBASE)
