/* The loop: a lane a recording. A batch takes windows from the lanes, one of each and again, as many as are
 * decoded together; each is encoded and becomes a memory of the engine. What a window's text leaves
 * unsaid becomes a window again. Segments are kept in order of time and given out once nothing that is
 * still open can come before them. */
#include "config.h"
#include "pipeline/transcribe_impl.h"

#include <string.h>

#include "base/media.h"
#include "base/mem.h"
#include "encoders/mel.h"
#include "model/gguf.h"

enum {
    TOGETHER = 8, TOGETHER_MAX = 256, BEST_OF = 5, BATCH_ROWS = 128,
    MEMORY_BYTES = 40 << 20, /* that the windows' keys and values may take, unless one takes more */
};

struct lane {
    struct lane *next;
    struct sn_transcribe_job *job;
    const struct sn_transcribe_cfg *cfg;
    struct sn_cutter *cutter;
    struct sn_window *left;  /* (n_left) what has to be heard again */
    size_t n_left, cap_left;
    int32_t language;        /* -1: not known yet */
    size_t n_given;          /* segments that were given out */
    bool done, given;        /* given: and all of it was given out */
};

struct item {
    struct lane *lane;
    struct sn_window window;
    struct sn_whisper_text text;
};

struct sn_transcription {
    struct sn_transcriber *t;
    struct lane *lanes;      /* in the order in which they came */
    struct item *items;      /* (n_together) */
    size_t n_items;
    const atomic_bool *stop; /* of the step that is made, as is */
    struct sn_diag *d;
};

/* --- transcripts --- */

static void fini_segment(struct sn_segment *s)
{
    for (size_t i = 0; i < s->n_words; i++) sn_free(s->words[i].text);
    sn_free(s->words);
    sn_free(s->text);
    *s = (struct sn_segment){0};
}

void sn_transcript_fini(struct sn_transcript *t)
{
    for (size_t i = 0; i < t->n; i++) fini_segment(&t->segments[i]);
    sn_free(t->segments);
    *t = (struct sn_transcript){0};
}

/* In order of time; takes *s. */
static int add_segment(struct sn_transcript *t, struct sn_segment *s, struct sn_diag *d)
{
    if (!sn_grow((void **)&t->segments, &t->cap, t->n + 1, sizeof *t->segments)) {
        fini_segment(s);
        return sn_fail(d, SN_ENOMEM, "transcribe: %zu segments", t->n);
    }
    size_t at = t->n++;
    for (; at > 0 && t->segments[at - 1].start > s->start; at--) t->segments[at] = t->segments[at - 1];
    t->segments[at] = *s;
    *s = (struct sn_segment){0};
    return 0;
}

/* Blanks around a text, taken away; whether anything is left. */
static bool trim(char *s)
{
    size_t n = strlen(s), skip = strspn(s, " \t\n");
    while (n > skip && strchr(" \t\n", s[n - 1])) n--;
    memmove(s, s + skip, n - skip);
    s[n - skip] = '\0';
    return n > skip;
}

/* --- lanes --- */

static void close_lane(struct lane *l)
{
    if (l->cutter) l->job->out.seconds = (double)sn_cutter_heard(l->cutter) / SN_AUDIO_RATE;
    sn_cutter_free(&l->cutter);
    for (size_t i = 0; i < l->n_left; i++) sn_window_fini(&l->left[i]);
    sn_free(l->left);
    l->left = NULL;
    l->n_left = 0;
    l->done = true;
}

static void fail_lane(struct lane *l, int rc, const struct sn_diag *d)
{
    l->job->rc = rc;
    l->job->diag = *d;
    close_lane(l);
}

/* Samples before which nothing can be said any more. */
static uint64_t settled(const struct lane *l)
{
    uint64_t at = l->done ? UINT64_MAX : sn_cutter_position(l->cutter);
    for (size_t i = 0; i < l->n_left; i++) at = l->left[i].begin < at ? l->left[i].begin : at;
    return at;
}

