noinst_LIBRARIES += cli/libquantize.a
cli_libquantize_a_SOURCES = cli/quantize.c cli/quantize.h cli/quantize_plan.c

bin_PROGRAMS += cli/sensorium
cli_sensorium_SOURCES = \
  cli/bandwidth.c cli/bandwidth.h \
  cli/cmd_bench.c \
  cli/cmd_chat.c \
  cli/cmd_detokenize.c \
  cli/cmd_doctor.c \
  cli/cmd_generate.c \
  cli/cmd_inspect.c \
  cli/cmd_logits.c \
  cli/cmd_perplexity.c \
  cli/cmd_pull.c \
  cli/cmd_quantize.c \
  cli/cmd_tokenize.c \
  cli/commands.h \
  cli/conversation.c cli/conversation.h \
  cli/json.c cli/json.h \
  cli/machine.c cli/machine.h \
  cli/main.c \
  cli/options.c cli/options.h \
  cli/perplexity.c cli/perplexity.h \
  cli/session.c cli/session.h \
  cli/shared_options.c \
  cli/terminal.c cli/terminal.h
cli_sensorium_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(READLINE_CFLAGS)
cli_sensorium_LDADD = cli/libquantize.a $(LIBLLM) $(LIBMODEL) $(READLINE_LIBS)
