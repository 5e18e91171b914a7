/* Row operations: the norms, add, mul, scale, axpy, glu, activate, softcap, rope. */
#include "config.h"

#include "tests/compute/checkasm.h"

#include <string.h>

enum { N_MAX = 700 };

/* Two inputs and two copies of an output that starts as the same random row. */
struct rows {
    struct check_buf bx, bw, by[2];
    float *x, *w, *ref, *got;
    size_t n;
};

static void rows_new(struct check *c, struct rows *r, size_t n, enum check_kind kind)
{
    r->n = n;
    r->x = check_buf_new(&r->bx, n * sizeof(float), 4 * check_rand(c, 16));
    r->w = check_buf_new(&r->bw, n * sizeof(float), 4 * check_rand(c, 16));
    r->ref = check_buf_new(&r->by[0], n * sizeof(float), 0);
    r->got = check_buf_new(&r->by[1], n * sizeof(float), 4 * check_rand(c, 16));
    check_fill(c, r->x, n, kind);
    check_fill(c, r->w, n, kind);
    check_fill(c, r->ref, n, kind);
    memcpy(r->got, r->ref, n * sizeof(float));
}

static void rows_compare(struct check *c, struct rows *r, const char *what, enum check_kind kind)
{
    check_floats(c, r->ref, r->got, r->n, "%s n=%zu kind=%d", what, r->n, (int)kind);
    check_guards(c, &r->by[1], what);
    check_buf_free(&r->bx);
    check_buf_free(&r->bw);
    check_buf_free(&r->by[0]);
    check_buf_free(&r->by[1]);
}

static void rmsnorm(struct check *c, size_t n, enum check_kind kind)
{
    struct rows r;
    for (int how = 0; how < 4; how++) { /* with weights or without, in place or not */
        rows_new(c, &r, n, kind);
        const float *const w = how & 1 ? r.w : NULL;
        c->ref->rmsnorm(r.ref, how & 2 ? r.ref : r.x, w, n, 1e-5f);
        c->k->rmsnorm(r.got, how & 2 ? r.got : r.x, w, n, 1e-5f);
        rows_compare(c, &r, "rmsnorm", kind);
    }
}

static void layernorm(struct check *c, size_t n, enum check_kind kind)
{
    struct rows r;
    for (int how = 0; how < 6; how++) { /* with w and b, with w, with neither; in place or not */
        rows_new(c, &r, n, kind);
        const float *const w = how % 3 ? r.w : NULL, *const b = how % 3 == 2 ? r.x : NULL;
        c->ref->layernorm(r.ref, how >= 3 ? r.ref : r.x, w, b, n, 1e-5f);
        c->k->layernorm(r.got, how >= 3 ? r.got : r.x, w, b, n, 1e-5f);
        rows_compare(c, &r, "layernorm", kind);
    }
}

static void arithmetic(struct check *c, size_t n, enum check_kind kind)
{
    struct rows r;
    const float s = check_float(c, kind);
    rows_new(c, &r, n, kind);
    c->ref->add(r.ref, r.x, n);
    c->k->add(r.got, r.x, n);
    rows_compare(c, &r, "add", kind);
    rows_new(c, &r, n, kind);
    c->ref->mul(r.ref, r.x, n);
    c->k->mul(r.got, r.x, n);
    rows_compare(c, &r, "mul", kind);
    rows_new(c, &r, n, kind);
    c->ref->scale(r.ref, s, n);
    c->k->scale(r.got, s, n);
    rows_compare(c, &r, "scale", kind);
    rows_new(c, &r, n, kind);
    c->ref->axpy(r.ref, s, r.x, n);
    c->k->axpy(r.got, s, r.x, n);
    rows_compare(c, &r, "axpy", kind);
}

static void glu(struct check *c, size_t n, enum check_kind kind)
{
    static const char *const names[] = {"silu", "gelu_tanh", "gelu_erf", "quick_gelu", "relu2"};
    struct rows r;
    for (int a = SN_ACT_SILU; a <= SN_ACT_RELU2; a++) {
        rows_new(c, &r, n, kind);
        c->ref->glu((enum sn_act)a, r.ref, r.x, r.w, n);
        c->k->glu((enum sn_act)a, r.got, r.x, r.w, n);
        rows_compare(c, &r, names[a], kind);
        rows_new(c, &r, n, kind); /* y is gate */
        c->ref->glu((enum sn_act)a, r.ref, r.ref, r.w, n);
        c->k->glu((enum sn_act)a, r.got, r.got, r.w, n);
        rows_compare(c, &r, names[a], kind);
        rows_new(c, &r, n, kind);
        c->ref->activate((enum sn_act)a, r.ref, n);
        c->k->activate((enum sn_act)a, r.got, n);
        rows_compare(c, &r, names[a], kind);
    }
}

static void softcap(struct check *c, size_t n, enum check_kind kind)
{
    struct rows r;
    rows_new(c, &r, n, kind);
    c->ref->softcap(r.ref, 30, n);
    c->k->softcap(r.got, 30, n);
    rows_compare(c, &r, "softcap", kind);
}

static void rope(struct check *c, size_t n, enum check_kind kind)
{
    struct rows r;
    n &= ~(size_t)1;
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        rows_new(c, &r, n, kind);
        c->ref->rope(r.ref, n, r.x, interleaved);
        c->k->rope(r.got, n, r.x, interleaved);
        rows_compare(c, &r, interleaved ? "rope pairs" : "rope halves", kind);
    }
}

void check_vec(struct check *c)
{
    for (size_t i = 0; i < 150; i++) {
        const size_t n = i < 140 ? i : 1 + check_rand(c, N_MAX);
        for (int kind = 0; kind < CHECK_KINDS; kind++) {
            rmsnorm(c, n, (enum check_kind)kind);
            layernorm(c, n, (enum check_kind)kind);
            arithmetic(c, n, (enum check_kind)kind);
            glu(c, n, (enum check_kind)kind);
            softcap(c, n, (enum check_kind)kind);
            rope(c, n, (enum check_kind)kind);
        }
    }
}
