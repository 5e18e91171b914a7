/* The float side of attention_tmpl.h: keys and values that are stored as floats, or as 8-bit integers
 * that become floats on the way. A tile of more than one block of rows turns each page into floats
 * once, into the scratch; a single block (decoding) converts in registers, so that the pages are
 * read once and nothing is written. The scores' block keeps QK_ROWS x QK_REGS accumulators, the
 * values' PV_ROWS x PV_REGS (PV1_REGS for a row that stands alone), chosen per ISA so that they stay
 * in registers. */

#if VN == 1 /* 32 registers of 16 lanes */
enum { QK_ROWS = 8, QK_REGS = 2, PV_ROWS = 4, PV_REGS = 4, PV1_REGS = 4 };
#elif VN == 2 /* 16 registers of 8 */
enum { QK_ROWS = 6, QK_REGS = 2, PV_ROWS = 6, PV_REGS = 2, PV1_REGS = 8 };
#else /* 32 registers of 4 */
enum { QK_ROWS = 6, QK_REGS = 4, PV_ROWS = 6, PV_REGS = 4, PV1_REGS = 8 };
#endif
_Static_assert(SN_ATTN_ROWS % QK_ROWS == 0, "whole blocks of rows");

/* What a page's elements are read from. */
enum src { SRC_F32, SRC_Q8 };

