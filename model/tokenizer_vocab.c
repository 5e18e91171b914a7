#include "config.h"

#include "model/tokenizer_impl.h"

#include "model/gguf.h"

#include <math.h>
#include <string.h>

/* Reading the vocabulary out of a GGUF file: texts, types, scores, merges, special ids. The file
 * is a stranger's: every id is checked against the number of tokens, every array against the
 * length it must have, every text against a bound. */

#define KEY(k) "tokenizer.ggml." k

static int key_string(const struct sn_gguf *g, const char *key, const char **s, size_t *n,
                      struct sn_diag *d)
{
    *s = "";
    *n = 0;
    return sn_gguf_find(g, key) ? sn_gguf_get_string(g, key, s, n, d) : 0;
}

static int read_model(struct sn_tokenizer *t, const struct sn_gguf *g, struct sn_diag *d)
{
    static const struct {
        const char *name;
        enum sn_tok_kind kind;
    } models[] = {
        {"gpt2", SN_TOK_BYTE_BPE}, {"llama", SN_TOK_SCORE}, {"gemma4", SN_TOK_RAW_BPE}};
    const char *s;
    size_t n;
    int rc = sn_gguf_get_string(g, KEY("model"), &s, &n, d);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < SN_COUNT(models); i++)
        if (strlen(models[i].name) == n && memcmp(models[i].name, s, n) == 0) {
            t->kind = models[i].kind;
            return 0;
        }
    if ((n == 4 && memcmp(s, "none", n) == 0) || (n == 8 && memcmp(s, "no_vocab", n) == 0))
        return sn_fail(d, SN_ENOENT, "%s: the file has no vocabulary", sn_gguf_name(g));
    return sn_fail(d, SN_EUNSUPPORTED, "%s: tokenizer model \"%.*s\" is not supported",
                   sn_gguf_name(g), (int)sn_min(n, 64), s);
}

static int read_pre(struct sn_tokenizer *t, const struct sn_gguf *g, struct sn_diag *d)
{
    const char *s = "";
    size_t n = 0;
    int rc = t->kind == SN_TOK_BYTE_BPE ? key_string(g, KEY("pre"), &s, &n, d) : 0;
    if (rc < 0)
        return rc;
    if (t->kind == SN_TOK_BYTE_BPE && n == 0) {
        s = "default";
        n = strlen(s);
    }
    t->pre = sn_strndup(s, n);
    if (!t->pre)
        return sn_fail(d, SN_ENOMEM, "%s: memory for the tokenizer", sn_gguf_name(g));
    if (t->kind != SN_TOK_BYTE_BPE)
        return 0;
    t->family = sn_tok_family(s, n);
    if (!t->family)
        return sn_fail(d, SN_EUNSUPPORTED, "%s: pre-tokenizer \"%.*s\" is not known",
                       sn_gguf_name(g), (int)sn_min(n, 64), s);
    return sn_tok_splitter_new(t->family, &t->splitter, d);
}

static int measure_texts(struct sn_tokenizer *t, const struct sn_gguf *g,
                         const struct sn_gguf_value *v, size_t *total, struct sn_diag *d)
{
    *total = 0;
    for (size_t i = 0, n; i < t->n; i++) {
        sn_gguf_at_string(v, i, &n);
        if (n > SN_TOK_BYTES_MAX)
            return sn_fail(d, SN_ELIMIT, "%s: token %zu has %zu bytes, more than %zu",
                           sn_gguf_name(g), i, n, SN_TOK_BYTES_MAX);
        *total += n;
        if (*total > SN_TOK_VOCAB_MAX)
            return sn_fail(d, SN_ELIMIT, "%s: the vocabulary has more than %zu bytes",
                           sn_gguf_name(g), SN_TOK_VOCAB_MAX);
        t->longest = sn_max(t->longest, n);
    }
    return 0;
}

