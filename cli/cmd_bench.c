#include "config.h"
#include "cli/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/bandwidth.h"
#include "cli/bench_media.h"
#include "cli/json.h"
#include "cli/machine.h"
#include "cli/options.h"
#include "cli/session.h"
#include "cli/terminal.h"

struct bench_opts {
    struct cli_model_opts model;
    struct cli_picture_opts pictures;
    uint32_t prefill, decode, batch, depth, repeat;
    bool json, bandwidth;
};

struct bench_result { /* times: medians over the rounds */
    double load_s, load_to_first_token_s, prefill_s, decode_s;
    double prefill_attention, decode_attention; /* shares of those times, of the last round */
    size_t kv_bytes, peak_rss_bytes;
    double read_gb_per_s; /* 0: not measured */
};

struct bench {
    const struct bench_opts *o;
    struct cli_session session;
    struct sn_chunk *chunks;         /* batch */
    int32_t *prompt, *next;          /* prefill; batch */
    float *logits;                   /* (batch, n_vocab) */
    double *prefill_s, *decode_s;    /* repeat each */
    double opened_s;                 /* the clock, before the model was opened */
    uint64_t random;
};

/* Any id: what the tokens are does not matter for time, but equal ones would make a mixture of
 * experts look too fast. */
static void random_ids(struct bench *b, int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        b->random ^= b->random << 13; /* xorshift64 */
        b->random ^= b->random >> 7;
        b->random ^= b->random << 17;
        ids[i] = (int32_t)(b->random % sn_llm_n_vocab(b->session.llm));
    }
}

static int step(struct bench *b, size_t first, size_t n, struct sn_diag *d)
{
    return sn_engine_step(b->session.engine, b->chunks + first, n, b->logits, cli_interrupted, d);
}

static int truncate_all(struct bench *b, struct sn_diag *d)
{
    int rc = 0;
    for (uint32_t i = 0; i < b->o->batch && rc == 0; i++)
        rc = sn_seq_truncate(b->session.engine, b->chunks[i].seq, 0, d);
    return rc;
}

/* The prompt into the first sequence alone. */
static int prefill(struct bench *b, double *seconds, struct sn_diag *d)
{
    b->chunks[0].tokens = b->prompt;
    b->chunks[0].n = b->o->prefill;
    b->chunks[0].n_logits = 1;
    const double t0 = sn_clock_s();
    const int rc = step(b, 0, 1, d);
    *seconds = sn_clock_s() - t0;
    return rc;
}

/* Every sequence to `depth` tokens, at least one. */
static int deepen(struct bench *b, struct sn_diag *d)
{
    const size_t depth = sn_max(b->o->depth, 1);
    const int rc = truncate_all(b, d);
    for (uint32_t i = 0; i < b->o->batch; i++)
        b->chunks[i] = (struct sn_chunk){.seq = b->chunks[i].seq, .tokens = b->prompt, .n = depth,
                                         .n_logits = 1};
    return rc < 0 ? rc : step(b, 0, b->o->batch, d);
}

static int decode(struct bench *b, double *seconds, struct sn_diag *d)
{
    int rc = 0;
    const double t0 = sn_clock_s();
    for (uint32_t n = 0; n < b->o->decode && rc == 0; n++) {
        random_ids(b, b->next, b->o->batch);
        for (uint32_t i = 0; i < b->o->batch; i++) {
            b->chunks[i].tokens = b->next + i;
            b->chunks[i].n = 1;
        }
        rc = step(b, 0, b->o->batch, d);
    }
    *seconds = sn_clock_s() - t0;
    return rc;
}

static int run_round(struct bench *b, double *prefill_s, double *decode_s, struct bench_result *r,
                     struct sn_diag *d)
{
    const struct sn_device *dev = b->session.device;
    double t0 = sn_device_attention_s(dev);
    int rc = prefill(b, prefill_s, d);
    r->prefill_attention = (sn_device_attention_s(dev) - t0) / *prefill_s;
    if (rc == 0 && b->o->decode)
        rc = deepen(b, d);
    t0 = sn_device_attention_s(dev);
    if (rc == 0 && b->o->decode)
        rc = decode(b, decode_s, d);
    if (b->o->decode)
        r->decode_attention = (sn_device_attention_s(dev) - t0) / *decode_s;
    return rc < 0 ? rc : truncate_all(b, d);
}

/* What a user waits for: from opening the file to the logits of a short prompt. */
static int first_token(struct bench *b, struct bench_result *r, struct sn_diag *d)
{
    const size_t n = sn_min(8, sn_max(b->o->prefill, b->o->depth));
    b->chunks[0] = (struct sn_chunk){.seq = b->chunks[0].seq, .tokens = b->prompt, .n = n,
                                     .n_logits = 1};
    const int rc = step(b, 0, 1, d);
    r->load_to_first_token_s = sn_clock_s() - b->opened_s;
    return rc < 0 ? rc : truncate_all(b, d);
}

