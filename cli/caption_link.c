#include "config.h"
#include "cli/caption_link.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "cli/terminal.h"
#include "queue/endpoint.h"

enum { RESTARTS_MAX = 3, NAMED_MS = 3000, FOUND_MS = 1000, OWN_MS = 120000, SLICE_MS = 250 };

/* --- is it any good --- */

static bool lists(const json_t *list, const char *word)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));
        if (s && strcmp(s, word) == 0)
            return true;
    }
    return false;
}

static bool model_serves(const json_t *m, const struct caption_need *need)
{
    const char *name = json_string_value(json_object_get(m, "name"));
    return name && (!need->model || strcmp(name, need->model) == 0) &&
           lists(json_object_get(m, "tasks"), need->task) && lists(json_object_get(m, "kinds"), need->kind);
}

static void put_names(struct sn_strbuf *to, const json_t *models)
{
    for (size_t i = 0; i < json_array_size(models); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(models, i), "name"));
        sn_strbuf_printf(to, "%s%s", i ? ", " : "", name ? name : "?");
    }
    sn_strbuf_puts(to, json_array_size(models) ? "" : "none");
}

/* -SN_ENOENT: a model is missing. */
static int check_models(const struct caption_link *link, const json_t *pong, struct sn_diag *d)
{
    const json_t *models = json_object_get(pong, "models");
    for (size_t i = 0; i < link->cfg.n_needs; i++) {
        const struct caption_need *need = &link->cfg.needs[i];
        bool served = false;
        for (size_t m = 0; m < json_array_size(models); m++)
            served = served || model_serves(json_array_get(models, m), need);
        if (served)
            continue;
        struct sn_strbuf names = {.max = 256};
        put_names(&names, models);
        sn_fail(d, SN_ENOENT, "the daemon at %s has no model %s%s%s for %s of %s; it has: %s",
                sn_client_endpoint(link->client), need->model ? "'" : "", need->model ? need->model : "",
                need->model ? "'" : "", need->task, need->kind, names.data ? names.data : "?");
        sn_strbuf_fini(&names);
        return -SN_ENOENT;
    }
    return 0;
}

/* One that was just started takes a while to listen, and may end instead. */
static int connect_own(struct caption_link *link, struct sn_diag *d)
{
    const double until = sn_clock_s() + OWN_MS / 1000.0;
    for (;;) {
        const int rc = sn_client_connect(link->client, SLICE_MS, d);
        if (rc != -SN_ENET || sn_clock_s() > until)
            return rc;
        if (*cli_interrupted)
            return sn_fail(d, SN_ECANCELLED, "interrupted");
        const int ended = caption_daemon_check(link->daemon, d);
        if (ended < 0)
            return ended;
    }
}

/* Connects, and asks what it has. On error there is no client. */
static int reach(struct caption_link *link, const char *endpoint, unsigned timeout_ms, struct sn_diag *d)
{
    const struct cli_connect_opts *o = link->cfg.connect;
    const bool own = link->daemon != NULL;
    const struct sn_client_cfg cfg = {.endpoint = endpoint, .certificate = own ? NULL : o->certificate,
                                      .server_key = own ? NULL : o->server_key};
    json_t *nothing = json_object(), *pong = NULL;
    int rc = nothing ? sn_client_new(&cfg, &link->client, d) : sn_fail(d, SN_ENOMEM, "no memory to ask");
    if (rc == 0)
        rc = own ? connect_own(link, d) : sn_client_connect(link->client, timeout_ms, d);
    if (rc == 0)
        rc = sn_client_ask(link->client, "PING", nothing, NULL, 0, &pong, d);
    if (rc == 0)
        rc = check_models(link, pong, d);
    json_decref(nothing);
    json_decref(pong);
    if (rc < 0)
        sn_client_free(&link->client);
    return rc;
}

/* --- the three ways --- */

static bool is_named(const struct caption_link *link)
{
    const char *set = getenv("SENSORIUM_ENDPOINT");
    return link->cfg.connect->endpoint || (set && *set);
}

/* The one that runs, if it has what is needed. */
static bool reach_running(struct caption_link *link, struct sn_diag *d)
{
    char endpoint[SN_ENDPOINT_MAX];
    sn_endpoint_default(endpoint);
    if (strncmp(endpoint, "ipc://", 6) != 0 || access(endpoint + 6, W_OK) != 0)
        return false;
    return reach(link, endpoint, FOUND_MS, d) == 0;
}

static int start_own(struct caption_link *link, struct sn_diag *d)
{
    int rc = caption_daemon_start(&link->cfg.own, &link->daemon, d);
    if (rc == 0)
        rc = reach(link, caption_daemon_endpoint(link->daemon), 0, d);
    return rc;
}

int caption_link_open(const struct caption_link_cfg *cfg, struct caption_link *link, struct sn_diag *d)
{
    *link = (struct caption_link){.cfg = *cfg};
    int rc;
    if (is_named(link))
        rc = reach(link, cfg->connect->endpoint, NAMED_MS, d);
    else if (reach_running(link, d))
        rc = 0;
    else if (cfg->missing)
        rc = sn_fail(d, cfg->missing->code, "%s", cfg->missing->text);
    else
        rc = start_own(link, d);
    if (rc < 0)
        caption_link_close(link, false);
    return rc;
}

int caption_link_tend(struct caption_link *link, struct sn_diag *d)
{
    if (!link->daemon || caption_daemon_check(link->daemon, d) == 0)
        return 0;
    if (link->n_restarts == RESTARTS_MAX)
        return sn_diag_prefix(d, -SN_ENET, "given up after %u times", RESTARTS_MAX + 1);
    link->n_restarts++;
    struct sn_diag why;
    const int rc = caption_daemon_restart(link->daemon, &why);
    if (rc < 0)
        *d = why;
    return rc < 0 ? rc : 1;
}

void caption_link_close(struct caption_link *link, bool forget)
{
    sn_client_free(&link->client);
    caption_daemon_stop(&link->daemon, forget);
    *link = (struct caption_link){0};
}
