/* Reading an object by a table of its fields. */
#include "config.h"
#include "queue/job_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"

enum { NAME_TEXT = 96, WANT_TEXT = 160 };

static const struct sn_field *find(const struct sn_fields *fields, const char *name)
{
    for (size_t i = 0; i < fields->n; i++)
        if (strcmp(fields->at[i].name, name) == 0)
            return &fields->at[i];
    return NULL;
}

static bool has_task(const struct sn_field *f, enum sn_task task)
{
    return f->tasks == 0 || (f->tasks >> task & 1);
}

/* What a field must be: "an integer from 0 to 10". */
static void put_wanted(const struct sn_field *f, char text[WANT_TEXT])
{
    static const char *const kinds[] = {
        [SN_FIELD_BOOL] = "true or false", [SN_FIELD_INT] = "an integer", [SN_FIELD_U32] = "an integer",
        [SN_FIELD_U64] = "an integer", [SN_FIELD_I64] = "an integer", [SN_FIELD_FLOAT] = "a number",
        [SN_FIELD_TEXT] = "a string", [SN_FIELD_ARRAY] = "an array", [SN_FIELD_OBJECT] = "an object",
        [SN_FIELD_ANY] = "a string or an array",
    };
    switch (f->type) {
    case SN_FIELD_INT: case SN_FIELD_U32: case SN_FIELD_U64: case SN_FIELD_I64: case SN_FIELD_FLOAT:
        snprintf(text, WANT_TEXT, "%s from %.16g to %.16g", kinds[f->type], f->min, f->max);
        break;
    case SN_FIELD_TEXT:
        snprintf(text, WANT_TEXT, "%s of %.0f to %.0f bytes", kinds[f->type], f->min, f->max);
        break;
    case SN_FIELD_ARRAY:
        snprintf(text, WANT_TEXT, "%s of %.0f to %.0f", kinds[f->type], f->min, f->max);
        break;
    case SN_FIELD_CHOICE: case SN_FIELD_FLAG: {
        size_t n = 0;
        for (size_t i = 0; f->choices[i] && n < WANT_TEXT; i++)
            n += (size_t)snprintf(text + n, WANT_TEXT - n, "%s\"%s\"",
                                  i == 0 ? "" : f->choices[i + 1] ? ", " : " or ", f->choices[i]);
        break;
    }
    default:
        snprintf(text, WANT_TEXT, "%s", kinds[f->type]);
    }
}

/* What it is instead. */
static void put_found(const struct sn_field *f, const json_t *value, char text[WANT_TEXT])
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        if (f->type == SN_FIELD_TEXT)
            snprintf(text, WANT_TEXT, "has %zu bytes", json_string_length(value));
        else
            snprintf(text, WANT_TEXT, "is \"%.40s%s\"", json_string_value(value),
                     json_string_length(value) > 40 ? "..." : "");
        break;
    case JSON_INTEGER: snprintf(text, WANT_TEXT, "is %" JSON_INTEGER_FORMAT,
                                json_integer_value(value)); break;
    case JSON_REAL: snprintf(text, WANT_TEXT, "is %.16g", json_real_value(value)); break;
    case JSON_ARRAY:
        if (f->type == SN_FIELD_ARRAY)
            snprintf(text, WANT_TEXT, "has %zu items", json_array_size(value));
        else
            snprintf(text, WANT_TEXT, "is an array");
        break;
    case JSON_OBJECT: snprintf(text, WANT_TEXT, "is an object"); break;
    case JSON_TRUE: snprintf(text, WANT_TEXT, "is true"); break;
    case JSON_FALSE: snprintf(text, WANT_TEXT, "is false"); break;
    default: snprintf(text, WANT_TEXT, "is null");
    }
}

static bool refuse_value(const struct sn_field *f, const json_t *value, const char *where,
                         struct sn_refusal *r)
{
    char name[NAME_TEXT], have[WANT_TEXT], want[WANT_TEXT];
    snprintf(name, sizeof name, "%s%s", where, f->name);
    put_found(f, value, have);
    put_wanted(f, want);
    return sn_refuse(r, "bad_field", name, "%s %s; it must be %s", name, have, want);
}

