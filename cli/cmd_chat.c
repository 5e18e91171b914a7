/* A conversation. Each turn renders the whole of it again, and sn_generate() finds what was kept of the
 * turn before, so that only new tokens are run, whatever the template does. With a terminal, Ctrl-C ends
 * the answer being made, or the program at the prompt; without one, lines of standard input are the turns
 * and Ctrl-C ends the program. */
#include "config.h"
#include "cli/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

#include "base/mem.h"
#include "cli/conversation.h"
#include "cli/options.h"
#include "cli/pictures.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "llm/generate.h"

struct chat_opts {
    struct cli_model_opts model;
    struct cli_sampling sampling;
    struct cli_picture_opts pictures;
    const char *system, *template;
    bool verbose, echo;
};

struct chat {
    struct chat_opts *o;
    struct cli_session session;
    struct cli_pictures pictures;
    struct cli_conversation conversation;
    struct sn_strbuf said;   /* the answer being made */
    bool out_failed;
    bool terminal;
    char input[4096];        /* read ahead, without a terminal */
    size_t at, n_input;
};

/* --- input --- */

/* Gives up on Ctrl-C, where readline's own function would read on. */
static int read_key(FILE *f)
{
    unsigned char c;
    return cli_wait_input(fileno(f)) && read(fileno(f), &c, 1) == 1 ? c : EOF;
}

/* A byte of standard input; EOF at its end, or once interrupted. */
static int read_byte(struct chat *c)
{
    if (c->at == c->n_input) {
        const ssize_t n = cli_wait_input(STDIN_FILENO)
                              ? read(STDIN_FILENO, c->input, sizeof c->input) : 0;
        c->at = 0;
        c->n_input = n > 0 ? (size_t)n : 0;
    }
    return c->at < c->n_input ? (unsigned char)c->input[c->at++] : EOF;
}

/* The next line of standard input, as read_turn() gives it. */
static char *read_line(struct chat *c)
{
    struct sn_strbuf line = {0};
    int byte = read_byte(c);
    if (byte == EOF)
        return NULL;
    for (; byte != EOF && byte != '\n'; byte = read_byte(c))
        sn_strbuf_putc(&line, (char)byte);
    sn_strbuf_putc(&line, '\0');
    char *text = line.failed ? NULL : strdup(line.data);
    sn_strbuf_fini(&line);
    return text;
}

/* A line without its newline, to be freed with free(), as readline has it; NULL at the end. */
static char *read_turn(struct chat *c)
{
    if (c->terminal) {
        char *line = readline(cli_colours(stdout) ? "\001\033[1m\002> \001\033[0m\002" : "> ");
        if (line && line[0])
            add_history(line);
        return line;
    }
    char *line = read_line(c);
    if (line && c->o->echo && !*cli_interrupted)
        printf("> %s\n", line);
    return line;
}

/* --- a turn --- */

static int on_token(void *ctx, const struct sn_generated *token)
{
    struct chat *c = ctx;
    sn_strbuf_append(&c->said, token->text, token->n_text);
    fwrite(token->text, 1, token->n_text, stdout);
    c->out_failed |= fflush(stdout) != 0;
    return c->out_failed || c->said.failed;
}

static int answer(struct chat *c, const struct sn_prompt *prompt, struct sn_answer *a,
                  struct sn_diag *d)
{
    const struct sn_generate g = {
        .on.llm = c->session.llm, .on.engine = c->session.engine, .on.prefix = c->session.prefix,
        .on.sampling = cli_sampling_cfg(&c->o->sampling), .fn = on_token, .ctx = c,
        .stop = cli_interrupted};
    sn_strbuf_clear(&c->said);
    return sn_generate(&g, prompt, a, d);
}

/* Pictures and sounds belong to what is said first, with what of them became text before it. */
static int add_said(struct chat *c, const char *text, struct sn_diag *d)
{
    struct sn_strbuf said = {.max = SIZE_MAX / 2};
    if (!cli_conversation_is_new(&c->conversation))
        return cli_conversation_add(&c->conversation, "user", text, strlen(text), d);
    sn_strbuf_append(&said, c->pictures.quotes.data, c->pictures.quotes.len);
    sn_strbuf_puts(&said, text);
    const int rc = said.failed ? sn_fail(d, SN_ENOMEM, "a message")
                               : cli_conversation_add_seen(&c->conversation, &c->pictures, &c->o->pictures,
                                                           said.data, said.len, d);
    sn_strbuf_fini(&said);
    return rc;
}

static int turn(struct chat *c, const char *text, struct sn_diag *d)
{
    struct sn_prompt prompt = {0};
    struct sn_answer a;
    int rc = add_said(c, text, d);
    if (rc < 0)
        return rc;
    rc = cli_conversation_prompt(&c->conversation, &c->session, c->pictures.media, c->pictures.n_media,
                                 &prompt, d);
    if (rc == 0)
        rc = answer(c, &prompt, &a, d);
    sn_prompt_fini(&prompt);
    if (rc < 0) {
        cli_conversation_drop(&c->conversation);
        return rc;
    }
    putchar('\n');
    if (c->o->verbose)
        fprintf(stderr,
                "%zu tokens, %zu of them from the cache, + %zu; prefill %.3f s, decode %.3f s\n",
                a.n_prompt, a.n_cached, a.n_tokens, a.prefill_s, a.decode_s);
    if (c->said.failed)
        return sn_fail(d, SN_ENOMEM, "the answer's text");
    return cli_conversation_add(&c->conversation, "assistant", c->said.data ? c->said.data : "",
                                c->said.len, d);
}

/* --- the loop --- */

