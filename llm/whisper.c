#include "config.h"
#include "llm/whisper_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/tokenizer.h"

enum { ENGLISH_END = 50256 }; /* <|endoftext|> of the vocabulary that knows one language only */

/* --- special tokens --- */

static int32_t find(const struct sn_whisper *w, const char *text)
{
    return sn_tokenizer_find(w->tok, text, strlen(text));
}

static int find_specials(struct sn_whisper *w, struct sn_diag *d)
{
    const struct {
        const char *text;
        int32_t *id;
    } specials[] = {
        {"<|endoftext|>", &w->end},          {"<|startoftranscript|>", &w->start},
        {"<|translate|>", &w->translate},    {"<|transcribe|>", &w->transcribe},
        {"<|startofprev|>", &w->previous},   {"<|notimestamps|>", &w->no_times},
        {"<|0.00|>", &w->first_time},
    };
    for (size_t i = 0; i < SN_COUNT(specials); i++) {
        *specials[i].id = find(w, specials[i].text);
        if (*specials[i].id < 0)
            return sn_fail(d, SN_EUNSUPPORTED, "whisper: the vocabulary has no %s", specials[i].text);
    }
    w->no_speech = find(w, "<|nospeech|>");
    if (w->no_speech < 0) w->no_speech = find(w, "<|nocaptions|>");
    w->blank = find(w, "\xC4\xA0"); /* a space in GPT-2's alphabet */
    w->first_language = w->start + 1;
    w->n_languages = w->end == ENGLISH_END ? 0 : w->translate - w->first_language;
    if (w->n_languages < 0 || w->start <= w->end || w->first_time <= w->no_times ||
        w->translate <= w->start)
        return sn_fail(d, SN_EUNSUPPORTED, "whisper: the special tokens stand in another order");
    return 0;
}

/* --- tokens that are not to be said --- */

/* The token `text` is, or the first of those it is made of; -1 when it is several and `first` is
 * false. */
static int token_of(const struct sn_whisper *w, const char *text, bool first, int32_t *id,
                    struct sn_diag *d)
{
    struct sn_ids ids = {0};
    const int rc = sn_tokenizer_encode(w->tok, text, strlen(text), 0, &ids, d);
    *id = ids.n == 1 || (first && ids.n) ? ids.v[0] : -1;
    sn_ids_fini(&ids);
    return rc;
}

static int mark_symbol(struct sn_whisper *w, const char *text, bool first, struct sn_diag *d)
{
    int32_t id;
    const int rc = token_of(w, text, first, &id, d);
    if (rc == 0 && id >= 0 && (uint32_t)id < w->n_vocab) w->kind[id] |= SN_WHISPER_SYMBOL;
    return rc;
}

/* OpenAI's list of what annotations are written with, with and without a space in front. */
static int mark_symbols(struct sn_whisper *w, struct sn_diag *d)
{
    static const char *const symbols[] = {
        "\"", "#", "(", ")", "*", "+", "/", ":", ";", "<", "=", ">", "@", "[", "\\", "]", "^", "_",
        "`", "{", "|", "}", "~", "「", "」", "『", "』", "<<", ">>", "<<<", ">>>", "--", "---", "-(",
        "-[", "('", "(\"", "((", "))", "(((", ")))", "[[", "]]", "{{", "}}", "♪♪", "♪♪♪"};
    static const char *const notes[] = {"♩", "♪", "♫", "♬", "♭", "♮", "♯"};
    char spaced[16];
    int rc = mark_symbol(w, " -", true, d);
    if (rc == 0) rc = mark_symbol(w, " '", true, d);
    for (size_t i = 0; i < SN_COUNT(symbols) + SN_COUNT(notes) && rc == 0; i++) {
        const bool note = i >= SN_COUNT(symbols);
        const char *text = note ? notes[i - SN_COUNT(symbols)] : symbols[i];
        snprintf(spaced, sizeof spaced, " %s", text);
        rc = mark_symbol(w, text, note, d);
        if (rc == 0) rc = mark_symbol(w, spaced, note, d);
    }
    return rc;
}

static int mark(struct sn_whisper *w, struct sn_diag *d)
{
    w->kind = sn_calloc(w->n_vocab, sizeof *w->kind);
    if (!w->kind) return sn_fail(d, SN_ENOMEM, "whisper: %u tokens", w->n_vocab);
    for (int32_t i = w->end + 1; i < w->first_time; i++) w->kind[i] = SN_WHISPER_NEVER;
    return mark_symbols(w, d);
}

int sn_whisper_new(const struct sn_llm *m, struct sn_whisper **out, struct sn_diag *d)
{
    struct sn_whisper *w = sn_calloc(1, sizeof *w);
    if (!w) return sn_fail(d, SN_ENOMEM, "whisper: no memory");
    w->m = m;
    w->tok = sn_llm_tokenizer(m);
    w->n_vocab = sn_llm_n_vocab(m);
    int rc = 0;
    if (strcmp(sn_llm_arch(m), "whisper") != 0 || !w->tok)
        rc = sn_fail(d, SN_EUNSUPPORTED, "%s is not a Whisper model with a vocabulary", sn_llm_arch(m));
    if (rc == 0) rc = find_specials(w, d);
    if (rc == 0) rc = mark(w, d);
    if (rc < 0) {
        sn_whisper_free(&w);
        return rc;
    }
    *out = w;
    return 0;
}

void sn_whisper_free(struct sn_whisper **wp)
{
    if (!*wp) return;
    sn_free((*wp)->kind);
    sn_free(*wp);
    *wp = NULL;
}

/* --- what others want to know --- */

bool sn_whisper_is_multilingual(const struct sn_whisper *w) { return w->n_languages > 0; }
int32_t sn_whisper_end(const struct sn_whisper *w) { return w->end; }
int32_t sn_whisper_first_time(const struct sn_whisper *w) { return w->first_time; }
bool sn_whisper_is_symbol(const struct sn_whisper *w, int32_t token)
{
    return token >= 0 && (uint32_t)token < w->n_vocab && w->kind[token] & SN_WHISPER_SYMBOL;
}

int32_t sn_whisper_language(const struct sn_whisper *w, const char *code)
{
    char text[24];
    if (strlen(code) > 8) return -1;
    snprintf(text, sizeof text, "<|%s|>", code);
    const int32_t id = find(w, text);
    return id >= w->first_language && id < w->first_language + w->n_languages ? id : -1;
}

void sn_whisper_language_code(const struct sn_whisper *w, int32_t language, char code[16])
{
    struct sn_strbuf b = {.max = 64};
    snprintf(code, 16, "en");
    if (w->n_languages && sn_tokenizer_piece(w->tok, language, true, &b, NULL) == 0 && !b.failed &&
        b.len > 4 && b.len < 20)
        snprintf(code, 16, "%.*s", (int)b.len - 4, b.data + 2);
    sn_strbuf_fini(&b);
}
