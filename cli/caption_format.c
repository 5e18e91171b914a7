#include "config.h"
#include "cli/caption_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "cli/caption_text.h"
#include "cli/text.h"

#define PROGRAM "sensorium " PACKAGE_VERSION
#define SEPARATOR "--- sensorium: "

static const char *const forms[CAPTION_FORMS] = {"txt", "json", "xmp", "jsonl", "csv"};

int caption_form_parse(const char *name)
{
    for (int i = 0; i < CAPTION_FORMS; i++)
        if (strcmp(name, forms[i]) == 0)
            return i;
    return -1;
}

const char *caption_form_name(enum caption_form form) { return forms[form]; }

void caption_time(int64_t s, char text[CAPTION_TIME])
{
    const time_t t = (time_t)s;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || strftime(text, CAPTION_TIME, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        text[0] = '\0';
}

void caption_text(const json_t *result, const char **text, size_t *n)
{
    const json_t *t = json_object_get(result, "text");
    *text = json_is_string(t) ? json_string_value(t) : "";
    *n = json_string_length(t);
    caption_trim(text, n);
}

/* --- where it came from --- */

static const char *model_of(const struct caption_record *r, const char *key)
{
    const char *value = json_string_value(json_object_get(json_object_get(r->result, "model"), key));
    return value ? value : "";
}

/* "" for what was not asked anything. */
static void prompt_digest(const struct caption_record *r, char hex[65])
{
    struct sn_sha256 *h = NULL;
    struct sn_diag d;
    hex[0] = '\0';
    if (!r->prompt)
        return;
    if (sn_sha256_new(&h, &d) < 0 || sn_sha256_update(h, r->prompt, strlen(r->prompt), &d) < 0 ||
        sn_sha256_hex(h, hex, &d) < 0)
        hex[0] = '\0';
    sn_sha256_free(&h);
}

struct origin {
    char prompt[65], sha256[65], when[CAPTION_TIME];
    const char *model, *model_sha256, *text;
    size_t n_text;
};

static struct origin origin_of(const struct caption_record *r)
{
    struct origin o = {.model = model_of(r, "name"), .model_sha256 = model_of(r, "sha256")};
    prompt_digest(r, o.prompt);
    sn_digest_hex(&r->sha256, o.sha256);
    caption_time(r->created_s, o.when);
    caption_text(r->result, &o.text, &o.n_text);
    return o;
}

static void set_string(json_t *o, const char *key, const char *value)
{
    if (value[0])
        json_object_set_new(o, key, sn_json_text(value, strlen(value)));
}

static void set_origin(json_t *to, const struct caption_record *r, const char *sha256_key)
{
    const struct origin o = origin_of(r);
    char settings[65];
    sn_digest_hex(&r->settings, settings);
    set_string(to, "model", o.model);
    set_string(to, "model_sha256", o.model_sha256);
    set_string(to, "prompt_sha256", o.prompt);
    set_string(to, sha256_key, o.sha256);
    set_string(to, "settings", settings);
    set_string(to, "created_at", o.when);
    set_string(to, "program", PROGRAM);
}

static void set_result(json_t *o, const struct caption_record *r)
{
    static const char *const kept[] = {"language", "segments", "finish", "missing"};
    for (size_t i = 0; i < SN_COUNT(kept); i++)
        if (json_object_get(r->result, kept[i]))
            json_object_set(o, kept[i], json_object_get(r->result, kept[i]));
}

/* --- forms --- */

static void put_json(struct sn_strbuf *to, json_t *o, size_t flags)
{
    char *text = json_dumps(o, flags);
    if (text) {
        sn_strbuf_puts(to, text);
        sn_strbuf_putc(to, '\n');
    }
    to->failed = to->failed || !text;
    free(text);
    json_decref(o);
}

static json_t *object_of(const struct caption_record *r, const char *name_key, const char *text_key)
{
    const char *text;
    size_t n;
    caption_text(r->result, &text, &n);
    json_t *o = json_object();
    caption_json_set_name(o, name_key, r->file);
    json_object_set_new(o, text_key, sn_json_text(text, n));
    set_string(o, "kind", sn_medium_kind_name(r->kind));
    set_result(o, r);
    return o;
}

static void print_txt(struct sn_strbuf *to, const struct caption_record *r)
{
    const char *text;
    size_t n;
    caption_text(r->result, &text, &n);
    sn_strbuf_append(to, text, n);
    sn_strbuf_puts(to, n ? "\n" : "");
}

static void print_json(struct sn_strbuf *to, const struct caption_record *r)
{
    json_t *o = object_of(r, "file", "caption"), *origin = json_object();
    set_origin(origin, r, "file_sha256");
    json_object_set_new(o, "origin", origin);
    put_json(to, o, JSON_INDENT(2));
}

/* The names are those of Hugging Face's ImageFolder, which reads such a table beside the pictures. */
static void print_jsonl(struct sn_strbuf *to, const struct caption_record *r)
{
    json_t *o = object_of(r, "file_name", "text");
    set_origin(o, r, "sha256");
    put_json(to, o, JSON_COMPACT);
}

const char caption_csv_header[] = "file_name,text,kind,model,model_sha256,prompt_sha256,sha256,created_at\n";

static void print_csv(struct sn_strbuf *to, const struct caption_record *r)
{
    const struct origin o = origin_of(r);
    const char *const rest[] = {sn_medium_kind_name(r->kind), o.model, o.model_sha256, o.prompt, o.sha256,
                                o.when};
    caption_put_csv(to, r->file, strlen(r->file));
    sn_strbuf_putc(to, ',');
    caption_put_csv(to, o.text, o.n_text);
    for (size_t i = 0; i < SN_COUNT(rest); i++) {
        sn_strbuf_putc(to, ',');
        caption_put_csv(to, rest[i], strlen(rest[i]));
    }
    sn_strbuf_putc(to, '\n');
}

static void put_property(struct sn_strbuf *to, const char *name, const char *value)
{
    if (!value[0])
        return;
    sn_strbuf_printf(to, "\n      %s=\"", name);
    caption_put_xml(to, value, strlen(value));
    sn_strbuf_putc(to, '"');
}

/* A packet as of the XMP Specification, part 1, 7.3 (without the wrapper that is for packets in files). */
static void print_xmp(struct sn_strbuf *to, const struct caption_record *r)
{
    const struct origin o = origin_of(r);
    sn_strbuf_puts(to,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\" x:xmptk=\"" PROGRAM "\">\n"
        "  <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n"
        "    <rdf:Description rdf:about=\"\"\n"
        "      xmlns:dc=\"http://purl.org/dc/elements/1.1/\"\n"
        "      xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\"\n"
        "      xmlns:sensorium=\"urn:sensorium:caption:1#\"");
    put_property(to, "xmp:MetadataDate", o.when);
    put_property(to, "sensorium:program", PROGRAM);
    put_property(to, "sensorium:model", o.model);
    put_property(to, "sensorium:modelSHA256", o.model_sha256);
    put_property(to, "sensorium:promptSHA256", o.prompt);
    put_property(to, "sensorium:fileSHA256", o.sha256);
    put_property(to, "sensorium:created", o.when);
    sn_strbuf_puts(to, ">\n      <dc:description>\n        <rdf:Alt>\n"
                       "          <rdf:li xml:lang=\"x-default\">");
    caption_put_xml(to, o.text, o.n_text);
    sn_strbuf_puts(to, "</rdf:li>\n        </rdf:Alt>\n      </dc:description>\n"
                       "    </rdf:Description>\n  </rdf:RDF>\n</x:xmpmeta>\n");
}

void caption_print(struct sn_strbuf *to, enum caption_form form, const struct caption_record *r)
{
    static void (*const print[CAPTION_FORMS])(struct sn_strbuf *, const struct caption_record *) = {
        print_txt, print_json, print_xmp, print_jsonl, print_csv};
    print[form](to, r);
}

/* --- below a person's words --- */

void caption_print_appended(struct sn_strbuf *to, const struct caption_record *r)
{
    char when[CAPTION_TIME];
    caption_time(r->created_s, when);
    sn_strbuf_puts(to, SEPARATOR);
    for (const char *s = model_of(r, "name"); *s; s++)
        sn_strbuf_putc(to, (unsigned char)*s < ' ' ? '?' : *s); /* it has to stay one line */
    sn_strbuf_printf(to, ", %s ---\n", when);
    print_txt(to, r);
}

size_t caption_appended_at(const char *text, size_t n, size_t from)
{
    const size_t mark = strlen(SEPARATOR);
    for (size_t at = from; at + mark <= n; at++)
        if ((at == 0 || text[at - 1] == '\n') && memcmp(text + at, SEPARATOR, mark) == 0)
            return at;
    return n;
}
