# The commands are a library, so that tests can run each without the program around it.
noinst_LIBRARIES += cli/libcli.a
cli_libcli_a_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(UTF8PROC_CFLAGS)
cli_libcli_a_SOURCES = \
  cli/cmd.h \
  cli/cmd_inspect.c \
  cli/cmd_pull.c \
  cli/inspect.h cli/inspect_gguf.c cli/inspect_safetensors.c \
  cli/progress.c cli/progress.h \
  cli/text.c cli/text.h
LIBCLI = cli/libcli.a $(LIBMODEL)
