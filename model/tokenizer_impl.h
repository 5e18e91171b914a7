#ifndef SN_MODEL_TOKENIZER_IMPL_H
#define SN_MODEL_TOKENIZER_IMPL_H
/* What the tokenizer's own files share. Order of work for a text:
 *
 *   tokenizer.c          special tokens are cut out, what lies between goes on
 *   tokenizer_special.c  finds them: leftmost, of those the longest
 *   tokenizer_nfc.c      canonical composition, for the families that were trained on it
 *   tokenizer_split.c    runs the family's pattern list (tokenizer_pre.c) with PCRE2
 *   tokenizer_merge.c    merges symbols by rank or by score, with a heap
 *   tokenizer_detok.c    ids back to bytes
 *
 * and tokenizer_vocab.c + tokenizer_index.c build all that from the file. */

#include "model/tokenizer.h"

#include "base/mem.h"

#define SN_TOK_TEXT_MAX ((size_t)64 << 20)    /* bytes of one text; a symbol costs up to 52 */
#define SN_TOK_BYTES_MAX ((size_t)16 << 10)   /* of one token */
#define SN_TOK_SPECIAL_MAX ((size_t)512)      /* of one special token */
#define SN_TOK_VOCAB_MAX ((size_t)1 << 30)    /* of all tokens together */
#define SN_TOK_STEPS 6
#define SN_TOK_NO_RANK UINT32_MAX

#define SN_TOK_SPACE "\xE2\x96\x81" /* U+2581, SentencePiece's visible space */

enum sn_tok_kind {
    SN_TOK_BYTE_BPE, /* "gpt2": merges over the byte alphabet */
    SN_TOK_SCORE,    /* "llama": SentencePiece, merges by score */
    SN_TOK_RAW_BPE,  /* "gemma4": merges over UTF-8 */
};

enum sn_tok_type { /* tokenizer.ggml.token_type */
    SN_TOK_UNDEFINED, SN_TOK_NORMAL, SN_TOK_UNKNOWN, SN_TOK_CONTROL, SN_TOK_USER, SN_TOK_UNUSED,
    SN_TOK_BYTE,
};

/* --- the pre-tokenizer families --- */
enum {
    SN_PRE_IGNORE_MERGES = 1, /* a piece that is a token stays whole */
    SN_PRE_ADD_BOS = 2,       /* unless the file says otherwise */
    SN_PRE_NFC = 4,
};
enum sn_tok_step_kind {
    SN_STEP_TEXT,   /* matches and gaps become pieces */
    SN_STEP_BYTES,  /* the same, the pattern seeing bytes, not characters */
    SN_STEP_THREES, /* matches are cut into threes of characters from their end */
};
struct sn_tok_step {
    const char *pattern;
    enum sn_tok_step_kind kind;
};
struct sn_tok_family {
    const char *names; /* values of tokenizer.ggml.pre, separated by spaces */
    unsigned flags;
    struct sn_tok_step steps[SN_TOK_STEPS]; /* each cuts the pieces of the one before */
};
/* NULL when the name is not known. */
const struct sn_tok_family *sn_tok_family(const char *name, size_t n);

/* --- pieces --- */
struct sn_tok_splitter;
int sn_tok_splitter_new(const struct sn_tok_family *f, struct sn_tok_splitter **out,
                        struct sn_diag *d);
void sn_tok_splitter_free(struct sn_tok_splitter **sp);
typedef int sn_tok_piece_fn(void *ctx, const char *s, size_t n);
/* Calls fn for each piece in order; text is UTF-8. A negative return of fn ends it. */
int sn_tok_split(const struct sn_tok_splitter *s, const char *text, size_t n, sn_tok_piece_fn *fn,
                 void *ctx, struct sn_diag *d);

/* --- strings to ids, pairs to merges: open addressing with a secret seed --- */
struct sn_tok_slot {
    uint32_t tag;             /* the hash's upper half: tells most other texts apart unread */
    uint32_t id1;             /* id + 1, 0 = empty */
};
struct sn_tok_index {
    const char *bytes;        /* token i: [at[i], at[i+1]) */
    const uint32_t *at;
    struct sn_tok_slot *slot;
    size_t mask;
    uint64_t seed;
    bool unique;              /* no two tokens have the same text */
};
int sn_tok_index_build(struct sn_tok_index *x, const char *bytes, const uint32_t *at, size_t n,
                       struct sn_diag *d);
int32_t sn_tok_index_find(const struct sn_tok_index *x, const char *s, size_t n); /* or -1 */
/* Begins to bring in what a find of s will read. */
void sn_tok_index_prefetch(const struct sn_tok_index *x, const char *s, size_t n);
void sn_tok_index_fini(struct sn_tok_index *x);

