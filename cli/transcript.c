#include "config.h"
#include "cli/transcript.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/json.h"

static const char *const names[] = {[CLI_TXT] = "txt", [CLI_SRT] = "srt", [CLI_VTT] = "vtt",
                                    [CLI_JSON] = "json"};

int cli_transcript_format(const char *name)
{
    for (size_t i = 0; i < SN_COUNT(names); i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return -1;
}

const char *cli_transcript_suffix(enum cli_transcript_format f) { return names[f]; }

/* --- subtitles --- */

/* 01:02:03,456 */
static void print_time(FILE *to, double seconds, char point)
{
    const long long ms = llround(fmax(seconds, 0) * 1000);
    fprintf(to, "%02lld:%02lld:%02lld%c%03lld", ms / 3600000, ms / 60000 % 60, ms / 1000 % 60, point,
            ms % 1000);
}

static void print_times(FILE *to, double start, double end, char point)
{
    print_time(to, start, point);
    fputs(" --> ", to);
    print_time(to, end, point);
    fputc('\n', to);
}

/* WebVTT has markup. */
static void print_escaped(FILE *to, const char *s)
{
    for (; *s; s++)
        if (*s == '&')
            fputs("&amp;", to);
        else if (*s == '<')
            fputs("&lt;", to);
        else if (*s == '>')
            fputs("&gt;", to);
        else
            fputc(*s, to);
}

/* A time before each word but the first, by which players show them one after the other. */
static void print_words(FILE *to, const struct sn_segment *s)
{
    for (size_t i = 0; i < s->n_words; i++) {
        const char *text = s->words[i].text;
        if (i == 0) {
            print_escaped(to, text + (*text == ' '));
            continue;
        }
        if (*text == ' ') {
            fputc(' ', to);
            text++;
        }
        fputc('<', to);
        print_time(to, s->words[i].start, '.');
        fputs("><c>", to);
        print_escaped(to, text);
        fputs("</c>", to);
    }
}

static void print_srt(FILE *to, const struct sn_transcript *t)
{
    for (size_t i = 0; i < t->n; i++) {
        fprintf(to, "%zu\n", i + 1);
        print_times(to, t->segments[i].start, t->segments[i].end, ',');
        fprintf(to, "%s\n\n", t->segments[i].text);
    }
}

static void print_vtt(FILE *to, const struct sn_transcript *t)
{
    fputs("WEBVTT\n\n", to);
    for (size_t i = 0; i < t->n; i++) {
        const struct sn_segment *s = &t->segments[i];
        print_times(to, s->start, s->end, '.');
        if (s->n_words)
            print_words(to, s);
        else
            print_escaped(to, s->text);
        fputs("\n\n", to);
    }
}

/* --- JSON --- */

/* Milliseconds are what there is; more digits would be noise. */
static json_t *rounded(double v, double per_unit) { return json_real(round(v * per_unit) / per_unit); }

static json_t *words_json(const struct sn_segment *s)
{
    json_t *a = json_array();
    for (size_t i = 0; i < s->n_words; i++) {
        const struct sn_word *w = &s->words[i];
        json_t *o = json_object();
        cli_json_set(o, "word", sn_json_text(w->text, strlen(w->text)));
        cli_json_set(o, "start", rounded(w->start, 1e3));
        cli_json_set(o, "end", rounded(w->end, 1e3));
        cli_json_set(o, "probability", rounded((double)w->probability, 1e4));
        json_array_append_new(a, o);
    }
    return a;
}

static json_t *segment_json(const struct sn_segment *s, size_t i)
{
    json_t *o = json_object();
    cli_json_set(o, "id", json_integer((json_int_t)i));
    cli_json_set(o, "start", rounded(s->start, 1e3));
    cli_json_set(o, "end", rounded(s->end, 1e3));
    cli_json_set(o, "text", sn_json_text(s->text, strlen(s->text)));
    cli_json_set(o, "avg_logprob", rounded((double)s->avg_logprob, 1e4));
    cli_json_set(o, "no_speech_prob", rounded((double)s->no_speech_prob, 1e4));
    cli_json_set(o, "compression_ratio", rounded((double)s->compression, 1e4));
    cli_json_set(o, "temperature", rounded((double)s->temperature, 1e2));
    if (s->words)
        cli_json_set(o, "words", words_json(s));
    return o;
}

static json_t *whole_text(const struct sn_transcript *t)
{
    struct sn_strbuf b = {0};
    for (size_t i = 0; i < t->n; i++)
        sn_strbuf_printf(&b, i ? " %s" : "%s", t->segments[i].text);
    json_t *s = b.failed ? NULL : sn_json_text(b.data ? b.data : "", b.len);
    sn_strbuf_fini(&b);
    return s;
}

static int print_json(FILE *to, const char *file, const struct sn_transcript *t, struct sn_diag *d)
{
    json_t *o = json_object(), *segments = json_array();
    for (size_t i = 0; i < t->n; i++)
        json_array_append_new(segments, segment_json(&t->segments[i], i));
    cli_json_set(o, "file", sn_json_text(file, strlen(file)));
    cli_json_set(o, "duration", rounded(t->seconds, 1e3));
    cli_json_set(o, "language", t->language[0] ? json_string(t->language) : json_null());
    cli_json_set(o, "language_probability", rounded((double)t->language_probability, 1e4));
    cli_json_set(o, "no_speech", json_boolean(t->n == 0));
    cli_json_set(o, "text", whole_text(t));
    cli_json_set(o, "segments", segments);
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    const int rc = text ? 0 : sn_fail(d, SN_ENOMEM, "%s: its transcript as JSON", file);
    if (text)
        fprintf(to, "%s\n", text);
    free(text);
    json_decref(o);
    return rc;
}

int cli_transcript_print(FILE *to, enum cli_transcript_format f, const char *file,
                         const struct sn_transcript *t, struct sn_diag *d)
{
    switch (f) {
    case CLI_TXT:
        for (size_t i = 0; i < t->n; i++)
            fprintf(to, "%s\n", t->segments[i].text);
        return 0;
    case CLI_SRT: print_srt(to, t); return 0;
    case CLI_VTT: print_vtt(to, t); return 0;
    case CLI_JSON: return print_json(to, file, t, d);
    }
    return 0;
}
