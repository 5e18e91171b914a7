#include "config.h"
#include "pipeline/chat_media.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"
#include "base/strbuf.h"

enum { MARK_BYTES = 48 };

static int fuse(const struct sn_chat_media *c, const struct sn_rendered *text, const char *marker,
                struct sn_prompt *out, struct sn_diag *d)
{
    const struct sn_fuse f = {
        .tokenizer = c->tokenizer, .text = text->text, .plain = text->from_data, .n = text->n,
        .marker = marker, .media = c->media, .n_media = c->n_media, .width = c->width, .own_bos = true,
    };
    return sn_fuse(&f, out, d);
}

/* --- templates that do not know parts: a mark that no text can hold, where the media stand --- */

static int random_mark(char *mark, struct sn_diag *d)
{
    uint64_t r[2];
    if (getrandom(r, sizeof r, 0) != sizeof r) return sn_fail(d, SN_EIO, "chat: no random numbers");
    snprintf(mark, MARK_BYTES, "<%016llx%016llx>", (unsigned long long)r[0], (unsigned long long)r[1]);
    return 0;
}

/* Parts to one text; NULL when memory ran out. */
static json_t *flat_content(const json_t *parts, const char *mark)
{
    struct sn_strbuf b = {.max = SIZE_MAX / 2};
    size_t i;
    const json_t *part;
    json_array_foreach(parts, i, part) {
        const json_t *text = json_object_get(part, "text");
        if (text)
            sn_strbuf_append(&b, json_string_value(text), json_string_length(text));
        else
            sn_strbuf_puts(&b, mark);
    }
    json_t *content = b.failed ? NULL : json_stringn(b.data ? b.data : "", b.len);
    sn_strbuf_fini(&b);
    return content;
}

static json_t *flat_messages(const json_t *messages, const char *mark)
{
    json_t *flat = json_array();
    size_t i;
    const json_t *message;
    json_array_foreach(messages, i, message) {
        json_t *m = json_copy((json_t *)message), *content = json_object_get(m, "content");
        json_t *flat_one = json_is_array(content) ? flat_content(content, mark) : json_incref(content);
        const bool ok = json_object_set_new(m, "content", flat_one) == 0;
        if (!ok) json_decref(m);
        if (!ok || json_array_append_new(flat, m) != 0) {
            json_decref(flat);
            return NULL;
        }
    }
    return flat;
}

/* The marks came through the template as data; they are ours. */
static void claim(struct sn_rendered *text, const char *mark)
{
    const size_t len = strlen(mark);
    for (char *p = text->text; (p = memmem(p, text->n - (size_t)(p - text->text), mark, len)); p += len)
        memset(text->from_data + (p - text->text), 0, len);
}

static int render_flat(const struct sn_chat_media *c, const json_t *messages, const char *mark,
                       struct sn_rendered *out, struct sn_diag *d)
{
    json_t *flat = flat_messages(messages, mark);
    if (!flat) return sn_fail(d, SN_ENOMEM, "chat: messages with media");
    const int rc = sn_chat_render(c->chat, &(struct sn_chat_input){.messages = flat}, out, d);
    json_decref(flat);
    if (rc == 0) claim(out, mark);
    return rc;
}

static int fuse_flat(const struct sn_chat_media *c, const json_t *messages, struct sn_prompt *out,
                     struct sn_diag *d)
{
    char mark[MARK_BYTES];
    struct sn_rendered text = {0};
    int rc = random_mark(mark, d);
    if (rc == 0) rc = render_flat(c, messages, mark, &text, d);
    if (rc == 0) rc = fuse(c, &text, mark, out, d);
    sn_rendered_fini(&text);
    return rc;
}

/* --- those that do --- */

int sn_chat_media_fuse(const struct sn_chat_media *c, const json_t *messages, struct sn_prompt *out,
                       struct sn_diag *d)
{
    struct sn_rendered text = {0};
    const char *placeholder = c->n_media ? sn_fuse_placeholder(c->media[0].kind) : SN_MEDIA_MARKER;
    *out = (struct sn_prompt){0};
    if (!placeholder)
        return sn_fail(d, SN_EUNSUPPORTED, "fusion: media of kind '%s' in a prompt", c->media[0].kind);
    const int rc = sn_chat_render(c->chat, &(struct sn_chat_input){.messages = messages}, &text, NULL);
    const bool knows = rc == 0 && sn_fuse_count(text.text, text.from_data, text.n, placeholder) ==
                                      c->n_media;
    const int done = knows ? fuse(c, &text, placeholder, out, d) : fuse_flat(c, messages, out, d);
    sn_rendered_fini(&text);
    return done;
}

int sn_chat_media_parts(json_t *parts, bool picture, const struct sn_watched *w, bool sound,
                        struct sn_diag *d)
{
    const bool pictures = picture || (w && w->plan.way == SN_WATCH_PICTURES);
    const size_t n = w ? sn_watched_n_media(w) : picture;
    bool ok = true;
    for (size_t k = 0; k < n; k++)
        ok &= json_array_append_new(parts, json_pack("{s:s}", "type", pictures ? "image" : "video")) == 0;
    if (sound) ok &= json_array_append_new(parts, json_pack("{s:s}", "type", "audio")) == 0;
    return ok ? 0 : sn_fail(d, SN_ENOMEM, "chat: messages with media");
}
