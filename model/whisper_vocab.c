#include "config.h"
#include "model/whisper_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "model/names.h"

/* A vocabulary of tiktoken's kind has no list of merges: a token's id is its rank, and byte pair
 * encoding a token's own text with only the lower ranks leaves the two parts that it is made of.
 * Hugging Face's list for Whisper is the same but for its first line, which was lost. */

enum { MERGED_BYTES_MAX = 512 }; /* the longest of the real vocabularies: 256 */
enum { N_TIMESTAMPS = 1501 };

static const char languages[] =
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur "
    "hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si "
    "km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln "
    "ha ba jw su yue";

/* --- special tokens --- */

/* All token texts of a vocabulary; those that were made lie in `made`. */
struct vocab {
    struct sn_whisper_token *tokens;
    size_t n, n_base; /* n_base: without the special ones */
    char *made;
};

static bool is_special(const struct sn_whisper_token *t)
{
    return t->n > 4 && memcmp(t->s, "<|", 2) == 0 && memcmp(t->s + t->n - 2, "|>", 2) == 0;
}

/* The specials that the file leaves out, one text after the other, each with a NUL. */
static void name_specials(struct sn_strbuf *b, bool eot, size_t n_languages)
{
    static const char *const rest[] = {"translate", "transcribe", "startoflm", "startofprev",
                                       "nospeech", "notimestamps"};
    const char *code = languages;
    if (eot)
        sn_strbuf_append(b, "<|endoftext|>", 14);
    sn_strbuf_append(b, "<|startoftranscript|>", 22);
    for (size_t i = 0; i < n_languages; i++) {
        const size_t n = strcspn(code, " ");
        sn_strbuf_printf(b, "<|%.*s|>%c", (int)n, code, 0);
        code += n + (code[n] == ' ');
    }
    for (size_t i = 0; i < SN_COUNT(rest); i++)
        sn_strbuf_printf(b, "<|%s|>%c", rest[i], 0);
    for (int i = 0; i < N_TIMESTAMPS; i++)
        sn_strbuf_printf(b, "<|%d.%02d|>%c", i / 50, i % 50 * 2, 0);
}

static size_t count_languages(void)
{
    size_t n = 1;
    for (const char *p = languages; *p; p++)
        n += *p == ' ';
    return n;
}

static int add_specials(struct vocab *v, const char *name, uint32_t n_vocab, struct sn_diag *d)
{
    const struct sn_whisper_token *last = v->n ? &v->tokens[v->n - 1] : NULL;
    const bool eot = !last || !is_special(last);
    const size_t others = N_TIMESTAMPS + 7 + eot, n_left = n_vocab - v->n;
    if (n_left <= others || n_left - others > count_languages())
        return sn_fail(d, SN_EUNSUPPORTED, "%s: %u tokens, of which %zu have texts: not one of "
                       "Whisper's vocabularies", name, n_vocab, v->n);
    struct sn_strbuf b = {0};
    name_specials(&b, eot, n_left - others);
    v->made = sn_strbuf_take(&b);
    if (!v->made)
        return sn_fail(d, SN_ENOMEM, "%s: out of memory for %zu tokens", name, n_left);
    for (const char *s = v->made; v->n < n_vocab; s += strlen(s) + 1)
        v->tokens[v->n++] = (struct sn_whisper_token){s, strlen(s)};
    return 0;
}

/* --- merges --- */

struct merger {
    const struct vocab *v;
    struct sn_names ids;
    char *texts;                       /* NUL-terminated, what `ids` points into */
    char key[MERGED_BYTES_MAX + 1];
    uint16_t at[MERGED_BYTES_MAX + 1]; /* where the parts begin, and the end */
};

static int index_tokens(struct merger *m, const char *name, struct sn_diag *d)
{
    size_t bytes = 0;
    for (size_t i = 0; i < m->v->n_base; i++)
        bytes += m->v->tokens[i].n + 1;
    m->texts = sn_malloc_array(bytes, 1);
    const int rc = m->texts ? sn_names_init(&m->ids, m->v->n_base, d)
                            : sn_fail(d, SN_ENOMEM, "%s: out of memory for the vocabulary", name);
    char *p = m->texts;
    for (size_t i = 0; rc == 0 && i < m->v->n_base; i++) {
        const struct sn_whisper_token *t = &m->v->tokens[i];
        memcpy(p, t->s, t->n);
        p[t->n] = '\0';
        m->ids.items[i] = (struct sn_name){p, i};
        p += t->n + 1;
    }
    if (rc == 0)
        sn_names_sort(&m->ids);
    return rc;
}

static size_t rank_of(struct merger *m, const char *s, size_t n)
{
    memcpy(m->key, s, n);
    m->key[n] = '\0';
    return sn_names_find(&m->ids, m->key);
}

