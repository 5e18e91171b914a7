noinst_LIBRARIES += model/libmodel.a
model_libmodel_a_CFLAGS = $(AM_CFLAGS) $(PCRE2_CFLAGS) $(UTF8PROC_CFLAGS) $(JANSSON_CFLAGS) $(CURL_CFLAGS)
model_libmodel_a_SOURCES =
LIBMODEL = model/libmodel.a $(LIBCOMPUTE) $(PCRE2_LIBS) $(UTF8PROC_LIBS) $(JANSSON_LIBS) $(CURL_LIBS)
