check_PROGRAMS += tests/compute/test_mm
TESTS += tests/compute/test_mm
tests_compute_test_mm_SOURCES = tests/compute/test_mm.c tests/test.h
tests_compute_test_mm_CFLAGS = $(TEST_CFLAGS)
tests_compute_test_mm_LDADD = $(LIBCOMPUTE) $(TEST_LIBS)
check_PROGRAMS += tests/compute/test_type
TESTS += tests/compute/test_type
tests_compute_test_type_SOURCES = tests/compute/test_type.c tests/test.h
tests_compute_test_type_CFLAGS = $(TEST_CFLAGS)
tests_compute_test_type_LDADD = $(LIBCOMPUTE) $(TEST_LIBS)
EXTRA_DIST += \
  tests/reference/quants_golden.py \
  tests/compute/golden/bf16.bin \
  tests/compute/golden/f16.bin \
  tests/compute/golden/iq4_nl.bin \
  tests/compute/golden/iq4_xs.bin \
  tests/compute/golden/mxfp4.bin \
  tests/compute/golden/nvfp4.bin \
  tests/compute/golden/q1_0.bin \
  tests/compute/golden/q2_0.bin \
  tests/compute/golden/q2_k.bin \
  tests/compute/golden/q3_k.bin \
  tests/compute/golden/q4_0.bin \
  tests/compute/golden/q4_1.bin \
  tests/compute/golden/q4_k.bin \
  tests/compute/golden/q5_0.bin \
  tests/compute/golden/q5_1.bin \
  tests/compute/golden/q5_k.bin \
  tests/compute/golden/q6_k.bin \
  tests/compute/golden/q8_0.bin \
  tests/compute/golden/tq1_0.bin \
  tests/compute/golden/tq2_0.bin

check_PROGRAMS += tests/compute/checkasm
TESTS += tests/compute/checkasm
tests_compute_checkasm_SOURCES = \
  tests/compute/checkasm.c tests/compute/checkasm.h \
  tests/compute/check_attn.c \
  tests/compute/check_vec.c
tests_compute_checkasm_CFLAGS = $(TEST_CFLAGS)
tests_compute_checkasm_LDADD = $(LIBCOMPUTE)

check_PROGRAMS += tests/compute/test_kernels
TESTS += tests/compute/test_kernels
tests_compute_test_kernels_SOURCES = tests/compute/test_kernels.c tests/test.h
tests_compute_test_kernels_CFLAGS = $(TEST_CFLAGS)
tests_compute_test_kernels_LDADD = $(LIBCOMPUTE) $(TEST_LIBS)
