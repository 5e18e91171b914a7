# All but main() is a library, so that tests can link pieces of it.
noinst_LIBRARIES += cli/libcli.a
cli_libcli_a_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(UTF8PROC_CFLAGS) $(READLINE_CFLAGS)
cli_libcli_a_SOURCES = \
  cli/answer.c cli/answer.h \
  cli/bandwidth.c cli/bandwidth.h \
  cli/caption.h \
  cli/caption_daemon.c cli/caption_daemon.h \
  cli/caption_format.c cli/caption_format.h \
  cli/caption_jobs.c cli/caption_jobs.h \
  cli/caption_ledger.c cli/caption_ledger.h \
  cli/caption_link.c cli/caption_link.h \
  cli/caption_output.c cli/caption_output.h \
  cli/caption_page.c cli/caption_page.h \
  cli/caption_plan.c cli/caption_plan.h \
  cli/caption_report.c cli/caption_report.h \
  cli/caption_run.c cli/caption_run_impl.h \
  cli/caption_settings.c cli/caption_settings.h \
  cli/caption_sidecar.c cli/caption_sidecar.h \
  cli/caption_table.c cli/caption_table.h \
  cli/caption_text.c cli/caption_text.h \
  cli/caption_thumb.c cli/caption_thumb.h \
  cli/caption_walk.c cli/caption_walk.h \
  cli/caption_watch.c cli/caption_watch.h \
  cli/caption_work.c \
  cli/cmd_ask.c \
  cli/cmd_cancel.c \
  cli/cmd_jobs.c \
  cli/cmd_keygen.c \
  cli/cmd_status.c \
  cli/cmd_submit.c \
  cli/cmd_top.c \
  cli/cmd_wait.c \
  cli/cmd_watch.c \
  cli/bench_media.c cli/bench_media.h \
  cli/cmd_bench.c \
  cli/cmd_caption.c \
  cli/cmd_chat.c \
  cli/cmd_convert.c \
  cli/cmd_detokenize.c \
  cli/cmd_doctor.c \
  cli/cmd_encode.c \
  cli/cmd_estimate.c \
  cli/cmd_generate.c \
  cli/cmd_inspect.c \
  cli/cmd_logits.c \
  cli/cmd_perplexity.c \
  cli/cmd_pull.c \
  cli/cmd_quantize.c \
  cli/cmd_tokenize.c \
  cli/cmd_transcribe.c \
  cli/commands.h \
  cli/connect.c cli/connect.h \
  cli/conversation.c cli/conversation.h \
  cli/inspect.h cli/inspect_gguf.c cli/inspect_safetensors.c \
  cli/job_each.c cli/job_each.h \
  cli/job_follow.c cli/job_follow.h \
  cli/job_header.c cli/job_header.h \
  cli/job_print.c cli/job_print.h \
  cli/json.c cli/json.h \
  cli/machine.c cli/machine.h \
  cli/npy.c cli/npy.h \
  cli/options.c cli/options.h \
  cli/perplexity.c cli/perplexity.h \
  cli/pictures.c cli/pictures.h \
  cli/pictures_report.c \
  cli/sounds.c cli/sounds.h \
  cli/progress.c cli/progress.h \
  cli/quantize.c cli/quantize.h \
  cli/quantize_plan.c \
  cli/session.c cli/session.h \
  cli/shared_options.c \
  cli/terminal.c cli/terminal.h \
  cli/text.c cli/text.h \
  cli/transcript.c cli/transcript.h \
  cli/videos.c cli/videos.h
LIBCLI = cli/libcli.a $(LIBQUEUE) $(LIBPIPELINE) $(LIBMEDIA) $(READLINE_LIBS)

bin_PROGRAMS += sensorium
sensorium_SOURCES = cli/main.c
sensorium_LDADD = $(LIBCLI)
