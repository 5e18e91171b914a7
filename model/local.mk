noinst_LIBRARIES += model/libmodel.a
model_libmodel_a_CFLAGS = $(AM_CFLAGS) $(PCRE2_CFLAGS) $(UTF8PROC_CFLAGS) $(JANSSON_CFLAGS) $(CURL_CFLAGS)
model_libmodel_a_SOURCES =
LIBMODEL = model/libmodel.a $(LIBCOMPUTE) $(PCRE2_LIBS) $(UTF8PROC_LIBS) $(JANSSON_LIBS) $(CURL_LIBS)

# Chat templates
model_libmodel_a_SOURCES += \
  model/template.c model/template.h model/template_impl.h \
  model/template_dict.c \
  model/template_eval.c \
  model/template_exec.c \
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