static int read_texts(struct sn_tokenizer *t, const struct sn_gguf *g, struct sn_diag *d)
{
    const struct sn_gguf_value *v;
    size_t total;
    int rc = sn_gguf_get_array(g, KEY("tokens"), SN_GGUF_STRING, &v, d);
    if (rc < 0)
        return rc;
    if (v->count == 0 || v->count > INT32_MAX / 2)
        return sn_fail(d, v->count ? SN_ELIMIT : SN_ENOENT, "%s: a vocabulary of %llu tokens",
                       sn_gguf_name(g), (unsigned long long)v->count);
    t->n = (size_t)v->count;
    rc = measure_texts(t, g, v, &total, d);
    if (rc < 0)
        return rc;
    t->bytes = sn_malloc_array(total, 1);
    t->at = sn_malloc_array(t->n + 1, sizeof *t->at);
    if (!t->bytes || !t->at)
        return sn_fail(d, SN_ENOMEM, "%s: memory for %zu tokens", sn_gguf_name(g), t->n);
    uint32_t at = 0;
    for (size_t i = 0, n; i < t->n; i++) {
        const char *s = sn_gguf_at_string(v, i, &n);
        memcpy(t->bytes + at, s, n);
        t->at[i] = at;
        at += (uint32_t)n;
    }
    t->at[t->n] = at;
    return sn_tok_index_build(&t->index, t->bytes, t->at, t->n, d);
}

/* An array that, where it is there, has an element for each token; *v is NULL where it is not. */
static int per_token(const struct sn_tokenizer *t, const struct sn_gguf *g, const char *key,
                     enum sn_gguf_kind elem, const struct sn_gguf_value **v, struct sn_diag *d)
{
    *v = NULL;
    if (!sn_gguf_find(g, key))
        return 0;
    int rc = sn_gguf_get_array(g, key, elem, v, d);
    if (rc == 0 && (*v)->count < t->n)
        rc = sn_fail(d, SN_EFORMAT, "%s: %s has %llu elements for %zu tokens", sn_gguf_name(g),
                     key, (unsigned long long)(*v)->count, t->n);
    return rc;
}

/* The byte that "<0xHH>" names, or -1. */
static int byte_of_name(const char *s, size_t n)
{
    static const char digits[] = "0123456789ABCDEF";
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || !s[3] || !s[4])
        return -1;
    const char *hi = strchr(digits, s[3]), *lo = strchr(digits, s[4]);
    return hi && lo ? (int)((hi - digits) << 4 | (lo - digits)) : -1;
}

static int read_types(struct sn_tokenizer *t, const struct sn_gguf *g, struct sn_diag *d)
{
    const struct sn_gguf_value *v;
    int rc = per_token(t, g, KEY("token_type"), SN_GGUF_I64, &v, d);
    if (rc < 0)
        return rc;
    t->type = sn_malloc_array(t->n, sizeof *t->type);
    t->eog = sn_calloc(t->n, sizeof *t->eog);
    if (!t->type || !t->eog)
        return sn_fail(d, SN_ENOMEM, "%s: memory for %zu tokens", sn_gguf_name(g), t->n);
    for (size_t i = 0, n; i < t->n; i++) {
        const int64_t type = v ? sn_gguf_at_i64(v, i) : SN_TOK_NORMAL;
        if (type < SN_TOK_UNDEFINED || type > SN_TOK_BYTE)
            return sn_fail(d, SN_EFORMAT, "%s: token %zu has the unknown type %lld",
                           sn_gguf_name(g), i, (long long)type);
        t->type[i] = (uint8_t)type;
        /* Some converters leave byte tokens as normal ones; tokenizers goes by the name too. */
        const char *s = sn_tok_text(t, (int32_t)i, &n);
        const bool named = t->kind != SN_TOK_BYTE_BPE && byte_of_name(s, n) >= 0;
        if (named && type != SN_TOK_CONTROL)
            t->type[i] = SN_TOK_BYTE;
        else if (type == SN_TOK_BYTE)
            t->type[i] = SN_TOK_NORMAL;
    }
    return 0;
}

/* Scores become ranks: the order of a float's bits, turned round. */
static int read_scores(struct sn_tokenizer *t, const struct sn_gguf *g, struct sn_diag *d)
{
    const struct sn_gguf_value *v;
    if (t->kind != SN_TOK_SCORE)
        return 0;
    int rc = per_token(t, g, KEY("scores"), SN_GGUF_F32, &v, d);
    if (rc < 0)
        return rc;
    if (!v)
        return sn_fail(d, SN_EFORMAT, "%s: " KEY("scores") " is missing", sn_gguf_name(g));
    t->rank = sn_malloc_array(t->n, sizeof *t->rank);
    if (!t->rank)
        return sn_fail(d, SN_ENOMEM, "%s: memory for %zu scores", sn_gguf_name(g), t->n);
    for (size_t i = 0; i < t->n; i++) {
        const float score = (float)sn_gguf_at_f64(v, i) + 0.0f; /* -0 becomes 0 */
        uint32_t bits;
        if (isnan(score))
            return sn_fail(d, SN_EFORMAT, "%s: the score of token %zu is not a number",
                           sn_gguf_name(g), i);
        memcpy(&bits, &score, sizeof bits);
        t->rank[i] = ~(bits & 0x80000000u ? ~bits : bits | 0x80000000u);
    }
    return 0;
}

