/* From rows of the families' tables to the list of tensors to write. Each row is looked for in the
 * folder, for each layer and each expert; what is there must have the shape that the configuration
 * demands. */
#include "config.h"
#include "model/convert_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "compute/type.h"

enum { NAME_BYTES = 256, ITEMS_MAX = 1 << 20 };

/* '#' becomes the layer, '@' the expert; false when it does not fit. */
static bool expand(char *out, size_t size, const char *pattern, uint32_t layer, uint32_t expert)
{
    size_t n = 0;
    for (const char *p = pattern; *p && n < size; p++) {
        if (*p == '#' || *p == '@')
            n += (size_t)snprintf(out + n, size - n, "%" PRIu32, *p == '#' ? layer : expert);
        else
            out[n++] = *p;
    }
    if (n >= size)
        return false;
    out[n] = '\0';
    return true;
}

/* --- finding --- */

static const struct sn_safetensor *take(struct sn_cv_folder *f, const char *name)
{
    const struct sn_safetensor *t = sn_safetensors_find(f->weights, name);
    if (t)
        f->used[t - sn_safetensors_tensor(f->weights, 0)] = true;
    return t;
}

enum { SHAPE_BYTES = 192 }; /* eight dimensions of twenty digits, and what is between */

/* "(4, 32, 32)"; "any" where a table leaves a size open. */
static const char *print_shape(char out[SHAPE_BYTES], const uint64_t *dims, size_t n)
{
    size_t at = (size_t)snprintf(out, SHAPE_BYTES, "(");
    for (size_t i = 0; i < n && at < SHAPE_BYTES; i++) {
        const char *comma = i ? ", " : "";
        at += (size_t)(dims[i] ? snprintf(out + at, SHAPE_BYTES - at, "%s%" PRIu64, comma, dims[i])
                               : snprintf(out + at, SHAPE_BYTES - at, "%sany", comma));
    }
    if (at < SHAPE_BYTES)
        snprintf(out + at, SHAPE_BYTES - at, ")");
    return out;
}

static int check_shape(const struct sn_cv_folder *f, const struct sn_safetensor *t, const uint64_t *dims,
                       size_t n)
{
    char is[SHAPE_BYTES], wanted[SHAPE_BYTES];
    bool same = t->n_dims == n;
    for (size_t i = 0; i < n && same; i++)
        same = t->shape[i] > 0 && (dims[i] == 0 || t->shape[i] == dims[i]);
    if (!same)
        return sn_fail(f->d, SN_EFORMAT, "%s: tensor %s is %s, the configuration demands %s", t->file, t->name,
                       print_shape(is, t->shape, t->n_dims), print_shape(wanted, dims, n));
    if (t->type != SN_F32 && t->type != SN_F16 && t->type != SN_BF16)
        return sn_fail(f->d, SN_EUNSUPPORTED, "%s: tensor %s is %s, not F32, F16 or BF16", t->file, t->name,
                       t->dtype);
    return 0;
}

/* *out = NULL: there is none, and it need not be. */
static int find(struct sn_cv_folder *f, const char *name, bool need, const uint64_t *dims, size_t n_dims,
                const struct sn_safetensor **out)
{
    char wanted[SHAPE_BYTES];
    *out = take(f, name);
    if (*out)
        return check_shape(f, *out, dims, n_dims);
    return need ? sn_fail(f->d, SN_ENOENT, "%s: no tensor %s of shape %s", f->dir, name,
                          print_shape(wanted, dims, n_dims))
                : 0;
}

int sn_cv_find_prefix(const struct sn_cv_folder *f, const char *const *prefixes, const char *name,
                      const char **prefix)
{
    char full[NAME_BYTES];
    for (size_t i = 0; prefixes[i]; i++) {
        snprintf(full, sizeof full, "%s%s", prefixes[i], name);
        if (sn_safetensors_find(f->weights, full)) {
            *prefix = prefixes[i];
            return 0;
        }
    }
    return sn_fail(f->d, SN_ENOENT, "%s: no tensor %s%s, nor under another prefix", f->dir, prefixes[0], name);
}

/* --- items --- */

static struct sn_cv_item *new_item(struct sn_cv_plan *p)
{
    if (p->n >= ITEMS_MAX || !sn_grow((void **)&p->items, &p->cap, p->n + 1, sizeof *p->items)) {
        sn_fail(p->f->d, SN_ENOMEM, "%s: out of memory for tensor %zu", p->f->dir, p->n);
        return NULL;
    }
    struct sn_cv_item *x = &p->items[p->n++];
    *x = (struct sn_cv_item){.type = SN_F32, .n_dims = 1, .ne = {1, 1, 1, 1}, .group = 1, .stride = 1};
    return x;
}

