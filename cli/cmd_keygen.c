#include "config.h"
#include "cli/commands.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/options.h"
#include "queue/keys.h"

enum { NAME_MAX_BYTES = 63 };

struct keygen {
    const char *name, *role, *file;
    bool server;
};

/* It becomes a file's name and a tenant's. */
static bool is_name(const char *s)
{
    for (size_t i = 0; s[i]; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("._-", s[i]))
            return false;
    return s[0] && s[0] != '.' && s[0] != '-' && strlen(s) <= NAME_MAX_BYTES;
}

static bool is_role(const char *s)
{
    return strcmp(s, "submit") == 0 || strcmp(s, "read") == 0 || strcmp(s, "admin") == 0;
}

static int check(const struct cli_parser *p, const struct keygen *k)
{
    if (p->n_args > 1)
        return cli_usage(p, "one FILE at most, but %d were given", p->n_args);
    if (k->server == !!k->name)
        return cli_usage(p, "either --server or --name TENANT is needed");
    if (k->server && k->role)
        return cli_usage(p, "--role is a client's");
    if (k->name && !is_name(k->name))
        return cli_usage(p, "--name: '%s' is not letters, digits, dots, dashes and underscores (63 at most)",
                         k->name);
    if (k->role && !is_role(k->role))
        return cli_usage(p, "--role: '%s' is none of submit, read, admin", k->role);
    return CLI_GO;
}

static void print_where(const struct keygen *k, const char *file)
{
    if (k->server) {
        printf("%s_secret  stays with the daemon: 'certificate' in its configuration. Nobody else may read it.\n"
               "%s         goes to clients: --server-key\n", file, file);
    } else {
        printf("%s_secret  goes to the client: --cert %s. Whoever has it is '%s'.\n"
               "%s         goes into the daemon's folder of client certificates ('clients')\n", file, file, k->name,
               file);
    }
}

static int make(const struct keygen *k)
{
    char name[NAME_MAX_BYTES + 8];
    snprintf(name, sizeof name, "%s.cert", k->server ? "server" : k->name);
    const char *file = k->file ? k->file : name;
    const struct sn_keys_note notes[] = {{"name", k->name}, {"role", k->role ? k->role : "submit"}};
    struct sn_keys keys;
    struct sn_diag d;
    sn_diag_init(&d);
    const int rc = sn_keys_make(file, notes, k->server ? 0 : SN_COUNT(notes), &keys, &d);
    sn_keys_fini(&keys);
    if (rc < 0)
        return cli_report(&d);
    print_where(k, file);
    return CLI_OK;
}

int cmd_keygen(int argc, char **argv)
{
    struct keygen k = {0};
    struct cli_parser p = {
        .command = "keygen",
        .synopsis = "(--server | --name TENANT [--role ROLE]) [FILE]",
        .about = "Makes a pair of CURVE keys as CZMQ certificates, FILE with the public key, and FILE_secret,\n"
                 "which only you can read; and says which goes where. Nothing that is there is overwritten. A\n"
                 "daemon that others reach over the network needs one of its own, and one of each client.\n"
                 "ROLE is what the client may do: submit (its own jobs; the default), read (ask for its own),\n"
                 "admin (all jobs).",
        .examples = "  sensorium keygen --server\n"
                    "  sensorium keygen --name archive --role submit clients/archive.cert\n",
    };
    cli_add(&p, (struct cli_option){0, "server", CLI_FLAG, &k.server, NULL, "the daemon's (server.cert)", 0, 0,
                                    NULL});
    cli_add(&p, (struct cli_option){0, "name", CLI_STRING, &k.name, "TENANT",
                                    "a client's, who is called that (TENANT.cert)", 0, 0, NULL});
    cli_add(&p, (struct cli_option){0, "role", CLI_STRING, &k.role, "ROLE", "submit, read or admin", 0, 0, NULL});
    int status = cli_parse(&p, argc, argv);
    if (status == CLI_GO)
        status = check(&p, &k);
    k.file = p.n_args ? p.args[0] : NULL;
    return status == CLI_GO ? make(&k) : status;
}
