noinst_LIBRARIES += model/libmodel.a
model_libmodel_a_CFLAGS = $(AM_CFLAGS) $(PCRE2_CFLAGS) $(UTF8PROC_CFLAGS) $(JANSSON_CFLAGS) $(CURL_CFLAGS)
model_libmodel_a_SOURCES = \
  model/gguf.h model/gguf_impl.h \
  model/gguf_get.c \
  model/gguf_layout.c \
  model/gguf_read.c \
  model/gguf_write.c \
  model/names.c model/names.h
LIBMODEL = model/libmodel.a $(LIBCOMPUTE) $(PCRE2_LIBS) $(UTF8PROC_LIBS) $(JANSSON_LIBS) $(CURL_LIBS)
