#define _GNU_SOURCE
#include "model/pull_impl.h"

#include "base/mem.h"
#include "base/strbuf.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#define LIST_MAX ((size_t)16 << 20)

const char *sn_hub_url(void)
{
    const char *own = getenv("HF_ENDPOINT");
    return own && *own ? own : "https://huggingface.co";
}

static void put_base(struct sn_strbuf *b)
{
    const char *url = sn_hub_url();
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/')
        n--;
    sn_strbuf_append(b, url, n);
}

static int take_url(struct sn_strbuf *b, char **url, struct sn_diag *d)
{
    *url = sn_strbuf_take(b);
    return *url ? 0 : sn_fail(d, SN_ENOMEM, "hub: out of memory for a URL");
}

int sn_hub_file_url(const struct sn_source *src, char **url, struct sn_diag *d)
{
    struct sn_strbuf b = {0};
    put_base(&b);
    sn_strbuf_printf(&b, "/%s/resolve/main/", src->repo);
    sn_http_escape_path(&b, src->file);
    return take_url(&b, url, d);
}

/* Files that are a whole text model: not a projector, not one piece of several. */
static bool is_candidate(const char *file)
{
    const size_t n = strlen(file);
    return n > 5 && strcasecmp(file + n - 5, ".gguf") == 0 && !strcasestr(file, "mmproj") &&
           !strstr(file, "-of-0");
}

/* The only candidate, or the only one of the first quantization that there is exactly one of. */
static const char *choose(const json_t *siblings)
{
    static const char *const wanted[] = {"", "Q4_K_M", "Q8_0"};
    for (size_t w = 0; w < SN_COUNT(wanted); w++) {
        const char *found = NULL;
        size_t n = 0;
        for (size_t i = 0; i < json_array_size(siblings); i++) {
            const json_t *j = json_object_get(json_array_get(siblings, i), "rfilename");
            const char *file = json_string_value(j);
            if (!file || !is_candidate(file) || !strcasestr(file, wanted[w]))
                continue;
            found = file;
            n++;
        }
        if (n == 1)
            return found;
    }
    return NULL;
}

static int fail_choice(const struct sn_source *src, const json_t *siblings, struct sn_diag *d)
{
    struct sn_strbuf list = {.max = 300};
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(siblings); i++) {
        const json_t *j = json_object_get(json_array_get(siblings, i), "rfilename");
        const char *file = json_string_value(j);
        const size_t len = file ? strlen(file) : 0;
        if (len < 5 || strcasecmp(file + len - 5, ".gguf") != 0)
            continue;
        if (list.len + len + 2 < list.max)
            sn_strbuf_printf(&list, "%s%s", n ? ", " : "", file);
        n++;
    }
    const int rc = n ? sn_fail(d, SN_EINVAL, "hf:%s: name one of its %zu GGUF files: %s", src->repo,
                               n, list.data ? list.data : "")
                     : sn_fail(d, SN_ENOENT, "hf:%s: has no GGUF file", src->repo);
    sn_strbuf_fini(&list);
    return rc;
}

static int take_choice(struct sn_source *src, const struct sn_strbuf *body, struct sn_diag *d)
{
    json_error_t err;
    json_t *root = json_loadb(body->data ? body->data : "", body->len, 0, &err);
    const json_t *siblings = json_object_get(root, "siblings");
    int rc = 0;
    if (!json_is_array(siblings)) {
        rc = sn_fail(d, SN_ENET, "hf:%s: the hub's answer is not a list of files", src->repo);
    } else {
        const char *file = choose(siblings);
        if (!file) {
            rc = fail_choice(src, siblings, d);
        } else {
            /* through the parser, which refuses a path that would leave the cache */
            struct sn_strbuf name = {0};
            struct sn_source checked = {0};
            sn_strbuf_printf(&name, "hf:%s:%s", src->repo, file);
            rc = name.failed ? sn_fail(d, SN_ENOMEM, "hf:%s: out of memory", src->repo)
                             : sn_source_parse(name.data, &checked, d);
            if (rc == 0) {
                src->file = checked.file;
                checked.file = NULL;
            }
            sn_source_fini(&checked);
            sn_strbuf_fini(&name);
        }
    }
    json_decref(root);
    return rc;
}

int sn_hub_choose(struct sn_source *src, const struct sn_http_cfg *cfg, struct sn_diag *d)
{
    struct sn_strbuf b = {0}, body = {0};
    char *url = NULL;
    put_base(&b);
    sn_strbuf_printf(&b, "/api/models/%s", src->repo);
    int rc = take_url(&b, &url, d);
    if (rc == 0)
        rc = sn_http_get(url, cfg, LIST_MAX, &body, d);
    if (rc == 0)
        rc = take_choice(src, &body, d);
    sn_strbuf_fini(&body);
    sn_free(url);
    return rc;
}
