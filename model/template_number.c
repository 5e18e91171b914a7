#include "config.h"
#include "model/template_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Filters that make or round numbers. */

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

/* The prefix 0x, 0o or 0b of `base`; base 0 takes the one that is there. */
static size_t skip_prefix(const char *s, size_t n, int64_t *base)
{
    const char c = n > 1 && s[0] == '0' ? (char)(s[1] | 0x20) : '\0';
    const int64_t of = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
    const bool there = of && (*base == 0 || *base == of);
    if (*base == 0)
        *base = of ? of : 10;
    return there ? 2 : 0;
}

/* int(s, base); *ok false when it is no integer. */
static int parse_int(struct sn_jrun *r, const struct sn_jstr *s, int64_t base, bool *ok,
                     int64_t *out)
{
    struct sn_jval stripped;
    int rc = sn_jstr_strip(r, s, NULL, 'b', &stripped);
    if (rc < 0)
        return rc;
    const char *p = stripped.u.s->s, *end = p + stripped.u.s->n;
    const bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    p += skip_prefix(p, (size_t)(end - p), &base);
    *ok = p < end && *p != '_' && end[-1] != '_';
    *out = 0;
    for (; p < end && *ok; p++) {
        if (*p == '_' && p[-1] != '_')
            continue;
        const int digit = digit_of(*p);
        *ok = digit < base;
        if (*ok && (__builtin_mul_overflow(*out, base, out) ||
                    __builtin_sub_overflow(*out, digit, out)))
            return sn_jfail(r, SN_ELIMIT, "an integer beyond 64 bits");
    }
    if (*ok && !negative && __builtin_sub_overflow(0, *out, out))
        return sn_jfail(r, SN_ELIMIT, "an integer beyond 64 bits");
    return 0;
}

static int truncated(struct sn_jrun *r, double f, struct sn_jval *out)
{
    if (!isfinite(f))
        return sn_jfail(r, SN_EINVAL, "%g is no integer", f);
    if (fabs(f) >= 9.2e18)
        return sn_jfail(r, SN_ELIMIT, "an integer beyond 64 bits");
    *out = sn_jint((int64_t)f);
    return 0;
}

/* default=0, base=10 */
static int f_int(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    int64_t i, base;
    double f;
    bool ok;
    int rc = sn_jarg_int(r, c->a[1], 10, &base);
    if (rc < 0)
        return rc;
    if (c->self.kind == SN_J_UNDEF)
        return sn_jfail_undef(r, c->self);
    if (c->self.kind == SN_J_FLOAT && !isnan(c->self.u.f))
        return truncated(r, c->self.u.f, out);
    *out = c->a[0].kind == SN_J_ABSENT ? sn_jint(0) : c->a[0];
    if (sn_jis_integer(c->self, &i))
        *out = sn_jint(i);
    if (c->self.kind != SN_J_STR)
        return 0;
    if (base < 0 || base == 1 || base > 36)
        return 0;
    rc = parse_int(r, c->self.u.s, base, &ok, &i);
    if (rc == 0 && ok)
        *out = sn_jint(i);
    else if (rc == 0 && sn_jparse_float(c->self.u.s, &f) && isfinite(f))
        rc = truncated(r, f, out);
    return rc;
}

static int f_float(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    double f;
    if (c->self.kind == SN_J_UNDEF)
        return sn_jfail_undef(r, c->self);
    if (sn_jis_number(c->self))
        *out = sn_jfloat(sn_jto_double(c->self));
    else if (c->self.kind == SN_J_STR && sn_jparse_float(c->self.u.s, &f))
        *out = sn_jfloat(f);
    else
        *out = c->a[0].kind == SN_J_ABSENT ? sn_jfloat(0) : c->a[0];
    return 0;
}

/* round(): to even on ties of the exact binary value. */
static int round_common(struct sn_jrun *r, struct sn_jval v, int64_t digits, struct sn_jval *out)
{
    int64_t i;
    if (sn_jis_integer(v, &i)) {
        *out = sn_jint(i);
        if (digits >= 0)
            return 0;
        if (digits < -18) {
            *out = sn_jint(0);
            return 0;
        }
        const long double unit = powl(10, (long double)-digits);
        return truncated(r, (double)(rintl((long double)i / unit) * unit), out);
    }
    double f = v.u.f;
    if (isfinite(f) && digits < 0) {
        const long double unit = powl(10, (long double)(digits < -400 ? 400 : -digits));
        f = (double)(rintl((long double)f / unit) * unit);
    } else if (isfinite(f) && digits < 30) {
        char text[400];
        snprintf(text, sizeof text, "%.*f", (int)digits, f);
        f = strtod(text, NULL);
    }
    *out = sn_jfloat(f);
    return 0;
}

static int f_round(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    int64_t digits;
    const struct sn_jstr *how = NULL;
    int rc = sn_jarg_int(r, c->a[0], 0, &digits);
    if (rc == 0 && c->a[1].kind != SN_J_ABSENT)
        rc = sn_jarg_str(r, c->a[1], "round", &how);
    if (rc < 0)
        return rc;
    if (c->self.kind == SN_J_UNDEF)
        return sn_jfail_undef(r, c->self);
    if (!sn_jis_number(c->self))
        return sn_jfail(r, SN_EINVAL, "round wants a number, not %s", sn_jtype_name(c->self));
    if (!how || sn_jstr_is(how, "common"))
        return round_common(r, c->self, digits, out);
    const bool up = sn_jstr_is(how, "ceil");
    if (!up && !sn_jstr_is(how, "floor"))
        return sn_jfail(r, SN_EINVAL, "round: method must be common, ceil or floor");
    const double unit = pow(10, (double)digits), x = sn_jto_double(c->self) * unit;
    if (!isfinite(x) || unit == 0)
        return sn_jfail(r, SN_EINVAL, "round: out of range");
    *out = sn_jfloat((up ? ceil(x) : floor(x)) / unit + 0.0); /* never -0.0 */
    return 0;
}

static int f_abs(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    int64_t i;
    if (c->self.kind == SN_J_UNDEF)
        return sn_jfail_undef(r, c->self);
    if (sn_jis_integer(c->self, &i))
        return sn_jnegate(r, sn_jint(i), i < 0, out);
    if (c->self.kind != SN_J_FLOAT)
        return sn_jfail(r, SN_EINVAL, "abs wants a number, not %s", sn_jtype_name(c->self));
    *out = sn_jfloat(fabs(c->self.u.f));
    return 0;
}

static int f_length(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const int64_t n = sn_jlen(c->self);
    if (n < 0)
        return sn_jfail(r, SN_EINVAL, "object of type '%s' has no length",
                        sn_jtype_name(c->self));
    *out = sn_jint(n);
    return sn_jtick_bytes(r, c->self.kind == SN_J_STR ? c->self.u.s->n : 0);
}

static int f_default(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    *out = c->self;
    if (c->self.kind != SN_J_UNDEF && !(sn_jtruth(c->a[1]) && !sn_jtruth(c->self)))
        return 0;
    *out = c->a[0];
    return c->a[0].kind == SN_J_ABSENT ? sn_jstr_new(r, "", 0, out) : 0;
}

const struct sn_jbuiltin sn_jfilters_number[] = {
    {"int", "default base", 0, f_int},
    {"float", "default", 0, f_float},
    {"round", "precision method", 0, f_round},
    {"abs", "", 0, f_abs},
    {"length", "", 0, f_length},
    {"count", "", 0, f_length},
    {"default", "default_value boolean", 0, f_default},
    {"d", "default_value boolean", 0, f_default},
    {0},
};