/* Text must not turn into a control token by merging. */
static bool may_result(const struct sn_tokenizer *t, int32_t id)
{
    return id >= 0 && t->type[id] != SN_TOK_CONTROL && t->type[id] != SN_TOK_UNKNOWN;
}

/* One string of tokenizer.ggml.merges: "left right". */
struct merge_text {
    const char *left, *right;
    size_t n_left, n_right;
};

static int parse_merge(const struct sn_gguf *g, const struct sn_gguf_value *v, size_t i,
                       struct merge_text *m, struct sn_diag *d)
{
    size_t n;
    const char *s = sn_gguf_at_string(v, i, &n);
    const char *space = n > 2 ? memchr(s + 1, ' ', n - 1) : NULL;
    if (!space || space + 1 == s + n)
        return sn_fail(d, SN_EFORMAT, "%s: merge %zu is not two texts with a space between",
                       sn_gguf_name(g), i);
    *m = (struct merge_text){.left = s, .right = space + 1, .n_left = (size_t)(space - s),
                             .n_right = n - (size_t)(space - s) - 1};
    return 0;
}

/* The token that the two texts make. Vocabularies list most tokens in the order of their merges,
 * so the one after the last result is tried before searching. */
static int32_t merged_id(const struct sn_tokenizer *t, const struct merge_text *m, int32_t guess,
                         char *joined)
{
    size_t n;
    memcpy(joined, m->left, m->n_left);
    memcpy(joined + m->n_left, m->right, m->n_right);
    if (t->index.unique && guess > 0 && (size_t)guess < t->n) {
        const char *s = sn_tok_text(t, guess, &n);
        if (n == m->n_left + m->n_right && memcmp(s, joined, n) == 0)
            return guess;
    }
    return sn_tok_index_find(&t->index, joined, m->n_left + m->n_right);
}

/* A merge that names what is not in the vocabulary is of no effect. */
static struct sn_tok_merge resolve_merge(const struct sn_tokenizer *t, const struct merge_text *m,
                                         size_t rank, int32_t *last, char *joined)
{
    struct sn_tok_merge none = {.rank = SN_TOK_NO_RANK};
    if (m->n_left + m->n_right > t->longest)
        return none;
    const struct sn_tok_merge merge = {
        .left = sn_tok_index_find(&t->index, m->left, m->n_left),
        .right = sn_tok_index_find(&t->index, m->right, m->n_right),
        .rank = (uint32_t)rank,
        .id = *last = merged_id(t, m, *last + 1, joined),
    };
    return merge.left >= 0 && merge.right >= 0 && may_result(t, merge.id) ? merge : none;
}

/* Half a million look-ups wait for memory more than they compute, so a merge passes through in
 * three steps with others between: its texts' slots are asked for, then its pair's, then it is
 * put there. */
static int add_merges(struct sn_tokenizer *t, const struct sn_gguf *g,
                      const struct sn_gguf_value *v, char *joined, struct sn_diag *d)
{
    enum { AHEAD = 16 };
    struct merge_text text[AHEAD];
    struct sn_tok_merge merge[AHEAD];
    int32_t last = -1;
    for (size_t i = 0; i < v->count + 2 * AHEAD; i++) {
        const size_t at = i % AHEAD;
        if (i >= 2 * AHEAD && merge[at].rank != SN_TOK_NO_RANK)
            sn_tok_merges_add(&t->merges, merge[at]);
        if (i >= AHEAD && i - AHEAD < v->count) {
            merge[at] = resolve_merge(t, &text[at], i - AHEAD, &last, joined);
            sn_tok_merges_prefetch(&t->merges, merge[at].left, merge[at].right);
        }
        if (i >= v->count)
            continue;
        struct merge_text *m = &text[at];
        const int rc = parse_merge(g, v, i, m, d);
        if (rc < 0)
            return rc;
        sn_tok_index_prefetch(&t->index, m->left, sn_min(m->n_left, t->longest));
        sn_tok_index_prefetch(&t->index, m->right, sn_min(m->n_right, t->longest));
    }
    return 0;
}

