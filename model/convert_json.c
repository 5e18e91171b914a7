/* The folder's files, and reads of JSON fields that trust nothing: each has a type and a range, and an
 * error names the file, the field, what it is and what it should be. */
#include "config.h"
#include "model/convert_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

enum { CONFIG_MAX = 16 << 20 };

int sn_cv_read_file(const struct sn_cv_folder *f, const char *name, size_t max_bytes, char **out,
                    size_t *n)
{
    *out = NULL;
    char *path = sn_path_join(f->dir, name);
    if (!path)
        return sn_fail(f->d, SN_ENOMEM, "%s: out of memory", f->dir);
    const int rc = access(path, F_OK) == 0 ? sn_file_read(path, max_bytes, out, n, f->d) : 0;
    sn_free(path);
    return rc;
}

int sn_cv_read_json(const struct sn_cv_folder *f, const char *name, size_t max_bytes, json_t **out)
{
    char *text;
    size_t n = 0;
    json_error_t at;
    *out = NULL;
    const int rc = sn_cv_read_file(f, name, max_bytes, &text, &n);
    if (rc < 0 || !text)
        return rc;
    *out = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &at);
    if (!*out && json_error_code(&at) == json_error_numeric_overflow) /* "model_max_length": 10^30 */
        *out = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &at);
    sn_free(text);
    if (!*out)
        return sn_fail(f->d, SN_EFORMAT, "%s/%s: line %d: %s", f->dir, name, at.line, at.text);
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return sn_fail(f->d, SN_EFORMAT, "%s/%s: not a JSON object", f->dir, name);
    }
    return 0;
}

/* Newer folders have the picture processor's settings within processor_config.json. */
static int read_processor(struct sn_cv_folder *f)
{
    int rc = sn_cv_read_json(f, "preprocessor_config.json", CONFIG_MAX, &f->processor);
    if (rc < 0 || f->processor)
        return rc;
    json_t *all = NULL;
    rc = sn_cv_read_json(f, "processor_config.json", CONFIG_MAX, &all);
    json_t *part = json_object_get(all, "image_processor");
    if (rc == 0 && json_is_object(part))
        f->processor = json_incref(part);
    json_decref(all);
    return rc;
}

int sn_cv_open(const char *dir, struct sn_cv_folder *f, struct sn_diag *d)
{
    *f = (struct sn_cv_folder){.dir = dir, .d = d};
    int rc = sn_cv_read_json(f, "config.json", CONFIG_MAX, &f->config);
    if (rc == 0 && !f->config)
        rc = sn_fail(d, SN_ENOENT, "%s: no config.json", dir);
    if (rc == 0)
        rc = sn_cv_read_json(f, "generation_config.json", CONFIG_MAX, &f->generation);
    if (rc == 0)
        rc = read_processor(f);
    if (rc == 0)
        rc = sn_safetensors_open(dir, &f->weights, d);
    if (rc == 0) {
        f->used = sn_calloc(sn_safetensors_n_tensors(f->weights), sizeof *f->used);
        if (!f->used)
            rc = sn_fail(d, SN_ENOMEM, "%s: out of memory", dir);
    }
    if (rc < 0)
        sn_cv_close(f);
    return rc;
}

void sn_cv_close(struct sn_cv_folder *f)
{
    json_decref(f->config);
    json_decref(f->generation);
    json_decref(f->processor);
    sn_safetensors_free(&f->weights);
    sn_free(f->used);
    *f = (struct sn_cv_folder){0};
}

/* --- fields --- */

struct sn_cv_obj sn_cv_root(const struct sn_cv_folder *f, const json_t *root, const char *file)
{
    return (struct sn_cv_obj){.o = root, .dir = f->dir, .file = file, .d = f->d};
}

static const json_t *field(const struct sn_cv_obj *c, const char *key)
{
    const json_t *v = c->o ? json_object_get(c->o, key) : NULL;
    return json_is_null(v) ? NULL : v;
}

bool sn_cv_has(const struct sn_cv_obj *c, const char *key) { return field(c, key) != NULL; }

static int wrong(const struct sn_cv_obj *c, const char *key, const char *what)
{
    return sn_fail(c->d, SN_EFORMAT, "%s/%s: %s%s is not %s", c->dir, c->file, c->path, key, what);
}

static int outside(const struct sn_cv_obj *c, const char *key, double v, double min, double max)
{
    return sn_fail(c->d, SN_ELIMIT, "%s/%s: %s%s is %.10g, not in %.10g..%.10g", c->dir, c->file, c->path,
                   key, v, min, max);
}

int sn_cv_missing(const struct sn_cv_obj *c, const char *key)
{
    return sn_fail(c->d, SN_ENOENT, "%s/%s: no %s%s", c->dir, c->file, c->path, key);
}

