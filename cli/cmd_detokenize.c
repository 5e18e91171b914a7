#include "config.h"
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/options.h"
#include "cli/session.h"

enum { LIST_MAX = 256 << 20 }; /* bytes of a list of ids */

static int detokenize(const char *model, const char *list, bool special, struct sn_diag *d)
{
    struct sn_tokenizer *t = NULL;
    struct sn_ids ids = {0};
    struct sn_strbuf text = {0};
    char *input = NULL;
    size_t n;
    int rc = cli_open_tokenizer(model, &t, d);
    if (rc == 0 && strcmp(list, "-") == 0)
        rc = sn_file_read("-", LIST_MAX, &input, &n, d);
    if (rc == 0)
        rc = cli_parse_ids(input ? input : list, &ids, d);
    if (rc == 0)
        rc = sn_tokenizer_decode(t, ids.v, ids.n, special, &text, d);
    if (rc == 0 && text.failed)
        rc = sn_fail(d, SN_ENOMEM, "the text of %zu tokens", ids.n);
    if (rc == 0 && text.len)
        fwrite(text.data, 1, text.len, stdout);
    sn_free(input);
    sn_strbuf_fini(&text);
    sn_ids_fini(&ids);
    sn_tokenizer_free(&t);
    return rc;
}

int cmd_detokenize(int argc, char **argv)
{
    struct cli_model_opts m = {0};
    bool special = false;
    struct cli_parser p = {
        .command = "detokenize",
        .synopsis = "-m MODEL [OPTION]... IDS",
        .about =
            "Prints the text of token ids ('-': from standard input), exactly: no newline is added.\n"
            "IDS are separated by commas or blanks.",
        .examples =
            "  sensorium detokenize -m smollm2 19556,28,905\n"
            "  sensorium tokenize -m smollm2 'Hello' | sensorium detokenize -m smollm2 -\n",
    };
    cli_add_model(&p, &m);
    cli_add(&p, (struct cli_option){0, "special", CLI_FLAG, &special, NULL,
                                    "show control tokens as their texts", 0, 0, NULL});
    int rc = cli_parse(&p, argc, argv);
    if (rc == CLI_GO)
        rc = cli_check_model(&p, &m);
    if (rc != CLI_GO)
        return rc;
    if (p.n_args != 1)
        return cli_usage(&p, "one list of IDS is needed, %d were given", p.n_args);
    struct sn_diag d;
    sn_diag_init(&d);
    rc = detokenize(m.model, p.args[0], special, &d);
    return rc < 0 ? cli_report(&d) : CLI_OK;
}