bool sn_field_missing(const struct sn_fields *fields, const char *name, const char *where,
                      struct sn_refusal *r)
{
    char whole[NAME_TEXT], want[WANT_TEXT];
    snprintf(whole, sizeof whole, "%s%s", where, name);
    put_wanted(find(fields, name), want);
    return sn_refuse(r, "bad_field", whole, "%s is missing; it must be %s", whole, want);
}

/* A name that the table has not, or not for this task; the message lists those it has. */
static bool refuse_name(const struct sn_fields *fields, const char *name, enum sn_task task,
                        const char *where,
                        struct sn_refusal *r)
{
    char whole[NAME_TEXT];
    struct sn_strbuf all = {0};
    for (size_t i = 0; i < fields->n; i++)
        if (has_task(&fields->at[i], task))
            sn_strbuf_printf(&all, "%s%s", all.len ? ", " : "", fields->at[i].name);
    snprintf(whole, sizeof whole, "%s%s", where, name);
    const bool other = find(fields, name) != NULL;
    sn_refuse(r, "bad_field", whole, "%s%.48s is no name of %s%s%s; there are: %s", where, name,
              fields->what, other ? " that is to " : "", other ? sn_task_names[task] : "",
              all.data && !all.failed ? all.data : "");
    sn_strbuf_fini(&all);
    return false;
}

/* 5.0 is an integer, in JSON Schema and here. */
static bool number_of(const struct sn_field *f, const json_t *value, double *out)
{
    if (!json_is_number(value))
        return false;
    *out = json_number_value(value);
    return *out >= f->min && *out <= f->max && (f->type == SN_FIELD_FLOAT || *out == floor(*out));
}

static bool put_number(const struct sn_field *f, const json_t *value, void *to)
{
    double x;
    if (!number_of(f, value, &x))
        return false;
    switch (f->type) {
    case SN_FIELD_INT: *(int *)to = (int)x; break;
    case SN_FIELD_U32: *(uint32_t *)to = (uint32_t)x; break;
    case SN_FIELD_U64: *(uint64_t *)to = (uint64_t)x; break;
    case SN_FIELD_I64: *(int64_t *)to = (int64_t)x; break;
    default: *(float *)to = (float)x;
    }
    return true;
}

static bool put_text(const struct sn_field *f, const json_t *value, void *to)
{
    const double n = (double)json_string_length(value);
    if (!json_is_string(value) || n < f->min || n > f->max)
        return false;
    *(const char **)to = json_string_value(value);
    return true;
}

static bool put_choice(const struct sn_field *f, const json_t *value, void *to)
{
    for (unsigned i = 0; json_is_string(value) && f->choices[i]; i++)
        if (strcmp(json_string_value(value), f->choices[i]) == 0) {
            if (f->type == SN_FIELD_FLAG)
                *(bool *)to = i == 1;
            else
                *(unsigned *)to = i; /* gcc and clang: what an enum without negative values is */
            return true;
        }
    return false;
}

static bool put_json(const struct sn_field *f, const json_t *value, void *to)
{
    const double n = (double)json_array_size(value);
    if ((f->type == SN_FIELD_ARRAY && (!json_is_array(value) || n < f->min || n > f->max)) ||
        (f->type == SN_FIELD_OBJECT && !json_is_object(value)))
        return false;
    *(const json_t **)to = value;
    return true;
}

static bool put_value(const struct sn_field *f, const json_t *value, void *to)
{
    switch (f->type) {
    case SN_FIELD_BOOL:
        if (json_is_boolean(value))
            *(bool *)to = json_is_true(value);
        return json_is_boolean(value);
    case SN_FIELD_TEXT: return put_text(f, value, to);
    case SN_FIELD_CHOICE: case SN_FIELD_FLAG: return put_choice(f, value, to);
    case SN_FIELD_ARRAY: case SN_FIELD_OBJECT: case SN_FIELD_ANY: return put_json(f, value, to);
    default: return put_number(f, value, to);
    }
}

bool sn_fields_read(const struct sn_fields *fields, const json_t *object, enum sn_task task,
                    const char *where,
                    void *into, struct sn_refusal *r)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value) {
        const struct sn_field *f = find(fields, name);
        if (!f || (!has_task(f, task) && !json_is_null(value)))
            return refuse_name(fields, name, task, where, r);
        if (!json_is_null(value) && !put_value(f, value, (char *)into + f->offset))
            return refuse_value(f, value, where, r);
    }
    return true;
}