static int run_rounds(struct bench *b, struct bench_result *out, struct sn_diag *d)
{
    int rc = 0;
    double unused[2]; /* the first round touches the pages of weights and cache: not counted */
    for (uint32_t i = 0; i < b->o->batch && rc == 0; i++)
        rc = sn_seq_new(b->session.engine, &b->chunks[i].seq, d);
    random_ids(b, b->prompt, sn_max(b->o->prefill, b->o->depth));
    if (rc == 0)
        rc = first_token(b, out, d);
    if (rc == 0)
        rc = run_round(b, &unused[0], &unused[1], out, d);
    for (uint32_t i = 0; i < b->o->repeat && rc == 0; i++)
        rc = run_round(b, &b->prefill_s[i], &b->decode_s[i], out, d);
    if (rc < 0)
        return rc;
    out->prefill_s = cli_median(b->prefill_s, b->o->repeat);
    out->decode_s = cli_median(b->decode_s, b->o->repeat);
    return 0;
}

static int bench_init(struct bench *b, const struct bench_opts *o, struct sn_diag *d)
{
    *b = (struct bench){.o = o, .random = 88172645463325252u, .opened_s = sn_clock_s()};
    const size_t decoded = sn_max(o->depth, 1) + (size_t)o->decode;
    const size_t length = sn_max(o->prefill, decoded);
    const struct sn_engine_cfg cfg = {.n_ctx = (uint32_t)length,
                                      .n_tokens = sn_max(sn_round_up(length, SN_KV_PAGE),
                                                         o->batch * sn_round_up(decoded, SN_KV_PAGE))};
    const int rc = cli_session_open(&o->model, &cfg, &b->session, d);
    if (rc < 0)
        return rc;
    const size_t n_vocab = sn_llm_n_vocab(b->session.llm);
    b->chunks = sn_calloc(o->batch, sizeof *b->chunks);
    b->prompt = sn_calloc(sn_max(o->prefill, o->depth), sizeof *b->prompt);
    b->next = sn_calloc(o->batch, sizeof *b->next);
    b->logits = sn_malloc_array(o->batch * n_vocab, sizeof *b->logits); /* both are 32 bits wide */
    b->prefill_s = sn_calloc(o->repeat, sizeof *b->prefill_s);
    b->decode_s = sn_calloc(o->repeat, sizeof *b->decode_s);
    if (!b->chunks || !b->prompt || !b->next || !b->logits || !b->prefill_s || !b->decode_s)
        return sn_fail(d, SN_ENOMEM, "bench: room for %u sequences", o->batch);
    return 0;
}

static void bench_fini(struct bench *b)
{
    cli_session_close(&b->session);
    sn_free(b->chunks);
    sn_free(b->prompt);
    sn_free(b->next);
    sn_free(b->logits);
    sn_free(b->prefill_s);
    sn_free(b->decode_s);
}

static int print_json(const struct bench *b, const struct bench_result *r, struct sn_diag *d)
{
    const struct bench_opts *o = b->o;
    json_t *j = json_object();
    cli_json_set(j, "model", sn_json_text(b->session.path, strlen(b->session.path)));
    cli_json_set(j, "device", json_string(sn_device_describe(b->session.device)));
    cli_json_set(j, "prefill_tokens", json_integer(o->prefill));
    cli_json_set(j, "decode_tokens", json_integer(o->decode));
    cli_json_set(j, "batch", json_integer(o->batch));
    cli_json_set(j, "repeat", json_integer(o->repeat));
    cli_json_set(j, "load_s", json_real(r->load_s));
    cli_json_set(j, "depth", json_integer(o->depth));
    cli_json_set(j, "load_to_first_token_s", json_real(r->load_to_first_token_s));
    cli_json_set(j, "first_token_s", json_real(r->prefill_s));
    cli_json_set(j, "prefill_attention_share", json_real(r->prefill_attention));
    cli_json_set(j, "prefill_tokens_per_s", json_real(o->prefill / r->prefill_s));
    if (o->decode) {
        cli_json_set(j, "decode_tokens_per_s",
                     json_real((double)o->decode * o->batch / r->decode_s));
        cli_json_set(j, "decode_attention_share", json_real(r->decode_attention));
    }
    cli_json_set(j, "kv_bytes", json_integer((json_int_t)r->kv_bytes));
    cli_json_set(j, "peak_rss_bytes", json_integer((json_int_t)r->peak_rss_bytes));
    if (r->read_gb_per_s > 0)
        cli_json_set(j, "read_gb_per_s", json_real(r->read_gb_per_s));
    return cli_json_print(j, d);
}

