# Unit tests: tests/<folder>/test_<subject>.c, linked with that folder's library and what is below.
TEST_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
TEST_LIBS = $(CMOCKA_LIBS)

# Scripts: what they may read of their surroundings is in environment.sh.
TEST_EXTENSIONS = .py .sh
PY_LOG_COMPILER = $(PYTHON3)
SH_LOG_COMPILER = $(SHELL)
AM_TESTS_ENVIRONMENT = \
  SENSORIUM='$(abs_top_builddir)/sensorium$(EXEEXT)'; \
  SENSORIUMD='$(abs_top_builddir)/sensoriumd$(EXEEXT)'; export SENSORIUMD; \
  SN_CC='$(CC) $(SN_LDFLAGS)'; SN_BUILDDIR='$(abs_top_builddir)'; SN_CPPFLAGS='$(DEFS) $(PKG_CPPFLAGS)'; \
  PYTHONDONTWRITEBYTECODE=1; export SN_CC SN_BUILDDIR SN_CPPFLAGS PYTHONDONTWRITEBYTECODE; \
  . '$(abs_top_srcdir)/tests/environment.sh';
PKG_CPPFLAGS = $(MEDIA_CFLAGS) $(CRYPTO_CFLAGS) $(PCRE2_CFLAGS) $(UTF8PROC_CFLAGS) $(JANSSON_CFLAGS) \
  $(CURL_CFLAGS) $(READLINE_CFLAGS) $(ZMQ_CFLAGS) $(SQLITE_CFLAGS) $(MHD_CFLAGS) $(SYSTEMD_CFLAGS)
EXTRA_DIST += tests/environment.sh

dist_check_SCRIPTS += tests/headers.sh tests/style.sh
TESTS += tests/headers.sh tests/style.sh
include $(top_srcdir)/tests/base/local.mk
include $(top_srcdir)/tests/compute/local.mk
include $(top_srcdir)/tests/model/local.mk
include $(top_srcdir)/tests/llm/local.mk
include $(top_srcdir)/tests/media/local.mk
include $(top_srcdir)/tests/queue/local.mk
include $(top_srcdir)/tests/encoders/local.mk
include $(top_srcdir)/tests/fusion/local.mk
include $(top_srcdir)/tests/pipeline/local.mk
include $(top_srcdir)/tests/reference/local.mk
include $(top_srcdir)/tests/cli/local.mk
include $(top_srcdir)/tests/lib/local.mk
include $(top_srcdir)/tests/daemon/local.mk
include $(top_srcdir)/tests/clients/local.mk
include $(top_srcdir)/tests/fuzz/local.mk
