/* Mixtures of experts. Routing is done on the host, in floats, row by row. Then every row's pairs
 * (row, expert) are sorted by expert, so that an expert's weights are read once for all rows that
 * chose it. An expert's outputs reach a row in order of the experts' numbers, whatever else is in
 * the batch, so the sum's bits do not depend on it. */
#include "config.h"
#include "llm/engine_impl.h"

#include <math.h>

/* --- the choice --- */

/* The index of the largest of x[0..n-1]; the first of equals. Taken ones are -INFINITY; something is
 * returned even if all are that, or NaN. */
static size_t largest(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static void to_scores(enum sn_gating gating, float *x, size_t n)
{
    double sum = 0;
    const float top = x[largest(x, n)];
    for (size_t i = 0; i < n; i++) {
        const double v = (double)x[i];
        x[i] = (float)(gating == SN_GATING_SIGMOID ? 1 / (1 + exp(-v)) : exp(v - (double)top));
        sum += (double)x[i];
    }
    for (size_t i = 0; gating == SN_GATING_SOFTMAX && i < n; i++) x[i] = (float)((double)x[i] / sum);
}

/* How good a group is: DeepSeek-V2 goes by its best expert, V3 by the sum of its best two. */
static float group_score(enum sn_gating gating, const float *choice, size_t n)
{
    float first = -INFINITY, second = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (choice[i] > first) {
            second = first;
            first = choice[i];
        } else if (choice[i] > second) {
            second = choice[i];
        }
    }
    return gating == SN_GATING_SIGMOID ? first + second : first;
}

/* Leaves only the best n_groups_used groups in the choice. */
static void limit_groups(const struct sn_moe_hparams *m, float *choice)
{
    const size_t n = m->n_experts / m->n_groups;
    for (size_t n_out = m->n_groups - m->n_groups_used; n_out--;) {
        size_t worst = SIZE_MAX;
        float least = INFINITY;
        for (size_t g = m->n_groups; g--;) { /* of equals the first stays */
            const float s = group_score(m->gating, choice + g * n, n);
            if (s > -INFINITY && (worst == SIZE_MAX || s < least)) {
                worst = g;
                least = s;
            }
        }
        for (size_t i = 0; worst != SIZE_MAX && i < n; i++) choice[worst * n + i] = -INFINITY;
    }
}

void sn_moe_route(const struct sn_moe_hparams *m, const float *bias, float *scores, float *choice,
                  int32_t *expert, float *weight)
{
    to_scores(m->gating, scores, m->n_experts);
    for (size_t i = 0; i < m->n_experts; i++) choice[i] = bias ? scores[i] + bias[i] : scores[i];
    if (m->n_groups > 1) limit_groups(m, choice);
    double sum = 0;
    for (size_t i = 0; i < m->n_used; i++) {
        const size_t best = largest(choice, m->n_experts);
        choice[best] = -INFINITY;
        expert[i] = (int32_t)best;
        weight[i] = scores[best];
        sum += (double)weight[i];
    }
    for (size_t i = 0; i < m->n_used; i++) {
        if (m->norm) weight[i] = (float)((double)weight[i] / (sum + 1e-20));
        weight[i] *= m->scale;
    }
}

/* --- the work --- */

static void route_rows(struct sn_engine *e, const struct sn_layer *w, size_t n_rows)
{
    const struct sn_moe_hparams *m = &e->m->h.moe;
    struct sn_routes *r = &e->routes;
    sn_linear_run(e, &w->router, e->a.router, e->a.xn, n_rows);
    sn_device_download(e->dev, r->scores, e->a.router, n_rows * m->n_experts * sizeof *r->scores);
    for (size_t i = 0; i < n_rows; i++)
        sn_moe_route(m, w->router_bias, r->scores + i * m->n_experts, r->choice,
                     r->expert + i * m->n_used, r->weight + i * m->n_used);
}

