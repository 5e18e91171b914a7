noinst_LIBRARIES += base/libbase.a
base_libbase_a_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS)
base_libbase_a_SOURCES = \
  base/clock.h \
  base/diag.c base/diag.h \
  base/disk_cache.c base/disk_cache.h \
  base/file.c base/file.h \
  base/hash.c base/hash.h \
  base/media.c base/media.h \
  base/prompt.c base/prompt.h \
  base/mem.c base/mem.h \
  base/pool.c base/pool.h \
  base/strbuf.c base/strbuf.h \
  base/turn.c base/turn.h
LIBBASE = base/libbase.a $(CRYPTO_LIBS)
EXTRA_DIST += base/README.md