static void give_out(struct lane *l)
{
    struct sn_transcribe_job *job = l->job;
    const uint64_t at = settled(l);
    for (; l->n_given < job->out.n; l->n_given++) {
        const struct sn_segment *s = &job->out.segments[l->n_given];
        if (at != UINT64_MAX && s->start * SN_AUDIO_RATE >= (double)at) break;
        if (job->segment) job->segment(job->ctx, &job->out, s);
    }
    if (job->progress)
        job->progress(job->ctx, l->done ? job->out.seconds : (double)at / SN_AUDIO_RATE);
}

static int take_again(struct lane *l, const struct sn_window *w, size_t used, struct sn_diag *d)
{
    struct sn_window rest = {.n = w->n - used, .begin = w->begin + used};
    if (!sn_sound_is_heard(w->pcm + used, rest.n)) return 0;
    rest.pcm = sn_malloc_array(rest.n, sizeof *rest.pcm);
    if (!rest.pcm || !sn_grow((void **)&l->left, &l->cap_left, l->n_left + 1, sizeof *l->left)) {
        sn_window_fini(&rest);
        return sn_fail(d, SN_ENOMEM, "transcribe: a window of %zu samples", w->n - used);
    }
    memcpy(rest.pcm, w->pcm + used, rest.n * sizeof *rest.pcm);
    l->left[l->n_left++] = rest;
    return 0;
}

/* --- a batch: collecting --- */

/* Windows are decoded together when they are decoded alike. */
static bool decodes_alike(const struct lane *a, const struct lane *b)
{
    const struct sn_whisper_cfg *x = &a->cfg->decode, *y = &b->cfg->decode;
    return x->translate == y->translate && x->no_times == y->no_times && x->keep_symbols == y->keep_symbols &&
           x->temperatures == y->temperatures && x->n_temperatures == y->n_temperatures &&
           x->best_of == y->best_of && x->max_tokens == y->max_tokens &&
           x->compression_max == y->compression_max && x->logprob_min == y->logprob_min &&
           x->no_speech_min == y->no_speech_min && x->previous == y->previous && x->n_previous == y->n_previous;
}

/* The lane's next window, if it has one now. */
static bool collect_one(struct sn_transcription *p, struct lane *l)
{
    struct item *item = &p->items[p->n_items];
    bool got = l->n_left > 0;
    *item = (struct item){.lane = l};
    if (got) {
        item->window = l->left[--l->n_left];
    } else {
        struct sn_diag d;
        const int rc = sn_cutter_next(l->cutter, &item->window, &got, &d);
        if (rc < 0) fail_lane(l, rc, &d);
    }
    p->n_items += got;
    return got;
}

/* A window of each that is open, and again, so that a long recording does not keep short ones waiting. */
static void collect(struct sn_transcription *p)
{
    bool any = true;
    for (p->n_items = 0; any && p->n_items < p->t->n_together;) {
        size_t n_open = 0;
        any = false;
        for (struct lane *l = p->lanes; l && p->n_items < p->t->n_together; l = l->next) {
            if (l->done) continue;
            if (++n_open > SN_TRANSCRIBE_OPEN) break;
            if (!p->n_items || decodes_alike(l, p->items[0].lane)) any |= collect_one(p, l);
        }
    }
}

/* --- a batch: encoding and decoding --- */

static int encode(struct sn_transcription *p, size_t i)
{
    struct sn_transcriber *t = p->t;
    const struct sn_window *w = &p->items[i].window;
    struct sn_features rows = {0};
    int rc = sn_mel_window(t->mel, w->pcm, w->n, sn_audio_tower_n_frames(t->tower), NULL, t->mels, p->d);
    if (rc == 0)
        rc = sn_audio_encode(t->tower, &(struct sn_audio_windows){.mel = t->mels, .n_windows = 1},
                             &rows, p->stop, p->d);
    if (rc == 0) rc = sn_memory_set(t->engine, (int32_t)i, rows.x, rows.n_rows, p->d);
    sn_features_fini(&rows);
    return rc;
}

static int detect_language(struct sn_transcription *p, size_t i)
{
    struct lane *l = p->items[i].lane;
    struct sn_transcript *out = &l->job->out;
    if (l->language >= 0 || out->language[0]) return 0;
    const int rc = sn_whisper_detect(p->t->whisper, p->t->engine, (int32_t)i, &l->language,
                                     &out->language_probability, p->stop, p->d);
    if (rc == 0) sn_whisper_language_code(p->t->whisper, l->language, out->language);
    return rc;
}

