noinst_LIBRARIES += model/libmodel.a
model_libmodel_a_CFLAGS = $(AM_CFLAGS) $(PCRE2_CFLAGS) $(UTF8PROC_CFLAGS) $(JANSSON_CFLAGS) $(CURL_CFLAGS) \
  $(LIBZIP_CFLAGS)
model_libmodel_a_SOURCES = \
  model/catalogue.c model/catalogue.h \
  model/chat.c model/chat.h \
  model/chat_formats.c model/chat_formats.h \
  model/chat_open.c model/chat_open.h \
  model/convert_families.c \
  model/convert_hf.c model/convert_hf.h model/convert_impl.h \
  model/convert_json.c \
  model/convert_plan.c \
  model/convert_pre.c \
  model/convert_rope.c \
  model/convert_sight.c model/convert_sight.h \
  model/convert_sight_kinds.c \
  model/convert_template.c \
  model/convert_text.c \
  model/convert_vocab.c \
  model/convert_whisper.c \
  model/convert_write.c \
  model/ct2.c model/ct2.h \
  model/gguf.h model/gguf_impl.h \
  model/gguf_build.c model/gguf_build.h \
  model/gguf_get.c \
  model/gguf_layout.c \
  model/gguf_read.c \
  model/gguf_write.c \
  model/http.c model/http.h \
  model/libraries.c model/libraries.h \
  model/linear.c model/linear.h \
  model/names.c model/names.h \
  model/pull.c model/pull.h model/pull_impl.h \
  model/pull_ct2.c \
  model/pull_hub.c \
  model/pull_wheel.c \
  model/safetensors.c model/safetensors.h \
  model/sink.c model/sink.h \
  model/source.c model/source.h \
  model/tokenizer.c model/tokenizer.h model/tokenizer_impl.h \
  model/tokenizer_detok.c \
  model/tokenizer_index.c \
  model/tokenizer_merge.c \
  model/tokenizer_nfc.c \
  model/tokenizer_pre.c \
  model/tokenizer_special.c \
  model/tokenizer_split.c \
  model/tokenizer_utf8.c \
  model/tokenizer_vocab.c \
  model/tower.c model/tower.h \
  model/whisper_ct2.c \
  model/whisper_file.c model/whisper_file.h model/whisper_impl.h \
  model/whisper_ggml.c \
  model/whisper_vocab.c
LIBMODEL = model/libmodel.a $(LIBCOMPUTE) $(PCRE2_LIBS) $(UTF8PROC_LIBS) $(JANSSON_LIBS) $(CURL_LIBS) \
  $(LIBZIP_LIBS)

# The catalogue as a C string: one literal a line.
nodist_model_libmodel_a_SOURCES = model/catalogue_json.c
EXTRA_DIST += model/catalogue.json
CLEANFILES += model/catalogue_json.c
model/catalogue_json.c: $(top_srcdir)/model/catalogue.json
	$(AM_V_GEN)$(MKDIR_P) model && { \
	  echo 'extern const char sn_catalogue_json[];'; \
	  echo 'const char sn_catalogue_json[] ='; \
	  sed -e 's/[\\"]/\\&/g' -e 's/^/  "/' -e 's/$$/\\n"/' $(top_srcdir)/model/catalogue.json; \
	  echo ';'; } >$@.tmp && mv $@.tmp $@

# Chat templates
model_libmodel_a_SOURCES += \
  model/template.c model/template.h model/template_impl.h \
  model/template_dict.c \
  model/template_eval.c \
  model/template_exec.c \
  model/template_expr.c \
  model/template_filter.c \
  model/template_format.c \
  model/template_global.c \
  model/template_lex.c \
  model/template_method.c \
  model/template_number.c \
  model/template_ops.c \
  model/template_parse.c \
  model/template_seq.c \
  model/template_stmt.c \
  model/template_str.c \
  model/template_strmeth.c \
  model/template_test.c \
  model/template_text.c \
  model/template_text_ops.c \
  model/template_value.c