static void print_text(const struct bench *b, const struct bench_result *r)
{
    const struct bench_opts *o = b->o;
    printf("%s\n%s\n", b->session.path, sn_device_describe(b->session.device));
    printf("load         %10.3f s  (to the first token of a short prompt: %.3f s)\n", r->load_s,
           r->load_to_first_token_s);
    printf("prefill      %10.1f tokens/s  (%u tokens, first token after %.3f s)\n",
           o->prefill / r->prefill_s, o->prefill, r->prefill_s);
    if (o->decode)
        printf("decode       %10.1f tokens/s  (%u tokens, %u sequence%s)\n",
               (double)o->decode * o->batch / r->decode_s, o->decode, o->batch,
               o->batch == 1 ? "" : "s together");
    printf("cache        %10.1f MB\n", (double)r->kv_bytes / 1e6);
    printf("peak memory  %10.1f MB\n", (double)r->peak_rss_bytes / 1e6);
    if (r->read_gb_per_s > 0)
        printf("memory reads %10.1f GB/s\n", r->read_gb_per_s);
}

static int bench(const struct bench_opts *o, struct sn_diag *d)
{
    struct bench b;
    struct bench_result r = {0};
    int rc = bench_init(&b, o, d);
    if (rc == 0)
        rc = run_rounds(&b, &r, d);
    if (rc == 0) {
        r.load_s = b.session.load_s;
        r.kv_bytes = sn_engine_kv_bytes(b.session.engine);
        r.peak_rss_bytes = cli_peak_rss_bytes(); /* before the buffer that bandwidth reads */
    }
    if (rc == 0 && o->bandwidth)
        rc = cli_bandwidth(o->model.threads, &r.read_gb_per_s, d);
    if (rc == 0 && o->json)
        rc = print_json(&b, &r, d);
    else if (rc == 0)
        print_text(&b, &r);
    bench_fini(&b);
    return rc;
}

int cmd_bench(int argc, char **argv)
{
    struct bench_opts o = {.prefill = 512, .decode = 64, .batch = 1, .repeat = 5};
    struct cli_parser p = {
        .command = "bench",
        .synopsis = "-m MODEL [OPTION]...",
        .about =
            "How fast the model runs here: medians over --repeat rounds, after one that is not\n"
            "counted. Prefill reads a prompt of one sequence; decode makes one token at a time for\n"
            "each of --batch sequences (tokens/s is their total), which hold --depth tokens before.\n"
            "With --image or --audio, MODEL is the encoder of what is seen or heard (mmproj), and its\n"
            "stages are timed instead.",
        .examples =
            "  sensorium bench -m smollm2\n"
            "  sensorium bench -m smollm2 -t 2 --prefill 512 --decode 64 --batch 8 --json\n"
            "  sensorium bench -m smolvlm.mmproj.gguf --image photo.jpg --fast\n"
            "  sensorium bench -m ultravox.mmproj.gguf --audio talk.mp3\n",
    };
    cli_add_model(&p, &o.model);
    cli_add_pictures(&p, &o.pictures);
    cli_add_sounds(&p, &o.pictures);
    cli_add(&p, (struct cli_option){0, "prefill", CLI_U32, &o.prefill, "N",
                                    "tokens of the prompt (512)", 1, 1 << 20, NULL});
    cli_add(&p, (struct cli_option){0, "decode", CLI_U32, &o.decode, "N",
                                    "tokens made per sequence (64)", 0, 1 << 20, NULL});
    cli_add(&p, (struct cli_option){0, "batch", CLI_U32, &o.batch, "B",
                                    "sequences decoded together (1)", 1, 1024, NULL});
    cli_add(&p, (struct cli_option){0, "depth", CLI_U32, &o.depth, "N",
                                    "tokens in each sequence before decoding (1)", 0, 1 << 20, NULL});
    cli_add(&p, (struct cli_option){0, "repeat", CLI_U32, &o.repeat, "R", "rounds (5)", 1, 1000,
                                    NULL});
    cli_add(&p, (struct cli_option){0, "bandwidth", CLI_FLAG, &o.bandwidth, NULL,
                                    "also measure how fast memory is read", 0, 0, NULL});
    cli_add(&p, (struct cli_option){0, "json", CLI_FLAG, &o.json, NULL, "the figures as JSON", 0, 0,
                                    NULL});
    cli_add_compute(&p, &o.model);
    cli_add(&p, (struct cli_option){0, "kv", CLI_STRING, &o.model.kv, "TYPE",
                                    "cache: f16, q8 or f32 (f16; f32 beside F32 weights)", 0, 0, NULL});
    int rc = cli_parse(&p, argc, argv);
    if (rc == CLI_GO)
        rc = cli_check_model(&p, &o.model);
    if (rc != CLI_GO)
        return rc;
    if (p.n_args)
        return cli_usage(&p, "unexpected argument '%s'", p.args[0]);
    if (o.pictures.n_images && o.pictures.n_sounds)
        return cli_usage(&p, "--image and --audio exclude each other");
    struct sn_diag d;
    sn_diag_init(&d);
    cli_catch_interrupt();
    const struct cli_bench_media_opts media = {&o.model, &o.pictures, o.repeat, o.json};
    const int done = o.pictures.n_files ? cli_bench_media(&media, &d) : bench(&o, &d);
    cli_picture_opts_fini(&o.pictures);
    return done < 0 ? cli_report(&d) : CLI_OK;
}