static int read_merges(struct sn_tokenizer *t, const struct sn_gguf *g, struct sn_diag *d)
{
    const struct sn_gguf_value *v;
    if (t->kind == SN_TOK_SCORE)
        return 0;
    int rc = sn_gguf_get_array(g, KEY("merges"), SN_GGUF_STRING, &v, d);
    if (rc < 0)
        return rc;
    if (v->count > INT32_MAX / 2)
        return sn_fail(d, SN_ELIMIT, "%s: %llu merges", sn_gguf_name(g),
                       (unsigned long long)v->count);
    rc = sn_tok_merges_init(&t->merges, (size_t)v->count, d);
    if (rc < 0)
        return rc;
    char *joined = sn_malloc_array(t->longest, 1);
    if (!joined)
        return sn_fail(d, SN_ENOMEM, "%s: memory for the merges", sn_gguf_name(g));
    rc = add_merges(t, g, v, joined, d);
    sn_free(joined);
    return rc;
}

static void find_byte_tokens(struct sn_tokenizer *t)
{
    for (unsigned b = 0; b < 256; b++) {
        char name[8] = "<0x00>";
        size_t n = 6;
        name[3] = "0123456789ABCDEF"[b >> 4];
        name[4] = "0123456789ABCDEF"[b & 15];
        if (t->kind == SN_TOK_BYTE_BPE) {
            const unsigned cp = sn_tok_byte_to_cp((unsigned char)b);
            n = cp < 0x80 ? 1 : 2;
            name[0] = cp < 0x80 ? (char)cp : (char)(0xC0 | cp >> 6);
            name[1] = (char)(0x80 | (cp & 0x3F));
        }
        const int32_t id = sn_tok_index_find(&t->index, name, n);
        t->byte_id[b] = may_result(t, id) ? id : -1;
    }
}

/* --- special ids --- */

static int read_id(const struct sn_tokenizer *t, const struct sn_gguf *g, const char *key,
                   int32_t *id, struct sn_diag *d)
{
    uint64_t v;
    if (!sn_gguf_find(g, key))
        return 0;
    int rc = sn_gguf_get_u64(g, key, 0, UINT32_MAX, &v, d);
    if (rc < 0)
        return rc;
    if (v == UINT32_MAX) { /* how -1, "none", was written */
        *id = -1;
        return 0;
    }
    if (v >= t->n)
        return sn_fail(d, SN_ELIMIT, "%s: %s is %llu, the vocabulary has %zu tokens",
                       sn_gguf_name(g), key, (unsigned long long)v, t->n);
    *id = (int32_t)v;
    return 0;
}

static int read_flag(const struct sn_gguf *g, const char *key, bool *flag, struct sn_diag *d)
{
    return sn_gguf_find(g, key) ? sn_gguf_get_bool(g, key, flag, d) : 0;
}

static int read_special_ids(struct sn_tokenizer *t, const struct sn_gguf *g, struct sn_diag *d)
{
    const bool score = t->kind == SN_TOK_SCORE;
    t->bos = score && t->n > 1 ? 1 : -1;
    t->eos = score && t->n > 2 ? 2 : -1;
    t->unk = score ? 0 : -1;
    t->eot = t->eom = -1;
    t->add_bos = t->kind != SN_TOK_BYTE_BPE || t->family->flags & SN_PRE_ADD_BOS;
    t->add_space = score;
    const struct {
        const char *key;
        int32_t *id;
    } ids[] = {
        {KEY("bos_token_id"), &t->bos}, {KEY("eos_token_id"), &t->eos},
        {KEY("eot_token_id"), &t->eot}, {KEY("eom_token_id"), &t->eom},
        {KEY("unknown_token_id"), &t->unk},
    };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < SN_COUNT(ids); i++)
        rc = read_id(t, g, ids[i].key, ids[i].id, d);
    if (rc == 0 && t->kind != SN_TOK_RAW_BPE)
        rc = read_flag(g, KEY("add_bos_token"), &t->add_bos, d);
    if (rc == 0)
        rc = read_flag(g, KEY("add_eos_token"), &t->add_eos, d);
    if (rc == 0 && score)
        rc = read_flag(g, KEY("add_space_prefix"), &t->add_space, d);
    return rc;
}

/* --- tokens that end a generation --- */

static int32_t find_text(const struct sn_tokenizer *t, const char *s)
{
    return sn_tok_index_find(&t->index, s, strlen(s));
}

static void mark_eog(struct sn_tokenizer *t, int32_t id)
{
    if (id >= 0)
        t->eog[id] = 1;
}