/* Counting sort of all pairs by expert; within one, rows stay in order. */
static void sort_pairs(const struct sn_moe_hparams *m, struct sn_routes *r, size_t n_rows)
{
    const size_t n_pairs = n_rows * m->n_used;
    for (size_t i = 0; i <= m->n_experts; i++) r->first[i] = 0;
    for (size_t i = 0; i < n_pairs; i++) r->first[r->expert[i] + 1]++;
    for (size_t i = 0; i < m->n_experts; i++) r->first[i + 1] += r->first[i];
    for (size_t i = 0; i < n_pairs; i++) {
        const size_t at = r->first[r->expert[i]]++;
        r->row[at] = (int32_t)(i / m->n_used);
        r->row_weight[at] = r->weight[i];
    }
    for (size_t i = m->n_experts; i > 0; i--) r->first[i] = r->first[i - 1];
    r->first[0] = 0;
}

/* pair_gate (pairs, n_ff) = act(gate x) * up x, each expert over its own rows */
static void run_gates(struct sn_engine *e, const struct sn_layer *w, size_t n_rows)
{
    const struct sn_moe_hparams *m = &e->m->h.moe;
    const struct sn_routes *r = &e->routes;
    const size_t n_embd = e->m->h.n_embd;
    size_t n_jobs = 0;
    for (size_t i = 0; i < m->n_experts; i++) {
        const size_t at = r->first[i], n = r->first[i + 1] - at;
        if (!n) continue;
        e->jobs[n_jobs++] = (struct sn_matmul){.w = w->experts[i].gate.w, .ldy = m->n_ff,
            .y = e->a.pair_gate + at * m->n_ff, .rows = r->row + at, .n_rows = n};
        e->jobs[n_jobs++] = (struct sn_matmul){.w = w->experts[i].up.w, .ldy = m->n_ff,
            .y = e->a.pair_up + at * m->n_ff, .rows = r->row + at, .n_rows = n};
    }
    sn_matmul(e->dev, e->jobs, n_jobs, e->a.xn, n_embd, n_rows, n_embd);
    sn_glu(e->dev, e->m->h.family->act, e->a.pair_gate, e->a.pair_gate, e->a.pair_up,
           n_rows * m->n_used * m->n_ff);
}

/* pair_out (pairs, n_embd) */
static void run_downs(struct sn_engine *e, const struct sn_layer *w, size_t n_rows)
{
    const struct sn_moe_hparams *m = &e->m->h.moe;
    const struct sn_routes *r = &e->routes;
    const size_t n_embd = e->m->h.n_embd;
    size_t n_jobs = 0;
    for (size_t i = 0; i < m->n_experts; i++) {
        const size_t at = r->first[i], n = r->first[i + 1] - at;
        if (n)
            e->jobs[n_jobs++] = (struct sn_matmul){.w = w->experts[i].down.w, .ldy = n_embd,
                .y = e->a.pair_out + at * n_embd, .row0 = at, .n_rows = n};
    }
    sn_matmul(e->dev, e->jobs, n_jobs, e->a.pair_gate, m->n_ff, n_rows * m->n_used, m->n_ff);
}

/* The expert that every token visits; in Qwen2-MoE behind a gate of its own. */
static void run_shared(struct sn_engine *e, const struct sn_layer *w, float *h, size_t n_rows)
{
    struct sn_routes *r = &e->routes;
    for (size_t i = 0; i < n_rows; i++) r->shared[i] = 1;
    if (w->shared_gate.w) {
        sn_linear_run(e, &w->shared_gate, e->a.router, e->a.xn, n_rows);
        sn_device_download(e->dev, r->shared, e->a.router, n_rows * sizeof *r->shared);
        for (size_t i = 0; i < n_rows; i++)
            r->shared[i] = (float)(1 / (1 + exp(-(double)r->shared[i])));
    }
    sn_mlp_run(e, &w->mlp, e->a.branch, n_rows);
    sn_combine(e->dev, h, e->m->h.n_embd, e->a.branch, r->all, r->shared, n_rows);
}

void sn_moe_run(struct sn_engine *e, const struct sn_layer *w, float *h, size_t n_rows)
{
    const struct sn_routes *r = &e->routes;
    route_rows(e, w, n_rows);
    sort_pairs(&e->m->h.moe, &e->routes, n_rows);
    run_gates(e, w, n_rows);
    run_downs(e, w, n_rows);
    sn_combine(e->dev, h, e->m->h.n_embd, e->a.pair_out, r->row, r->row_weight,
               n_rows * e->m->h.moe.n_used);
    if (e->m->h.moe.n_ff_shared) run_shared(e, w, h, n_rows);
}