/* One native register from element i on. */
SIMD nf nf_load_src(enum src src, const void *page, size_t i)
{
    if (src == SRC_F32) {
        nf r;
        memcpy(&r, (const float *)page + i, sizeof r);
        return r;
    }
    const int8_t *const p = (const int8_t *)page + i;
#if VN == 1
    return (nf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif VN == 2
    return (nf)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#else
    uint32_t four;
    memcpy(&four, p, sizeof four);
    const int16x8_t h = vmovl_s8(vcreate_s8(four));
    return (nf)vcvtq_f32_s32(vmovl_s16(vget_low_s16(h)));
#endif
}

SIMD vf load_src(enum src src, const void *page, size_t i)
{
    vf r;
    LANES r.v[l_] = nf_load_src(src, page, i + (size_t)l_ * LN);
    return r;
}

/* --- scores --- */

/* s (rows, 32) = q (head, QK_ROWS) x k (head, 32). Accumulators are native registers, not vf: of
 * arrays of structs gcc keeps copies on the stack. */
SIMD void qk_rows(int rows, enum src src, const float *q, const void *k, size_t head, float *s)
{
    for (size_t c0 = 0; c0 < SN_KV_PAGE; c0 += QK_REGS * LN) {
        nf acc[QK_ROWS][QK_REGS];
        UNROLL for (int r = 0; r < rows; r++)
            UNROLL for (int c = 0; c < QK_REGS; c++)
                acc[r][c] = (nf){0};
        for (size_t d = 0; d < head; d++) {
            nf key[QK_REGS];
            UNROLL for (int c = 0; c < QK_REGS; c++)
                key[c] = nf_load_src(src, k, d * SN_KV_PAGE + c0 + (size_t)c * LN);
            UNROLL for (int r = 0; r < rows; r++) {
                const nf x = q[d * QK_ROWS + (size_t)r] - (nf){0};
                UNROLL for (int c = 0; c < QK_REGS; c++)
                    acc[r][c] = nf_fma(x, key[c], acc[r][c]);
            }
        }
        UNROLL for (int r = 0; r < rows; r++)
            UNROLL for (int c = 0; c < QK_REGS; c++)
                memcpy(s + (size_t)r * SN_KV_PAGE + c0 + (size_t)c * LN, &acc[r][c], VB);
    }
}

SIMD void qk_src(size_t rows, enum src src, const float *q, const void *k, size_t head, float *s)
{
    switch (rows) {
    case 1: qk_rows(1, src, q, k, head, s); break;
    case 2: qk_rows(2, src, q, k, head, s); break;
    case 3: qk_rows(3, src, q, k, head, s); break;
    case 4: qk_rows(4, src, q, k, head, s); break;
    case 5: qk_rows(5, src, q, k, head, s); break;
    case 6: qk_rows(6, src, q, k, head, s); break;
#if VN == 1
    case 7: qk_rows(7, src, q, k, head, s); break;
    case 8: qk_rows(8, src, q, k, head, s); break;
#endif
    }
}

static void qk_f32(size_t rows, const float *q, const void *k, size_t head, float *s)
{
    qk_src(rows, SRC_F32, q, k, head, s);
}
static void qk_q8(size_t rows, const float *q, const void *k, size_t head, float *s)
{
    qk_src(rows, SRC_Q8, q, k, head, s);
}

/* --- weights times values --- */

/* `regs` native registers of acc (rows, lda) = acc alpha + p (rows, 32) x v (32, ldv), over the
 * keys [a, b) */
SIMD void pv_tile(int rows, int regs, enum src src, const float *p, const float *alpha,
                  const void *v, size_t ldv, size_t a, size_t b, float *acc, size_t lda)
{
    nf y[PV_ROWS][PV1_REGS];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int c = 0; c < regs; c++)
            y[r][c] = nf_load_src(SRC_F32, acc, (size_t)r * lda + (size_t)c * LN) * alpha[r];
    for (size_t t = a; t < b; t++) {
        nf val[PV1_REGS];
        UNROLL for (int c = 0; c < regs; c++)
            val[c] = nf_load_src(src, v, t * ldv + (size_t)c * LN);
        UNROLL for (int r = 0; r < rows; r++) {
            const nf x = p[(size_t)r * SN_KV_PAGE + t] - (nf){0};
            UNROLL for (int c = 0; c < regs; c++)
                y[r][c] = nf_fma(x, val[c], y[r][c]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int c = 0; c < regs; c++)
            memcpy(acc + (size_t)r * lda + (size_t)c * LN, &y[r][c], VB);
}

static const size_t src_bytes[] = {sizeof(float), sizeof(int8_t)};

/* All of acc's columns. */
SIMD void pv_rows(int rows, enum src src, const float *p, const float *alpha, const void *v,
                  size_t ldv, size_t a, size_t b, float *acc, size_t lda)
{
    const int regs = rows == 1 ? PV1_REGS : PV_REGS;
    const size_t step = (size_t)regs * LN;
    const char *vp = v;
    size_t c = 0;
    for (; lda - c >= step; c += step)
        pv_tile(rows, regs, src, p, alpha, vp + c * src_bytes[src], ldv, a, b, acc + c, lda);
    for (; c < lda; c += 16)
        pv_tile(rows, VN, src, p, alpha, vp + c * src_bytes[src], ldv, a, b, acc + c, lda);
}

SIMD void pv_src(size_t rows, enum src src, const float *p, const float *alpha, const void *v,
                 size_t ldv, size_t a, size_t b, float *acc, size_t lda)
{
    switch (rows) {
    case 1: pv_rows(1, src, p, alpha, v, ldv, a, b, acc, lda); break;
    case 2: pv_rows(2, src, p, alpha, v, ldv, a, b, acc, lda); break;
    case 3: pv_rows(3, src, p, alpha, v, ldv, a, b, acc, lda); break;
    case 4: pv_rows(4, src, p, alpha, v, ldv, a, b, acc, lda); break;
#if VN != 1
    case 5: pv_rows(5, src, p, alpha, v, ldv, a, b, acc, lda); break;
    case 6: pv_rows(6, src, p, alpha, v, ldv, a, b, acc, lda); break;
#endif
    }
}

static void pv_f32(size_t rows, const float *p, const float *alpha, const void *v, size_t ldv,
                   size_t a, size_t b, float *acc, size_t lda)
{
    pv_src(rows, SRC_F32, p, alpha, v, ldv, a, b, acc, lda);
}
static void pv_q8(size_t rows, const float *p, const float *alpha, const void *v, size_t ldv,
                  size_t a, size_t b, float *acc, size_t lda)
{
    pv_src(rows, SRC_Q8, p, alpha, v, ldv, a, b, acc, lda);
}

/* --- writing --- */

static void put_f32(float *page, size_t first, size_t step, const float *x, size_t head)
{
    for (size_t d = 0; d < head; d++)
        page[first + d * step] = x[d];
}

/* The token's scale: max |x| / 127, 0 when all is next to nothing, NaN when anything is not
 * finite. *inv: its inverse, 0 when the scale is no number to divide by. */
static float q8_scale(const float *x, size_t head, float *inv)
{
    vf max = vf_set1(0), bad = vf_set1(0);
    for (size_t d = 0; d < head; d += 16) {
        const vf a = head - d >= 16 ? vf_load(x + d) : vf_load_n(x + d, head - d);
        max = vf_max(max, vf_abs(a));
        bad = vf_add(bad, vf_sub(a, a));
    }
    const float m = vf_tree_max(max);
    *inv = 0;
    if (vf_tree_sum(bad) != 0)
        return NAN;
    if (m < SN_Q8_TINY)
        return 0;
    *inv = 127 / m;
    return m / 127;
}

static void put_q8(int8_t *page, size_t first, size_t step, size_t slot, const float *x,
                   size_t head)
{
    float inv;
    const float scale = q8_scale(x, head, &inv);
    for (size_t d = 0; d < head; d += 16) {
        const size_t n = head - d < 16 ? head - d : 16;
        const vf a = n == 16 ? vf_load(x + d) : vf_load_n(x + d, n);
        int32_t q[16] = {0};
        if (inv != 0)
            vi_store(q, vf_round(vf_mul(a, vf_set1(inv))));
        for (size_t i = 0; i < n; i++)
            page[first + (d + i) * step] = (int8_t)q[i];
    }
    memcpy(page + head * SN_KV_PAGE + slot * sizeof scale, &scale, sizeof scale);
}