static void unmark_eog(struct sn_tokenizer *t, const char *text)
{
    const int32_t id = find_text(t, text);
    if (id >= 0)
        t->eog[id] = 0;
}

/* By text. The first list is unmistakable: those become control tokens even where a converter
 * left them as ordinary ones, so that user text cannot end a turn. What the second list names can
 * be ordinary words (Gemma has "</s>" for HTML), and counts only as a control token. */
static void mark_eog_texts(struct sn_tokenizer *t)
{
    static const char *const sure[] = {
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",
        "<end_of_turn>", "<|endoftext|>", "<|eom_id|>", "<|end_of_text|>", "<end_of_utterance>",
        "<turn|>", "<|tool_response>", "<\xEF\xBD\x9C" "end\xE2\x96\x81of\xE2\x96\x81sentence"
        "\xEF\xBD\x9C>", "[e~["};
    static const char *const if_control[] = {"</s>", "<eos>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]"};
    for (size_t i = 0; i < SN_COUNT(sure); i++) {
        const int32_t id = find_text(t, sure[i]);
        mark_eog(t, id);
        if (id >= 0)
            t->type[id] = SN_TOK_CONTROL;
    }
    for (size_t i = 0; i < SN_COUNT(if_control); i++) {
        const int32_t id = find_text(t, if_control[i]);
        if (id >= 0 && t->type[id] == SN_TOK_CONTROL)
            mark_eog(t, id);
    }
}

static int mark_all_eog(struct sn_tokenizer *t, const struct sn_gguf *g, struct sn_diag *d)
{
    static const char *const fim[] = {KEY("fim_pad_token_id"), KEY("fim_rep_token_id"),
                                      KEY("fim_sep_token_id")};
    mark_eog(t, t->eos);
    mark_eog(t, t->eot);
    mark_eog(t, t->eom);
    for (size_t i = 0; i < SN_COUNT(fim); i++) {
        int32_t id = -1;
        const int rc = read_id(t, g, fim[i], &id, d);
        if (rc < 0)
            return rc;
        mark_eog(t, id);
    }
    mark_eog_texts(t);
    /* gpt-oss and its kin end a message with <|end|>, and go on; in Gemma 4 </s> is HTML. */
    if ((find_text(t, "<|return|>") >= 0 && find_text(t, "<|call|>") >= 0) ||
        (find_text(t, "<|calls|>") >= 0 && find_text(t, "<|flush|>") >= 0))
        unmark_eog(t, "<|end|>");
    if (find_text(t, "<|tool_response>") >= 0 || find_text(t, "<|plamo:eos|>") >= 0)
        unmark_eog(t, "</s>");
    return 0;
}

static int load(struct sn_tokenizer *t, const struct sn_gguf *g, struct sn_diag *d)
{
    int rc = read_model(t, g, d);
    if (rc == 0)
        rc = read_pre(t, g, d);
    if (rc == 0)
        rc = read_texts(t, g, d);
    if (rc == 0)
        rc = read_types(t, g, d);
    if (rc == 0)
        rc = read_scores(t, g, d);
    if (rc == 0)
        rc = read_special_ids(t, g, d);
    if (rc == 0)
        rc = mark_all_eog(t, g, d); /* settles the types */
    if (rc == 0)
        rc = read_merges(t, g, d);
    if (rc < 0)
        return rc;
    find_byte_tokens(t);
    return sn_tok_specials_build(&t->specials, t, d);
}

int sn_tokenizer_new(const struct sn_gguf *g, struct sn_tokenizer **out, struct sn_diag *d)
{
    struct sn_tokenizer *t = sn_calloc(1, sizeof *t);
    if (!t)
        return sn_fail(d, SN_ENOMEM, "%s: memory for the tokenizer", sn_gguf_name(g));
    const int rc = load(t, g, d);
    if (rc < 0) {
        sn_tokenizer_free(&t);
        return rc;
    }
    *out = t;
    return 0;
}

void sn_tokenizer_free(struct sn_tokenizer **tp)
{
    struct sn_tokenizer *t = *tp;
    if (!t)
        return;
    sn_tok_specials_fini(&t->specials);
    sn_tok_merges_fini(&t->merges);
    sn_tok_index_fini(&t->index);
    sn_tok_splitter_free(&t->splitter);
    sn_free(t->pre);
    sn_free(t->bytes);
    sn_free(t->at);
    sn_free(t->type);
    sn_free(t->eog);
    sn_free(t->rank);
    sn_free(t);
    *tp = NULL;
}