int sn_cv_object(const struct sn_cv_obj *c, const char *key, struct sn_cv_obj *out)
{
    const json_t *v = field(c, key);
    if (v && !json_is_object(v))
        return wrong(c, key, "an object");
    struct sn_cv_obj inner = *c;
    snprintf(inner.path, sizeof inner.path, "%.40s%.20s.", c->path, key);
    inner.o = v;
    *out = inner;
    return 0;
}

int sn_cv_u32(const struct sn_cv_obj *c, const char *key, uint32_t min, uint32_t max, uint32_t *out)
{
    const json_t *v = field(c, key);
    if (!v)
        return 0;
    if (!json_is_integer(v))
        return wrong(c, key, "an integer");
    const json_int_t n = json_integer_value(v);
    if (n < (json_int_t)min || n > (json_int_t)max)
        return outside(c, key, (double)n, min, max);
    *out = (uint32_t)n;
    return 0;
}

static int number(const struct sn_cv_obj *c, const char *key, const json_t *v, double min, double max,
                  double *out)
{
    if (!json_is_number(v))
        return wrong(c, key, "a number");
    const double x = json_number_value(v);
    if (!(x >= min && x <= max))
        return outside(c, key, x, min, max);
    *out = x;
    return 0;
}

int sn_cv_f64(const struct sn_cv_obj *c, const char *key, double min, double max, double *out)
{
    const json_t *v = field(c, key);
    return v ? number(c, key, v, min, max, out) : 0;
}

int sn_cv_numbers(const struct sn_cv_obj *c, const char *key, double min, double max, double *out,
                  size_t n_max, size_t *n)
{
    const json_t *v = field(c, key);
    *n = 0;
    if (!v)
        return 0;
    if (!json_is_array(v))
        return wrong(c, key, "an array");
    if (json_array_size(v) > n_max)
        return outside(c, key, (double)json_array_size(v), 0, (double)n_max);
    int rc = 0;
    for (size_t i = 0; i < json_array_size(v) && rc == 0; i++)
        rc = number(c, key, json_array_get(v, i), min, max, &out[i]);
    if (rc == 0)
        *n = json_array_size(v);
    return rc;
}

int sn_cv_bool(const struct sn_cv_obj *c, const char *key, bool *out)
{
    const json_t *v = field(c, key);
    if (!v)
        return 0;
    if (!json_is_boolean(v))
        return wrong(c, key, "true or false");
    *out = json_is_true(v);
    return 0;
}

int sn_cv_string(const struct sn_cv_obj *c, const char *key, const char **out)
{
    const json_t *v = field(c, key);
    if (!v)
        return 0;
    if (!json_is_string(v))
        return wrong(c, key, "a string");
    *out = json_string_value(v);
    return 0;
}

bool sn_cv_word_in(const char *words, const char *s)
{
    const size_t len = strlen(s);
    for (const char *p = words; *p;) {
        const size_t n = strcspn(p, " ");
        if (n == len && memcmp(p, s, n) == 0)
            return true;
        p += n + (p[n] == ' ');
    }
    return false;
}

int sn_cv_one_of(const struct sn_cv_obj *c, const char *key, const char *words)
{
    const char *s = NULL;
    const int rc = sn_cv_string(c, key, &s);
    if (rc < 0 || !s || sn_cv_word_in(words, s))
        return rc;
    return sn_fail(c->d, SN_EUNSUPPORTED, "%s/%s: %s%s \"%.40s\" is not supported, only: %s", c->dir,
                   c->file, c->path, key, s, words);
}

/* --- keys --- */

#define PUT(call) \
    do { \
        char name[128]; \
        snprintf(name, sizeof name, "%s%s", k->prefix, key); \
        if (k->rc == 0) \
            k->rc = (call); \
    } while (0)

void sn_cv_put_u32(struct sn_cv_keys *k, const char *key, uint32_t v)
{
    PUT(sn_gguf_put_u32(k->w, name, v, k->d));
}

void sn_cv_put_f32(struct sn_cv_keys *k, const char *key, double v)
{
    PUT(sn_gguf_put_f32(k->w, name, (float)v, k->d));
}

void sn_cv_put_bool(struct sn_cv_keys *k, const char *key, bool v)
{
    PUT(sn_gguf_put_bool(k->w, name, v, k->d));
}

void sn_cv_put_string(struct sn_cv_keys *k, const char *key, const char *s)
{
    PUT(sn_gguf_put_string(k->w, name, s, k->d));
}

void sn_cv_put_array(struct sn_cv_keys *k, const char *key, enum sn_gguf_kind elem, uint64_t n,
                     const void *bytes, size_t n_bytes)
{
    PUT(sn_gguf_put_array(k->w, name, elem, n, bytes, n_bytes, k->d));
}
