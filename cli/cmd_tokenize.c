#include "config.h"
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/session.h"

enum { TEXT_MAX = 256 << 20 }; /* bytes read from standard input */

static void print_ids(const struct sn_ids *ids)
{
    for (size_t i = 0; i < ids->n; i++)
        printf("%s%d", i ? " " : "", ids->v[i]);
    putchar('\n');
}

static int print_tokens(const struct sn_tokenizer *t, const struct sn_ids *ids, struct sn_diag *d)
{
    json_t *tokens = json_array();
    struct sn_strbuf piece = {0};
    int rc = 0;
    for (size_t i = 0; i < ids->n && rc == 0; i++) {
        sn_strbuf_clear(&piece);
        rc = sn_tokenizer_piece(t, ids->v[i], true, &piece, d);
        json_t *token = json_object();
        cli_json_set(token, "id", json_integer(ids->v[i]));
        cli_json_set(token, "text", sn_json_text(piece.data ? piece.data : "", piece.len));
        json_array_append_new(tokens, token);
    }
    sn_strbuf_fini(&piece);
    json_t *object = json_object();
    cli_json_set(object, "ids", cli_json_ids(ids->v, ids->n));
    cli_json_set(object, "tokens", tokens);
    if (rc == 0)
        return cli_json_print(object, d);
    json_decref(object);
    return rc;
}

static int tokenize(const char *model, const char *text, unsigned flags, bool json,
                    struct sn_diag *d)
{
    struct sn_tokenizer *t = NULL;
    struct sn_ids ids = {0};
    char *input = NULL;
    size_t n = strlen(text);
    int rc = cli_open_tokenizer(model, &t, d);
    if (rc == 0 && strcmp(text, "-") == 0) {
        rc = sn_file_read("-", TEXT_MAX, &input, &n, d);
        text = input;
    }
    if (rc == 0)
        rc = sn_tokenizer_encode(t, text, n, flags, &ids, d);
    if (rc == 0 && json)
        rc = print_tokens(t, &ids, d);
    else if (rc == 0)
        print_ids(&ids);
    sn_free(input);
    sn_ids_fini(&ids);
    sn_tokenizer_free(&t);
    return rc;
}

int cmd_tokenize(int argc, char **argv)
{
    struct cli_model_opts m = {0};
    bool no_special = false, json = false;
    struct cli_parser p = {
        .command = "tokenize",
        .synopsis = "-m MODEL [OPTION]... TEXT",
        .about =
            "Prints the token ids of TEXT ('-': all of standard input) on one line. The texts of\n"
            "control tokens become those tokens, and the beginning and end tokens are added as\n"
            "the file says. A file that holds nothing but a vocabulary will do.",
        .examples =
            "  sensorium tokenize -m smollm2 'Hello, world'\n"
            "  sensorium tokenize -m smollm2 --json - <letter.txt\n",
    };
    cli_add_model(&p, &m);
    cli_add(&p, (struct cli_option){0, "no-special", CLI_FLAG, &no_special, NULL,
                                    "plain text: no control tokens, none added", 0, 0, NULL});
    cli_add(&p, (struct cli_option){0, "json", CLI_FLAG, &json, NULL,
                                    "ids, and the text of each token", 0, 0, NULL});
    int rc = cli_parse(&p, argc, argv);
    if (rc == CLI_GO)
        rc = cli_check_model(&p, &m);
    if (rc != CLI_GO)
        return rc;
    if (p.n_args != 1)
        return cli_usage(&p, "one TEXT is needed, %d were given", p.n_args);
    struct sn_diag d;
    sn_diag_init(&d);
    rc = tokenize(m.model, p.args[0], no_special ? 0 : SN_TOK_SPECIAL | SN_TOK_BOS_EOS, json, &d);
    return rc < 0 ? cli_report(&d) : CLI_OK;
}