static void print_help(void)
{
    printf("/help   this list\n/reset  forget the conversation\n/quit   end (so does Ctrl-D)\n");
}

/* A line that begins with '/': true when it was a command; *quit ends the loop. */
static bool slash_command(struct chat *c, const char *line, bool *quit)
{
    if (strcmp(line, "/quit") == 0)
        *quit = true;
    else if (strcmp(line, "/reset") == 0)
        cli_conversation_reset(&c->conversation);
    else if (strcmp(line, "/help") == 0)
        print_help();
    else if (line[0] == '/' && c->terminal)
        printf("no such command; /help lists them\n");
    else
        return false;
    return true;
}

/* 0, or the status that ends the program. An error in a turn ends a piped conversation only. */
static int one_turn(struct chat *c, const char *line)
{
    struct sn_diag d;
    sn_diag_init(&d);
    const int rc = turn(c, line, &d);
    if (rc < 0) {
        const int status = cli_report(&d);
        return c->terminal ? 0 : status;
    }
    if (c->out_failed)
        return CLI_FAILED; /* main() says why */
    if (*cli_interrupted && c->terminal)
        cli_forget_interrupt();
    return 0;
}

static int loop(struct chat *c)
{
    int status = 0;
    bool quit = false;
    while (!status && !quit) {
        char *line = read_turn(c);
        if (line && !*cli_interrupted && line[0] && !slash_command(c, line, &quit))
            status = one_turn(c, line);
        if (!line)
            quit = true;
        free(line);
        if (!status && *cli_interrupted)
            status = CLI_INTERRUPTED;
    }
    if (c->terminal && (quit || status == CLI_INTERRUPTED))
        putchar('\n');
    return status;
}

static int chat_open(struct chat *c, struct chat_opts *o, struct sn_diag *d)
{
    *c = (struct chat){.o = o, .terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)};
    int rc = cli_pictures_start(&o->pictures, &c->pictures, d);
    if (rc == 0)
        rc = cli_session_open(&o->model, NULL, &c->session, d);
    if (rc == 0)
        rc = cli_pictures_see(&o->pictures, &c->session, &c->pictures, d);
    if (rc == 0 && o->verbose)
        cli_pictures_report(&o->pictures, &c->pictures);
    if (rc == 0)
        rc = cli_conversation_open(&c->session, o->template, o->system, &c->conversation, d);
    return rc;
}

static void chat_close(struct chat *c)
{
    cli_conversation_close(&c->conversation);
    cli_pictures_close(&c->pictures);
    cli_session_close(&c->session);
    sn_strbuf_fini(&c->said);
}

static int chat(struct chat_opts *o)
{
    struct sn_diag d;
    sn_diag_init(&d);
    struct chat c;
    int status;
    if (chat_open(&c, o, &d) < 0) {
        status = cli_report(&d);
    } else {
        rl_catch_signals = 0; /* ours: see cli/terminal.h */
        rl_getc_function = read_key;
        if (c.terminal)
            printf("%s (/help lists commands)\n", c.session.path);
        status = loop(&c);
    }
    chat_close(&c);
    return status;
}

int cmd_chat(int argc, char **argv)
{
    struct chat_opts o = {0};
    struct cli_parser p = {
        .command = "chat",
        .synopsis = "-m MODEL [--image FILE]... [--audio FILE]... [OPTION]...",
        .about =
            "A conversation with the model. Pictures and sounds belong to what is said first. Without a\n"
            "terminal each line of standard input is one turn. Lines /help, /reset and /quit are commands.\n"
            "Ctrl-C ends the answer being made.",
        .examples =
            "  sensorium chat -m smollm2\n"
            "  sensorium chat -m smolvlm.gguf --image photo.jpg\n"
            "  printf 'Hello!\\nWhat did I just say?\\n' | sensorium chat -m smollm2\n",
    };
    cli_add_model(&p, &o.model);
    cli_add_pictures(&p, &o.pictures);
    cli_add_sounds(&p, &o.pictures);
    cli_add_transcriber(&p, &o.pictures);
    cli_add_feature_cache(&p, &o.pictures);
    cli_add(&p, (struct cli_option){0, "system", CLI_STRING, &o.system, "TEXT",
                                    "the system message", 0, 0, NULL});
    cli_add(&p, (struct cli_option){0, "template", CLI_STRING, &o.template, "NAME",
                                    "a chat template by name or file (the model's own)", 0, 0,
                                    NULL});
    cli_add(&p, (struct cli_option){'n', "max-tokens", CLI_U32, &o.sampling.cfg.max_tokens, "N",
                                    "most tokens of an answer (what fits)", 0, UINT32_MAX, NULL});
    cli_add_sampling(&p, &o.sampling);
    cli_add(&p, (struct cli_option){0, "echo", CLI_FLAG, &o.echo, NULL,
                                    "print the turns that are read, without a terminal", 0, 0,
                                    NULL});
    cli_add(&p, (struct cli_option){'v', "verbose", CLI_FLAG, &o.verbose, NULL,
                                    "counts and times on standard error", 0, 0, NULL});
    cli_add_compute(&p, &o.model);
    cli_add_context(&p, &o.model);
    int status = cli_parse(&p, argc, argv);
    if (status == CLI_GO)
        status = cli_check_model(&p, &o.model);
    if (status == CLI_GO && p.n_args)
        status = cli_usage(&p, "unexpected argument '%s'", p.args[0]);
    if (status == CLI_GO) {
        cli_catch_interrupt();
        status = chat(&o);
    }
    cli_sampling_fini(&o.sampling);
    cli_picture_opts_fini(&o.pictures);
    return status;
}