static int decode(struct sn_transcription *p)
{
    struct sn_whisper_window *windows = sn_calloc(p->n_items, sizeof *windows);
    struct sn_whisper_text *texts = sn_calloc(p->n_items, sizeof *texts);
    int rc = windows && texts ? 0 : sn_fail(p->d, SN_ENOMEM, "transcribe: %zu windows", p->n_items);
    for (size_t i = 0; i < p->n_items && rc == 0; i++) {
        rc = encode(p, i);
        if (rc == 0) rc = detect_language(p, i);
        if (rc == 0) windows[i] = (struct sn_whisper_window){(int32_t)i, p->items[i].lane->language};
    }
    if (rc == 0)
        rc = sn_whisper_decode(p->t->whisper, p->t->engine, windows, p->n_items,
                               &p->items[0].lane->cfg->decode, texts, p->stop, p->d);
    for (size_t i = 0; i < p->n_items && rc == 0; i++) p->items[i].text = texts[i];
    sn_free(windows);
    sn_free(texts);
    return rc;
}

/* --- a batch: what was said --- */

static int take_words(struct sn_segment *s, const struct sn_spoken *piece, double offset,
                      struct sn_timed_words *all, struct sn_diag *d)
{
    size_t first = 0, n = 0;
    while (first < all->n && all->token[first] < piece->first) first++;
    while (first + n < all->n && all->token[first + n] < piece->first + piece->n) n++;
    if (!n) return 0;
    s->words = sn_calloc(n, sizeof *s->words);
    if (!s->words) return sn_fail(d, SN_ENOMEM, "transcribe: %zu words", n);
    s->n_words = n;
    for (size_t i = 0; i < n; i++) {
        s->words[i] = all->words[first + i];
        all->words[first + i].text = NULL; /* a word belongs to one segment */
        s->words[i].start += offset;
        s->words[i].end += offset;
    }
    s->start = s->words[0].start;
    s->end = s->words[n - 1].end;
    return 0;
}

static int put_piece(struct sn_transcription *p, const struct item *item, const struct sn_spoken *piece,
                     struct sn_timed_words *words)
{
    const struct sn_whisper_text *text = &item->text;
    const double offset = (double)item->window.begin / SN_AUDIO_RATE;
    struct sn_segment s = {
        .start = offset + piece->start, .end = offset + piece->end, .avg_logprob = text->avg_logprob,
        .no_speech_prob = text->no_speech_prob, .compression = text->compression,
        .temperature = text->temperature,
    };
    int rc = sn_spoken_text(p->t, text->tokens + piece->first, piece->n, &s.text, p->d);
    if (rc == 0 && trim(s.text) && piece->end > piece->start) {
        rc = take_words(&s, piece, offset, words, p->d);
        if (rc == 0) return add_segment(&item->lane->job->out, &s, p->d);
    }
    fini_segment(&s);
    return rc;
}

static int take_item(struct sn_transcription *p, size_t i)
{
    struct item *item = &p->items[i];
    struct lane *l = item->lane;
    struct sn_timed_words words = {0};
    size_t used;
    struct sn_spoken *pieces = sn_malloc_array(item->text.n + 1, sizeof *pieces);
    if (!pieces) return sn_fail(p->d, SN_ENOMEM, "transcribe: %zu tokens", item->text.n);
    const size_t n = sn_split_text(p->t->whisper, &item->text, item->window.n, l->cfg->decode.no_times,
                                   pieces, &used);
    int rc = 0;
    if (n && l->cfg->words)
        rc = sn_time_words(p->t, &(struct sn_whisper_window){(int32_t)i, l->language}, &item->text,
                           &l->cfg->decode, item->window.n, &words, p->stop, p->d);
    for (size_t k = 0; k < n && rc == 0; k++) rc = put_piece(p, item, &pieces[k], &words);
    if (l->done) {
        /* its reading failed: what came before is what there is */
    } else if (rc == 0 && item->window.open)
        sn_cutter_go_on(l->cutter, used);
    else if (rc == 0 && used < item->window.n)
        rc = take_again(l, &item->window, used, p->d);
    sn_timed_words_fini(&words);
    sn_free(pieces);
    return rc;
}