struct sn_tok_merge {
    int32_t left, right;
    uint32_t rank; /* SN_TOK_NO_RANK: an empty slot */
    int32_t id;
};
struct sn_tok_merges {
    struct sn_tok_merge *slot;
    size_t mask;
    uint64_t seed;
};
int sn_tok_merges_init(struct sn_tok_merges *m, size_t n, struct sn_diag *d);
void sn_tok_merges_prefetch(const struct sn_tok_merges *m, int32_t left, int32_t right);
/* The first of equal pairs stays. */
void sn_tok_merges_add(struct sn_tok_merges *m, struct sn_tok_merge merge);
const struct sn_tok_merge *sn_tok_merges_find(const struct sn_tok_merges *m, int32_t left,
                                              int32_t right);
void sn_tok_merges_fini(struct sn_tok_merges *m);

/* --- special tokens: ids sorted by text, with a table of where each first byte begins --- */
struct sn_tok_specials {
    int32_t *ids;
    size_t n;
    uint32_t first[257];
};
int sn_tok_specials_build(struct sn_tok_specials *x, const struct sn_tokenizer *t,
                          struct sn_diag *d);
/* The first match at or after `from`: its id, place and length; -1 when there is none. */
int32_t sn_tok_specials_next(const struct sn_tok_specials *x, const struct sn_tokenizer *t,
                             const char *text, size_t n, size_t from, size_t *at, size_t *len);
void sn_tok_specials_fini(struct sn_tok_specials *x);

struct sn_tokenizer {
    enum sn_tok_kind kind;
    char *pre;
    const struct sn_tok_family *family; /* byte BPE only, as the next */
    struct sn_tok_splitter *splitter;
    size_t n, longest;       /* tokens; bytes of the longest */
    char *bytes;             /* texts as in the file, back to back */
    uint32_t *at;            /* n + 1 */
    uint8_t *type;           /* n, enum sn_tok_type */
    uint8_t *eog;            /* n, 0 or 1 */
    uint32_t *rank;          /* n, by score: lower merges first; SentencePiece only */
    struct sn_tok_index index;
    struct sn_tok_merges merges;
    struct sn_tok_specials specials; /* control, unknown and user-defined tokens */
    int32_t byte_id[256];    /* the token of a byte, or -1 */
    int32_t bos, eos, eot, eom, unk; /* or -1 */
    bool add_bos, add_eos, add_space;
};

static inline const char *sn_tok_text(const struct sn_tokenizer *t, int32_t id, size_t *n)
{
    *n = t->at[id + 1] - t->at[id];
    return t->bytes + t->at[id];
}

/* --- merging --- */
struct sn_tok_sym {
    int32_t prev, next; /* -1: none */
    uint32_t at, len;   /* bytes of the piece that it covers */
    int32_t id;         /* -1: not a token */
    uint32_t rank;      /* of the pair (this, next); SN_TOK_NO_RANK: they do not merge */
    int32_t merged;     /* the token that the pair becomes */
};
/* One encode call's scratch. */
struct sn_tok_work {
    const struct sn_tokenizer *t;
    struct sn_ids *ids;
    struct sn_diag *d;
    struct sn_tok_sym *sym;
    size_t n_sym, cap_sym;
    uint64_t *heap; /* rank << 32 | symbol: the lowest rank first, then the leftmost */
    size_t n_heap, cap_heap;
    struct sn_strbuf text; /* a piece in the vocabulary's own spelling */
};
void sn_tok_work_fini(struct sn_tok_work *w);
/* A piece's tokens, appended to w->ids. */
sn_tok_piece_fn sn_tok_byte_piece, sn_tok_raw_piece, sn_tok_score_piece; /* ctx: sn_tok_work */

/* Appends the canonical composition of valid UTF-8. */
int sn_tok_nfc(const char *text, size_t n, struct sn_strbuf *out, struct sn_diag *d);

/* --- characters --- */
enum sn_utf8 { SN_UTF8_OK, SN_UTF8_BAD, SN_UTF8_CUT };
/* Looks at the character that s begins with (n > 0). *len: its bytes; when BAD, those to skip as
 * one unit (Unicode's maximal subpart); CUT: all n bytes begin a character that needs more. */
enum sn_utf8 sn_utf8_step(const char *s, size_t n, size_t *len);
/* The byte alphabet of GPT-2: what stands for byte b, and which byte a code point stands for (-1:
 * none). */
unsigned sn_tok_byte_to_cp(unsigned char b);
int sn_tok_cp_to_byte(unsigned cp);
unsigned sn_utf8_cp(const char *s, size_t len); /* of one valid character */

#endif
