#include "config.h"
#include "cli/commands.h"

#include "base/mem.h"
#include "cli/answer.h"

static int check(const struct cli_parser *p, const struct cli_answer_opts *o)
{
    const int status = cli_answer_check(p, o);
    if (status != CLI_GO)
        return status;
    if (p->n_args)
        return cli_usage(p, "unexpected argument '%s' (the prompt is given with -p)", p->args[0]);
    if (!!o->prompt + !!o->file + !!o->tokens != 1)
        return cli_usage(p, "one of -p, -f and --tokens is needed");
    if (o->tokens && o->pictures.n_files)
        return cli_usage(p, "--tokens are the whole prompt: there is no place for media");
    if ((o->raw || o->tokens) && (o->system || o->template))
        return cli_usage(p, "--system and --template need a chat prompt, not --raw or --tokens");
    return CLI_GO;
}

static void add_prompt_options(struct cli_parser *p, struct cli_answer_opts *o)
{
    const struct cli_option list[] = {
        {'p', "prompt", CLI_STRING, &o->prompt, "TEXT", "what to answer", 0, 0, NULL},
        {'f', "file", CLI_STRING, &o->file, "FILE",
         "the same from a file; '-': standard input", 0, 0, NULL},
        {0, "tokens", CLI_STRING, &o->tokens, "IDS",
         "a prompt of token ids: 1,2,3; implies --raw", 0, 0, NULL},
        {0, "raw", CLI_FLAG, &o->raw, NULL,
         "continue the prompt as it is, without chat template", 0, 0, NULL},
    };
    for (size_t i = 0; i < SN_COUNT(list); i++)
        cli_add(p, list[i]);
}

int cmd_generate(int argc, char **argv)
{
    struct cli_answer_opts o = {.sampling.cfg.max_tokens = 512};
    struct cli_parser p = {
        .command = "generate",
        .synopsis = "-m MODEL (-p TEXT | -f FILE | --tokens IDS) [OPTION]...",
        .about =
            "Answers a prompt and prints the answer as it is made. The prompt becomes one user turn\n"
            "of the model's chat template; with --raw it is continued as it is (the texts of\n"
            "control tokens are recognised, the beginning token is added as the file says, and media\n"
            "stand where it has <__media__>, in order; without it they come first).",
        .examples =
            "  sensorium generate -m smollm2 -p 'What is the capital of France?'\n"
            "  sensorium generate -m smollm2 --raw -p 'Once upon a time' --temperature 0.8 --seed 7\n"
            "  sensorium generate -m model.gguf --tokens 1,2,3 -n 16 --ids\n",
    };
    cli_add_model(&p, &o.model);
    add_prompt_options(&p, &o);
    cli_add_chat(&p, &o);
    cli_add_pictures(&p, &o.pictures);
    cli_add_sounds(&p, &o.pictures);
    cli_add_videos(&p, &o.pictures);
    cli_add_transcriber(&p, &o.pictures);
    cli_add_feature_cache(&p, &o.pictures);
    cli_add_sampling(&p, &o.sampling);
    cli_add_answer_output(&p, &o);
    cli_add_compute(&p, &o.model);
    cli_add_context(&p, &o.model);
    int status = cli_parse(&p, argc, argv);
    if (status == CLI_GO)
        status = check(&p, &o);
    if (status == CLI_GO)
        status = cli_answer(&o);
    cli_answer_opts_fini(&o);
    return status;
}
