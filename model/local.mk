noinst_LIBRARIES += model/libmodel.a
model_libmodel_a_CFLAGS = $(AM_CFLAGS) $(PCRE2_CFLAGS) $(UTF8PROC_CFLAGS) $(JANSSON_CFLAGS) $(CURL_CFLAGS)
model_libmodel_a_SOURCES = \
  model/gguf.h model/gguf_impl.h \
  model/gguf_get.c \
  model/gguf_layout.c \
  model/gguf_read.c \
  model/gguf_write.c \
  model/names.c model/names.h \
  model/safetensors.c model/safetensors.h \
  model/tokenizer.c model/tokenizer.h model/tokenizer_impl.h \
  model/tokenizer_detok.c \
  model/tokenizer_index.c \
  model/tokenizer_merge.c \
  model/tokenizer_nfc.c \
  model/tokenizer_pre.c \
  model/tokenizer_special.c \
  model/tokenizer_split.c \
  model/tokenizer_utf8.c \
  model/tokenizer_vocab.c
LIBMODEL = model/libmodel.a $(LIBCOMPUTE) $(PCRE2_LIBS) $(UTF8PROC_LIBS) $(JANSSON_LIBS) $(CURL_LIBS)
