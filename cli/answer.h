#ifndef SN_CLI_ANSWER_H
#define SN_CLI_ANSWER_H
/* One prompt, one answer, or several about the same media: what `generate` and `ask` share. */

#include "cli/options.h"
#include "cli/pictures.h"

struct cli_answer_opts {
    struct cli_model_opts model;
    struct cli_sampling sampling;
    struct cli_picture_opts pictures;
    const char *prompt, *file, *tokens; /* one of them */
    char *const *questions;             /* (n_questions), or these: each is answered by itself */
    size_t n_questions;
    const char *system, *template;
    bool raw, ids, json, verbose;
};
void cli_add_chat(struct cli_parser *p, struct cli_answer_opts *o);          /* --system, --template, -n */
void cli_add_answer_output(struct cli_parser *p, struct cli_answer_opts *o); /* --ids, --json, ... */
/* CLI_GO, or a usage error. */
int cli_answer_check(const struct cli_parser *p, const struct cli_answer_opts *o);
/* Runs it and prints the answer; the exit status. */
int cli_answer(struct cli_answer_opts *o);
void cli_answer_opts_fini(struct cli_answer_opts *o);

#endif
