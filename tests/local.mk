# Unit tests: tests/<folder>/test_<subject>.c, linked with that folder's library and what is below.
TEST_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
TEST_LIBS = $(CMOCKA_LIBS)
# Python tests: 77 (skipped) without numpy or without what they test. SN_TEST_PYTHON names another
# interpreter, such as a virtual environment's.
TEST_EXTENSIONS = .py
PY_LOG_COMPILER = $${SN_TEST_PYTHON:-$(PYTHON3)}
include $(top_srcdir)/tests/base/local.mk
include $(top_srcdir)/tests/compute/local.mk
include $(top_srcdir)/tests/model/local.mk
include $(top_srcdir)/tests/llm/local.mk
include $(top_srcdir)/tests/reference/local.mk
include $(top_srcdir)/tests/cli/local.mk
include $(top_srcdir)/tests/fuzz/local.mk