static int name_item(const struct sn_cv_plan *p, struct sn_cv_item *x, const char *pattern, uint32_t layer,
                     const char *suffix)
{
    char name[NAME_BYTES];
    if (!expand(name, sizeof name, pattern, layer, 0) || strlen(name) + strlen(suffix) >= sizeof x->name)
        return sn_fail(p->f->d, SN_ELIMIT, "%s: layer %" PRIu32 " makes the name %s%s too long", p->f->dir,
                       layer, pattern, suffix);
    snprintf(x->name, sizeof x->name, "%.40s%.20s", name, suffix);
    return 0;
}

int sn_cv_plan_made(struct sn_cv_plan *p, const char *name, float *made, uint64_t n)
{
    struct sn_cv_item *x = new_item(p);
    if (!x) {
        sn_free(made);
        return -SN_ENOMEM;
    }
    x->made = made;
    x->ne[0] = x->width = n;
    return name_item(p, x, name, 0, "");
}

static int add_source(const struct sn_cv_plan *p, struct sn_cv_item *x, const struct sn_safetensor *t,
                      size_t n_all)
{
    if (!x->src)
        x->src = sn_calloc(n_all, sizeof *x->src);
    if (!x->src)
        return sn_fail(p->f->d, SN_ENOMEM, "%s: out of memory for %s", p->f->dir, x->name);
    x->src[x->n_src++] = t;
    return 0;
}

int sn_cv_plan_one_row(struct sn_cv_plan *p, const char *name, const char *in, uint64_t row,
                       const uint64_t dims[2])
{
    const struct sn_safetensor *t;
    int rc = find(p->f, in, true, dims, 2, &t);
    struct sn_cv_item *x = rc == 0 ? new_item(p) : NULL;
    if (!x)
        return rc < 0 ? rc : -SN_ENOMEM;
    rc = name_item(p, x, name, 0, "");
    x->ne[0] = x->width = t->shape[1];
    x->row0 = row;
    return rc < 0 ? rc : add_source(p, x, t, 1);
}

/* The shape that GGUF gives it, and where its runs come from. */
static void lay_out(struct sn_cv_item *x, const struct sn_cv_row *row, const struct sn_cv_scope *s)
{
    const struct sn_safetensor *t = x->src[0];
    x->n_dims = t->n_dims;
    for (uint32_t i = 0; i < t->n_dims && i < 4; i++)
        x->ne[i] = t->shape[t->n_dims - 1 - i];
    uint64_t *const outer = &x->ne[x->n_dims - 1];
    switch ((enum sn_cv_op)row->op) {
    case CV_COPY: break;
    case CV_ROPE: x->head = s->head; break;
    case CV_THIRD_0:
    case CV_THIRD_1:
    case CV_THIRD_2:
        *outer /= 3;
        x->row0 = (uint64_t)(row->op - CV_THIRD_0) * *outer;
        break;
    case CV_FRAME_0:
    case CV_FRAME_1: /* (n, 3, 2, p, p): of every two frames one */
        x->n_dims = 4;
        x->ne[2] = t->shape[1];
        x->ne[3] = t->shape[0];
        x->row0 = (uint64_t)(row->op - CV_FRAME_0);
        x->stride = t->shape[2];
        x->width = x->ne[0] * x->ne[1];
        return;
    case CV_STACK:
        x->ne[x->n_dims++] = x->n_src;
        break;
    case CV_COLUMN:
        x->n_dims = 2;
        x->ne[1] = x->ne[0];
        x->ne[0] = 1;
        break;
    case CV_ROW: x->n_dims = 1; break;
    }
    const bool vector = x->n_dims == 1 || row->op == CV_COLUMN;
    x->width = vector && t->n_dims == 1 ? 1 : x->ne[0];
}

/* What is copied in order is one run. */
static void widen(struct sn_cv_item *x)
{
    if (!x->head && x->row0 == 0 && x->stride == 1 && x->n_src == 1)
        x->width = x->ne[0] * x->ne[1] * x->ne[2] * x->ne[3];
}

static uint32_t type_of(const struct sn_cv_plan *p, const struct sn_cv_item *x, unsigned flags)
{
    if (x->n_dims == 1 || flags & CV_TABLE)
        return SN_F32;
    return p->type >= 0 ? (uint32_t)p->type : (uint32_t)x->src[0]->type;
}

/* One tensor of a row: its weight or, with n_dims 1, its bias. */
struct piece {
    const struct sn_cv_row *row;
    const struct sn_cv_scope *s;
    uint32_t layer;
    const char *suffix;
    bool need;
    size_t n_dims;
};

