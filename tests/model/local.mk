check_PROGRAMS += tests/model/render_template
tests_model_render_template_SOURCES = tests/model/render_template.c
tests_model_render_template_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_model_render_template_LDADD = $(LIBMODEL)
