/* sensorium: one program, a command per task. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal.h"

struct command {
    const char *name; /* NULL: a heading */
    int (*run)(int argc, char **argv);
    const char *summary;
};

static const struct command commands[] = {
    {NULL, NULL, "Answers"},
    {"generate", cmd_generate, "text that continues or answers a prompt"},
    {"ask", cmd_ask, "what a model says about pictures and sounds"},
    {"chat", cmd_chat, "a conversation"},
    {"transcribe", cmd_transcribe, "what is said in recordings and videos"},
    {"caption", cmd_caption, "captions for folders of pictures, recordings and videos"},
    {NULL, NULL, "Jobs of sensoriumd"},
    {"submit", cmd_submit, "a job for the daemon"},
    {"status", cmd_status, "how jobs fare"},
    {"wait", cmd_wait, "results of jobs, once they are there"},
    {"watch", cmd_watch, "a job's text as it is made"},
    {"cancel", cmd_cancel, "end jobs"},
    {"requeue", cmd_requeue, "give jobs that ended badly another chance"},
    {"delete", cmd_delete, "forget jobs and their results"},
    {"jobs", cmd_jobs, "a table of jobs"},
    {"top", cmd_top, "what the daemon does, live"},
    {"keygen", cmd_keygen, "keys for a daemon that others reach over the network"},
    {NULL, NULL, "Models"},
    {"pull", cmd_pull, "download a model of the catalogue"},
    {"convert", cmd_convert, "a model of another format as GGUF"},
    {"inspect", cmd_inspect, "what is in a GGUF file"},
    {"quantize", cmd_quantize, "a smaller copy of a model"},
    {NULL, NULL, "Measuring, and single steps"},
    {"estimate", cmd_estimate, "what pictures would cost a model"},
    {"encode", cmd_encode, "what a model's encoder makes of a picture"},
    {"tokenize", cmd_tokenize, "text to token ids"},
    {"detokenize", cmd_detokenize, "token ids to text"},
    {"logits", cmd_logits, "the model's raw output, as a NumPy file"},
    {"perplexity", cmd_perplexity, "how well a model predicts a text"},
    {"bench", cmd_bench, "how fast a model runs here"},
    {"doctor", cmd_doctor, "what Sensorium finds on this machine"},
};

static int print_help(void)
{
    printf("Usage: sensorium COMMAND [OPTION]...\n\n"
           "Runs open-weight language models from GGUF files.\n");
    for (size_t i = 0; i < SN_COUNT(commands); i++)
        if (commands[i].name)
            printf("  %-12s%s\n", commands[i].name, commands[i].summary);
        else
            printf("\n%s:\n", commands[i].summary);
    printf("\n'sensorium COMMAND --help' tells more, with examples.\n\n"
           "Exit status: 0 done, 1 failed, 2 used wrongly, 3 some of it failed, 130 interrupted.\n");
    return CLI_OK;
}

static int unknown(const char *word)
{
    const char *names[SN_COUNT(commands)];
    size_t n = 0;
    for (size_t i = 0; i < SN_COUNT(commands); i++)
        if (commands[i].name)
            names[n++] = commands[i].name;
    const char *near = cli_nearest(word, names, n);
    cli_begin_error();
    fprintf(stderr, "'%s' is not a command", word);
    if (near)
        fprintf(stderr, "; did you mean '%s'?", near);
    fprintf(stderr, "\nTry 'sensorium --help'.\n");
    return CLI_USAGE;
}

static int dispatch(int argc, char **argv)
{
    const char *word = argv[1];
    if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help"))
        return print_help();
    if (!strcmp(word, "--version") || !strcmp(word, "-V")) {
        printf("sensorium %s\n", PACKAGE_VERSION);
        return CLI_OK;
    }
    for (size_t i = 0; i < SN_COUNT(commands); i++)
        if (commands[i].name && strcmp(word, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return unknown(word);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        cli_begin_error();
        fprintf(stderr, "a command is needed\nTry 'sensorium --help'.\n");
        return CLI_USAGE;
    }
    const int status = dispatch(argc, argv);
    if (!cli_close_stdout() && status == CLI_OK)
        return CLI_FAILED;
    return status;
}