/* What a batch that was stopped has of a lane is heard again. */
static int take_back(struct item *item, struct sn_diag *d)
{
    struct lane *l = item->lane;
    if (l->done) return 0;
    if (!sn_grow((void **)&l->left, &l->cap_left, l->n_left + 1, sizeof *l->left))
        return sn_fail(d, SN_ENOMEM, "transcribe: a window of %zu samples", item->window.n);
    l->left[l->n_left++] = item->window;
    item->window = (struct sn_window){0};
    return 0;
}

static int run_batch(struct sn_transcription *p)
{
    int rc = decode(p);
    size_t n_taken = 0;
    for (; n_taken < p->n_items && rc == 0; n_taken += rc == 0) rc = take_item(p, n_taken);
    for (size_t i = p->n_items; i-- > n_taken && rc == -SN_ECANCELLED;)
        if (take_back(&p->items[i], p->d) < 0) rc = -SN_ENOMEM;
    for (size_t i = 0; i < p->n_items; i++) {
        sn_whisper_text_fini(&p->items[i].text);
        sn_window_fini(&p->items[i].window);
    }
    p->n_items = 0;
    return rc;
}

/* --- the loop --- */

/* Lanes that are at their end are closed; all give out what cannot change any more. */
static void settle(struct sn_transcription *p)
{
    for (struct lane *l = p->lanes; l; l = l->next) {
        if (!l->done && !l->n_left && sn_cutter_ended(l->cutter)) close_lane(l);
        if (l->given) continue;
        give_out(l);
        l->given = l->done;
        l->job->done = l->done;
    }
}

static bool all_done(const struct sn_transcription *p)
{
    for (const struct lane *l = p->lanes; l; l = l->next)
        if (!l->done) return false;
    return true;
}

int sn_transcription_new(struct sn_transcriber *t, struct sn_transcription **out, struct sn_diag *d)
{
    struct sn_transcription *p = sn_calloc(1, sizeof *p);
    if (p) p->items = sn_calloc(t->n_together, sizeof *p->items);
    if (!p || !p->items) {
        sn_free(p);
        return sn_fail(d, SN_ENOMEM, "transcribe: %u windows", t->n_together);
    }
    p->t = t;
    *out = p;
    return 0;
}

void sn_transcription_free(struct sn_transcription **pp)
{
    struct sn_transcription *p = *pp;
    if (!p) return;
    while (p->lanes) sn_transcription_remove(p, p->lanes->job);
    sn_free(p->items);
    sn_free(p);
    *pp = NULL;
}

static int check_cfg(const struct sn_transcriber *t, const struct sn_transcribe_cfg *cfg,
                     struct sn_diag *d)
{
    if (cfg->language && !sn_transcriber_knows(t, cfg->language))
        return sn_fail(d, SN_EINVAL, "transcribe: the model does not know the language '%.20s'",
                       cfg->language);
    if (cfg->decode.translate && !sn_transcriber_is_multilingual(t))
        return sn_fail(d, SN_EUNSUPPORTED, "transcribe: the model knows English only and cannot "
                       "translate");
    return 0;
}

static int open_lane(struct sn_transcription *p, struct lane *l, struct sn_diag *d)
{
    struct sn_transcribe_job *job = l->job;
    job->rc = 0;
    job->done = false;
    sn_diag_init(&job->diag);
    l->language = l->cfg->language ? sn_whisper_language(p->t->whisper, l->cfg->language) : -1;
    if (l->cfg->language) {
        strncat(job->out.language, l->cfg->language, sizeof job->out.language - 1);
        job->out.language_probability = 1;
    }
    return sn_cutter_new(&job->in, l->cfg->everything, &l->cutter, d);
}

int sn_transcription_add(struct sn_transcription *p, struct sn_transcribe_job *job,
                         const struct sn_transcribe_cfg *cfg, struct sn_diag *d)
{
    int rc = check_cfg(p->t, cfg, d);
    struct lane *l = rc == 0 ? sn_calloc(1, sizeof *l) : NULL;
    if (!l) return rc < 0 ? rc : sn_fail(d, SN_ENOMEM, "transcribe: no memory for a recording");
    l->job = job;
    l->cfg = cfg;
    rc = open_lane(p, l, d);
    if (rc < 0) {
        sn_free(l);
        return rc;
    }
    struct lane **at = &p->lanes;
    while (*at) at = &(*at)->next;
    *at = l;
    return 0;
}