/* How many parts are left when no more of them can be put together. */
static size_t merge_below(struct merger *m, const char *s, size_t n_parts, size_t rank)
{
    while (n_parts > 2) {
        size_t best = SIZE_MAX, where = 0;
        for (size_t k = 0; k + 2 <= n_parts; k++) {
            const size_t r = rank_of(m, s + m->at[k], (size_t)(m->at[k + 2] - m->at[k]));
            if (r < rank && r < best) {
                best = r;
                where = k;
            }
        }
        if (best == SIZE_MAX)
            break;
        memmove(&m->at[where + 1], &m->at[where + 2], (n_parts - where - 1) * sizeof m->at[0]);
        n_parts--;
    }
    return n_parts;
}

/* Where the second part of token i begins; 0: it is not made of two. */
static size_t split_of(struct merger *m, size_t i)
{
    const struct sn_whisper_token *t = &m->v->tokens[i];
    size_t n_parts = 0;
    if (t->n > MERGED_BYTES_MAX || memchr(t->s, ' ', t->n))
        return 0;
    for (size_t k = 0; k < t->n; k++)
        if (((unsigned char)t->s[k] & 0xC0) != 0x80)
            m->at[n_parts++] = (uint16_t)k;
    m->at[n_parts] = (uint16_t)t->n;
    return n_parts >= 2 && merge_below(m, t->s, n_parts, i) == 2 ? m->at[1] : 0;
}

static int build_merges(struct sn_gguf_builder *b, const struct vocab *v, struct sn_diag *d)
{
    struct merger m = {.v = v};
    uint16_t *split = sn_calloc(v->n_base, sizeof *split);
    uint64_t n = 0;
    int rc = split ? index_tokens(&m, sn_gguf_builder_name(b), d)
                   : sn_fail(d, SN_ENOMEM, "%s: out of memory", sn_gguf_builder_name(b));
    for (size_t i = 0; rc == 0 && i < v->n_base; i++) {
        split[i] = (uint16_t)split_of(&m, i);
        n += split[i] > 0;
    }
    if (rc == 0)
        sn_gguf_build_array(b, "tokenizer.ggml.merges", SN_GGUF_STRING, n);
    for (size_t i = 0; rc == 0 && i < v->n_base; i++) {
        const struct sn_whisper_token *t = &v->tokens[i];
        if (!split[i])
            continue;
        char text[MERGED_BYTES_MAX + 1];
        memcpy(text, t->s, split[i]);
        text[split[i]] = ' ';
        memcpy(text + split[i] + 1, t->s + split[i], t->n - split[i]);
        sn_gguf_build_elem_string(b, text, t->n + 1);
    }
    sn_names_fini(&m.ids);
    sn_free(m.texts);
    sn_free(split);
    return rc;
}

/* --- the whole --- */

static size_t find_text(const struct vocab *v, const char *s)
{
    const size_t n = strlen(s);
    for (size_t i = v->n; i-- > 0;)
        if (v->tokens[i].n == n && memcmp(v->tokens[i].s, s, n) == 0)
            return i;
    return SIZE_MAX;
}

static int build(struct sn_gguf_builder *b, struct vocab *v, struct sn_diag *d)
{
    enum { NORMAL = 1, CONTROL = 3 };
    const size_t eot = find_text(v, "<|endoftext|>");
    if (eot == SIZE_MAX)
        return sn_fail(d, SN_EUNSUPPORTED, "%s: no token <|endoftext|>", sn_gguf_builder_name(b));
    v->n_base = eot;
    sn_gguf_build_string(b, "tokenizer.ggml.model", "gpt2");
    sn_gguf_build_string(b, "tokenizer.ggml.pre", "gpt-2");
    sn_gguf_build_u32(b, "tokenizer.ggml.eos_token_id", (uint32_t)eot);
    sn_gguf_build_array(b, "tokenizer.ggml.tokens", SN_GGUF_STRING, v->n);
    for (size_t i = 0; i < v->n; i++)
        sn_gguf_build_elem_string(b, v->tokens[i].s, v->tokens[i].n);
    sn_gguf_build_array(b, "tokenizer.ggml.token_type", SN_GGUF_I32, v->n);
    for (size_t i = 0; i < v->n; i++)
        sn_gguf_build_elem_i32(b, i >= eot && is_special(&v->tokens[i]) ? CONTROL : NORMAL);
    return build_merges(b, v, d);
}

int sn_whisper_build_vocab(struct sn_gguf_builder *b, const struct sn_whisper_token *tokens, size_t n,
                           uint32_t n_vocab, struct sn_diag *d)
{
    const char *name = sn_gguf_builder_name(b);
    struct vocab v = {.n = n};
    if (n > n_vocab)
        return sn_fail(d, SN_EFORMAT, "%s: %zu token texts for %u tokens", name, n, n_vocab);
    v.tokens = sn_malloc_array(n_vocab, sizeof *v.tokens);
    if (!v.tokens)
        return sn_fail(d, SN_ENOMEM, "%s: out of memory for %u tokens", name, n_vocab);
    memcpy(v.tokens, tokens, n * sizeof *tokens);
    int rc = n < n_vocab ? add_specials(&v, name, n_vocab, d) : 0;
    if (rc == 0)
        rc = build(b, &v, d);
    sn_free(v.made);
    sn_free(v.tokens);
    return rc;
}