static int add_piece(struct sn_cv_plan *p, const struct piece *c)
{
    const uint32_t n_src = c->row->op == CV_STACK ? c->s->n_experts : 1;
    uint64_t dims[5];
    char base[NAME_BYTES], name[NAME_BYTES + 16];
    struct sn_cv_item *x = NULL;
    int rc = 0;
    for (size_t i = 0; i < c->n_dims; i++)
        dims[i] = c->s->dims[c->row->dims[i]];
    for (uint32_t i = 0; i < n_src && rc == 0; i++) {
        const struct sn_safetensor *t;
        if (!expand(base, sizeof base, c->row->in, c->layer, i))
            return sn_fail(p->f->d, SN_ELIMIT, "%s: the name %s is too long", p->f->dir, c->row->in);
        snprintf(name, sizeof name, "%s%.180s%s", c->s->prefix, base, c->suffix);
        rc = find(p->f, name, c->need, dims, c->n_dims, &t);
        if (rc < 0 || !t)
            return rc;
        if (!x)
            x = new_item(p);
        if (!x)
            return -SN_ENOMEM;
        rc = add_source(p, x, t, n_src);
    }
    if (!x)
        return rc;
    if (rc == 0)
        rc = name_item(p, x, c->row->out, c->layer, c->suffix);
    if (rc < 0)
        return rc;
    lay_out(x, c->row, c->s);
    widen(x);
    x->type = type_of(p, x, c->row->flags);
    x->shift = c->row->flags & CV_NORM ? c->s->shift : 0;
    x->map = c->row->flags & (CV_TANH | CV_REST);
    return 0;
}

static int add_row(struct sn_cv_plan *p, const struct sn_cv_row *row, const struct sn_cv_scope *s,
                   uint32_t layer)
{
    const bool need = !(row->flags & CV_OPTIONAL);
    struct piece c = {row, s, layer, row->flags & CV_W ? ".weight" : "", need, 0};
    while (c.n_dims < 5 && row->dims[c.n_dims] != CV_END)
        c.n_dims++;
    int rc = add_piece(p, &c);
    if (rc < 0 || !(row->flags & (CV_BIAS | CV_MAY_BIAS)))
        return rc;
    c.suffix = ".bias";
    c.need = need && row->flags & CV_BIAS;
    c.n_dims = 1;
    return add_piece(p, &c);
}

static bool is_of(const struct sn_cv_rows *set, const struct sn_cv_scope *s, uint32_t layer)
{
    const bool cross = s->cross && s->cross[layer];
    return set->layers == CV_ALL_LAYERS || cross == (set->layers == CV_CROSS_LAYERS);
}

int sn_cv_plan_rows(struct sn_cv_plan *p, const struct sn_cv_rows *set, const struct sn_cv_scope *s)
{
    int rc = 0;
    for (size_t i = 0; i < set->n && rc == 0; i++)
        if (!strchr(set->rows[i].out, '#'))
            rc = add_row(p, &set->rows[i], s, 0);
    for (uint32_t layer = 0; layer < s->n_layers && rc == 0; layer++)
        for (size_t i = 0; i < set->n && rc == 0 && is_of(set, s, layer); i++)
            if (strchr(set->rows[i].out, '#'))
                rc = add_row(p, &set->rows[i], s, layer);
    return rc;
}

void sn_cv_plan_fini(struct sn_cv_plan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        sn_free(p->items[i].src);
        sn_free(p->items[i].made);
    }
    sn_free(p->items);
    p->items = NULL;
    p->n = p->cap = 0;
}

/* --- what nothing took --- */

void sn_cv_ignore(struct sn_cv_folder *f, const char *prefix)
{
    for (size_t i = 0; i < sn_safetensors_n_tensors(f->weights); i++)
        if (strncmp(sn_safetensors_tensor(f->weights, i)->name, prefix, strlen(prefix)) == 0)
            f->used[i] = true;
}

/* Tables that can be computed, in files of old. */
static bool is_constant(const char *name)
{
    static const char *const ends[] = {".rotary_emb.inv_freq", ".position_ids", ".masked_bias"};
    const size_t n = strlen(name);
    for (size_t i = 0; i < SN_COUNT(ends); i++)
        if (n >= strlen(ends[i]) && strcmp(name + n - strlen(ends[i]), ends[i]) == 0)
            return true;
    return false;
}

int sn_cv_check_all_used(const struct sn_cv_folder *f)
{
    for (size_t i = 0; i < sn_safetensors_n_tensors(f->weights); i++) {
        const struct sn_safetensor *t = sn_safetensors_tensor(f->weights, i);
        if (!f->used[i] && !is_constant(t->name))
            return sn_fail(f->d, SN_EUNSUPPORTED, "%s: tensor %s is not part of this architecture", t->file,
                           t->name);
    }
    return 0;
}