void sn_transcription_remove(struct sn_transcription *p, struct sn_transcribe_job *job)
{
    for (struct lane **at = &p->lanes; *at; at = &(*at)->next) {
        struct lane *l = *at;
        if (l->job != job) continue;
        *at = l->next;
        close_lane(l);
        sn_free(l);
        return;
    }
}

int sn_transcription_step(struct sn_transcription *p, const atomic_bool *stop, struct sn_diag *d)
{
    int rc = 0;
    p->stop = stop;
    p->d = d;
    collect(p);
    if (p->n_items) rc = run_batch(p);
    if (rc < 0) return rc;
    settle(p);
    return !all_done(p);
}

int sn_transcribe(struct sn_transcriber *t, struct sn_transcribe_job *jobs, size_t n_jobs,
                  const struct sn_transcribe_cfg *cfg, const atomic_bool *stop, struct sn_diag *d)
{
    struct sn_transcription *p = NULL;
    int rc = sn_transcription_new(t, &p, d), more = 1;
    for (size_t i = 0; i < n_jobs && rc == 0; i++) rc = sn_transcription_add(p, &jobs[i], cfg, d);
    if (rc == 0 && !n_jobs) rc = check_cfg(t, cfg, d);
    while (rc == 0 && more > 0) more = sn_transcription_step(p, stop, d);
    sn_transcription_free(&p);
    return rc < 0 ? rc : more;
}

/* --- open, close --- */

enum { ALIGNMENT_MAX = 1024 };

/* The file's heads, or, as OpenAI does without a list, all of the upper half of the layers. */
static int read_alignment(struct sn_transcriber *t, const struct sn_gguf *g, struct sn_diag *d)
{
    const char *const key = "whisper.alignment_heads";
    const struct sn_gguf_value *v = NULL;
    uint64_t n_layers = 0, n_heads = 0;
    int rc = sn_gguf_get_u64(g, "whisper.block_count", 1, 1024, &n_layers, d);
    if (rc == 0) rc = sn_gguf_get_u64(g, "whisper.attention.head_count", 1, 1024, &n_heads, d);
    if (rc == 0 && sn_gguf_find(g, key)) rc = sn_gguf_get_array(g, key, SN_GGUF_I64, &v, d);
    if (rc < 0) return rc;
    t->n_layers = (uint32_t)n_layers;
    const uint64_t from = n_layers / 2;
    const uint64_t n = v ? v->count / 2 : (n_layers - from) * n_heads;
    t->alignment = n && n <= ALIGNMENT_MAX ? sn_calloc(n, sizeof *t->alignment) : NULL;
    if (!t->alignment)
        return sn_fail(d, SN_ELIMIT, "%s: %llu heads that follow words", sn_gguf_name(g),
                       (unsigned long long)n);
    t->n_alignment = (size_t)n;
    for (uint64_t i = 0; i < n; i++) {
        const int64_t layer = v ? sn_gguf_at_i64(v, 2 * i) : (int64_t)(from + i / n_heads);
        const int64_t head = v ? sn_gguf_at_i64(v, 2 * i + 1) : (int64_t)(i % n_heads);
        if (layer < 0 || layer >= (int64_t)n_layers || head < 0 || head >= (int64_t)n_heads)
            return sn_fail(d, SN_EFORMAT, "%s: %s: head %lld of layer %lld", sn_gguf_name(g), key,
                           (long long)head, (long long)layer);
        t->alignment[i] = (struct sn_cross_head){(uint32_t)layer, (uint32_t)head};
    }
    return 0;
}

/* As many windows as the memory bound allows; large models decode one by one. */
static uint32_t default_together(const struct sn_transcriber *t)
{
    const size_t per_window = (size_t)t->n_layers * sn_audio_tower_n_rows(t->tower) *
                              sn_llm_n_embd(t->llm) * 2 * sizeof(uint16_t);
    return (uint32_t)sn_max(sn_min(MEMORY_BYTES / per_window, TOGETHER), 1);
}

