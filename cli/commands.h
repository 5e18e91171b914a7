#ifndef SN_CLI_COMMANDS_H
#define SN_CLI_COMMANDS_H
/* The commands of `sensorium`: one file each, cmd_<name>.c. argv[0] is the command's name; the
 * result is the exit status (enum cli_status). */

int cmd_ask(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_cancel(int argc, char **argv);
int cmd_caption(int argc, char **argv);
int cmd_chat(int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_delete(int argc, char **argv);
int cmd_detokenize(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_encode(int argc, char **argv);
int cmd_estimate(int argc, char **argv);
int cmd_generate(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_jobs(int argc, char **argv);
int cmd_keygen(int argc, char **argv);
int cmd_logits(int argc, char **argv);
int cmd_perplexity(int argc, char **argv);
int cmd_pull(int argc, char **argv);
int cmd_quantize(int argc, char **argv);
int cmd_requeue(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_submit(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_transcribe(int argc, char **argv);
int cmd_wait(int argc, char **argv);
int cmd_watch(int argc, char **argv);

#endif