static int new_engine(struct sn_transcriber *t, struct sn_diag *d)
{
    if (!t->n_together) t->n_together = default_together(t);
    const uint32_t n_ctx = sn_llm_n_ctx_train(t->llm);
    const size_t n_seqs = sn_max(t->n_together, BEST_OF);
    const size_t seq_tokens = ((size_t)n_ctx + SN_KV_PAGE - 1) / SN_KV_PAGE * SN_KV_PAGE;
    const struct sn_engine_cfg cfg = {.n_tokens = n_seqs * seq_tokens, .n_memories = t->n_together,
                                      .batch_max = BATCH_ROWS,
                                      .memory_rows = sn_audio_tower_n_rows(t->tower)};
    if (sn_audio_tower_width(t->tower) != sn_llm_n_embd(t->llm))
        return sn_fail(d, SN_EFORMAT, "transcribe: encoder rows of %u for a decoder of %u",
                       sn_audio_tower_width(t->tower), sn_llm_n_embd(t->llm));
    return sn_engine_new(t->llm, &cfg, &t->engine, d);
}

static int open_parts(struct sn_transcriber *t, struct sn_gguf **file, struct sn_diag *d)
{
    int rc = read_alignment(t, *file, d);
    if (rc == 0) rc = sn_audio_tower_open(t->dev, *file, &t->tower, d);
    if (rc == 0) rc = sn_llm_take(t->dev, file, &t->llm, d);
    if (rc == 0) rc = sn_whisper_new(t->llm, &t->whisper, d);
    if (rc == 0) rc = sn_mel_new(sn_audio_tower_n_mels(t->tower), &t->mel, d);
    if (rc == 0 && sn_audio_tower_n_frames(t->tower) != SN_MEL_FRAMES)
        rc = sn_fail(d, SN_EUNSUPPORTED, "transcribe: windows of %u frames, not %d",
                     sn_audio_tower_n_frames(t->tower), SN_MEL_FRAMES);
    if (rc == 0) rc = new_engine(t, d);
    if (rc < 0) return rc;
    t->mels = sn_malloc_array((size_t)sn_audio_tower_n_mels(t->tower) * SN_MEL_FRAMES,
                              sizeof *t->mels);
    return t->mels ? 0 : sn_fail(d, SN_ENOMEM, "transcribe: a spectrogram");
}

int sn_transcriber_new(struct sn_device *dev, struct sn_gguf **file, uint32_t n_together,
                       struct sn_transcriber **out, struct sn_diag *d)
{
    struct sn_transcriber *t = sn_calloc(1, sizeof *t);
    int rc = 0;
    if (!t)
        rc = sn_fail(d, SN_ENOMEM, "transcribe: no memory");
    else if (n_together > TOGETHER_MAX)
        rc = sn_fail(d, SN_ELIMIT, "transcribe: %u windows at once, at most %d", n_together,
                     TOGETHER_MAX);
    if (rc == 0) {
        t->dev = dev;
        t->n_together = n_together;
        rc = open_parts(t, file, d);
    }
    sn_gguf_free(file);
    if (rc < 0)
        sn_transcriber_free(&t);
    else
        *out = t;
    return rc;
}

void sn_transcriber_free(struct sn_transcriber **tp)
{
    struct sn_transcriber *t = *tp;
    if (!t) return;
    sn_engine_free(&t->engine);
    sn_whisper_free(&t->whisper);
    sn_llm_free(&t->llm);
    sn_audio_tower_free(&t->tower);
    sn_mel_free(&t->mel);
    sn_free(t->alignment);
    sn_free(t->mels);
    sn_free(t);
    *tp = NULL;
}

bool sn_transcriber_is_multilingual(const struct sn_transcriber *t)
{
    return sn_whisper_is_multilingual(t->whisper);
}

bool sn_transcriber_knows(const struct sn_transcriber *t, const char *language)
{
    if (!sn_transcriber_is_multilingual(t)) return strcmp(language, "en") == 0;
    return sn_whisper_language(t->whisper, language) >= 0;
}

size_t sn_transcriber_kv_bytes(const struct sn_transcriber *t) { return sn_engine_kv_bytes(t->engine); }
