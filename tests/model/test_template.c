#include "tests/test.h"

#include "base/mem.h"
#include "model/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The bulk of the semantics is compared with Jinja2 in template-jinja2.py; here is what can be known
 * without it: what errors say, the bounds, where bytes come from, failing memory. */

static int render(const char *source, const char *vars, struct sn_rendered *out, struct sn_diag *d)
{
    json_error_t e;
    json_t *v = json_loads(vars ? vars : "{}", 0, &e);
    struct sn_template *t = NULL;
    assert_non_null(v);
    sn_diag_init(d);
    *out = (struct sn_rendered){0};
    int rc = sn_template_new("t", source, strlen(source), &t, d);
    if (rc == 0)
        rc = sn_template_render(t, v, out, d);
    sn_template_free(&t);
    json_decref(v);
    return rc;
}

#define MESSAGES "{\"messages\":[{\"role\":\"user\",\"content\":\" Hi \"}]}"
static const struct { const char *source, *vars, *want; } good[] = {
    {"", NULL, ""},
    {"a{{ 1 + 2 }}b", NULL, "a3b"},
    {"{{ x }}|{{ x.y is defined }}", "{\"x\":{}}", "{}|False"},
    {"{% for m in messages %}<{{ m.role }}>{{ m['content']|trim }}{% endfor %}", MESSAGES, "<user>Hi"},
    {"{{ [true, none, 1.0, 'a\\'b', {'k': (1,)}] }}", NULL, "[True, None, 1.0, \"a'b\", {'k': (1,)}]"},
    {"{{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 7 / 2 }} {{ 1e20 }}", NULL, "-4 2 1024 3.5 1e+20"},
    {"  {% if 1 %}\n x\n  {% endif %}\ny", NULL, " x\ny"},
    {"a  {{- 1 -}}  b {#- c -#} d", NULL, "a1bd"},
    {"{% raw %}{{ x }}{% endraw %}", NULL, "{{ x }}"},
    {"{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(b=3, a=0) }}", NULL, "1203"},
    {"{% set ns = namespace(n=0) %}{% for i in range(5) %}{% if i == 3 %}{% break %}{% endif %}"
     "{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", NULL, "3"},
    {"{% set l = [] %}{% set _ = l.append(1) %}{{ l }}", NULL, "[1]"},
    {"{{ {'b': 1, 'a': [none, 'é']}|tojson }}", NULL, "{\"b\": 1, \"a\": [null, \"é\"]}"},
    {"{{ '{\"a\": [1, 2.5]}'|from_json }}", NULL, "{'a': [1, 2.5]}"},
    {"{{ 'abc'[::-1] }}{{ '世界'[1:] }}{{ '世界'|length }}", NULL, "cba界2"},
    {"{{ (missing ~ missing) ~ '' }}", NULL, ""},
    {"{{ missing }}{{ missing|default('d') }}{{ 1 if false }}", NULL, "d"},
    {"{{ x }}", "{\"x\":9223372036854775807}", "9223372036854775807"},
};

static void renders(void **state)
{
    (void)state;
    for (size_t i = 0; i < SN_COUNT(good); i++) {
        struct sn_rendered r;
        struct sn_diag d;
        if (render(good[i].source, good[i].vars, &r, &d) < 0)
            fail_msg("%s: %s", good[i].source, d.text);
        assert_string_equal(r.text, good[i].want);
        assert_int_equal(r.n, strlen(good[i].want));
        sn_rendered_fini(&r);
    }
}

static const struct { const char *source, *vars; int code; const char *text; } bad[] = {
    {"ab\n {{ raise_exception('No ' ~ 'way') }}", NULL, SN_EINVAL, "t:2:5: No way"},
    {"{{ messages[0].x.y }}", MESSAGES, SN_EINVAL, "t:1:17: 'dict' has no attribute 'x'"},
    {"{{ nobody.x }}", NULL, SN_EINVAL, "t:1:10: 'nobody' is undefined"},
    {"é {{ 1 + 'a' }}", NULL, SN_EINVAL, "t:1:8: '+' does not go with 'int' and 'str'"},
    {"{{ 1|nofilter }}", NULL, SN_EINVAL, "t:1:6: no filter named 'nofilter'"},
    {"{% if x %}", NULL, SN_EFORMAT, "t:1:11: the template ends without 'endif'"},
    {"{% for x in y %}", NULL, SN_EFORMAT, "t:1:17: the template ends without 'endfor'"},
    {"a\n{% what %}", NULL, SN_EFORMAT, "t:2:4: unknown tag 'what'"},
    {"{{ 'a }}", NULL, SN_EFORMAT, "t:1:4: a string without its closing quote"},
    {"{{ (1] }}", NULL, SN_EFORMAT, "t:1:6: ']' closes nothing"},
    {"{# x", NULL, SN_EFORMAT, "t:1:1: comment without its end '#}'"},
    {"{{ 1 2 }}", NULL, SN_EFORMAT, "t:1:6: '}}' expected, not an integer"},
    {"{% break %}", NULL, SN_EFORMAT, "t:1:4: 'break' outside of a loop"},
    {"\xff", NULL, SN_EFORMAT, "t: byte 0 of the template is not UTF-8"},
    {"{{ 99999999999999999999 }}", NULL, SN_ELIMIT, "t:1:4: an integer beyond 64 bits"},
    {"{{ 2 ** 64 }}", NULL, SN_ELIMIT, "t:1:6: an integer beyond 64 bits"},
};

static void errors_name_the_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < SN_COUNT(bad); i++) {
        struct sn_rendered r;
        struct sn_diag d;
        assert_int_equal(render(bad[i].source, bad[i].vars, &r, &d), -bad[i].code);
        assert_string_equal(d.text, bad[i].text);
        assert_null(r.text);
    }
}

/* Each has to end, soon, by a limit. */
static const char *const hostile[] = {
    "{{ range(10**12) }}",
    "{{ 'a' * 10**9 }}",
    "{{ ['a'] * 10**9 }}",
    "{{ 'a'.ljust(10**9) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ 'x'|center(10**10) }}",
    "{{ 'x'|indent(10**10, true) }}",
    "{{ [1]|tojson(indent=10**9) }}",
    "{{ [1]|batch(10**9, 0)|list }}",
    "{{ [1]|slice(10**9)|list }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro f(x) %}{{ f(x ~ x) }}{% endmacro %}{{ f('a') }}",
    "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "{% set n = namespace(s='ab') %}{% for i in range(100) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "{% set n = namespace(l=[1]) %}{% for i in range(100) %}{% set n.l = n.l + n.l %}{% endfor %}",
    "{% set n = namespace(l=[1]) %}{% for i in range(99) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}",
    "{% set n = namespace(l=[1]) %}{% for i in range(99) %}{% set n.l = [n.l, n.l] %}{% endfor %}"
    "{{ n.l == n.l }}",
    "{% set n = namespace(l=()) %}{% for i in range(99) %}{% set n.l = (n.l, n.l) %}{% endfor %}{{ {n.l: 1} }}",
    "{% set n = namespace(l=[]) %}{% for i in range(9999) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}",
    "{% set n = namespace(l=[]) %}{% for i in range(9999) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l|tojson }}",
    "{% set l = [] %}{% set _ = l.append(l) %}{{ l }}",
    "{% set l = [] %}{% set _ = l.append(l) %}{{ l|tojson }}",
    "{% set d = {} %}{% set _ = d.update({1: d}) %}{{ d }}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = 'a' * 4000 %}{% endfor %}{% endfor %}",
    "{% set s = 'ab' * 5000000 %}{% for i in range(99999) %}{% if 'aa' in s %}{% endif %}{% endfor %}",
    "{% set s = 'ab' * 5000000 %}{% for i in range(99999) %}{% if s|length %}{% endif %}{% endfor %}",
    "{% set s = ' ' * 5000000 %}{% for i in range(99999) %}{% if s|trim %}{% endif %}{% endfor %}",
    "{% set s = 'a' * 5000000 %}{% for i in range(99999) %}{% if s == 'a' * 5000000 %}{% endif %}{% endfor %}",
    "{% set s = 'a' * 5000000 %}{% for i in range(99999) %}{% if s[4999999] %}{% endif %}{% endfor %}",
    "{% set s = 'a' * 5000000 %}{% for i in range(99999) %}{% if s.isalpha() %}{% endif %}{% endfor %}",
    "{% set s = 'a' * 5000000 ~ 'b' %}{{ s.rfind('a' * 2000000 ~ 'c') }}{{ s.rsplit('a' * 999999 ~ 'c') }}"
    "{% for i in range(99999) %}{% if s is lower %}{% endif %}{% endfor %}",
    "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
    "{% set d = {} %}{% for i in range(99999) %}{% for j in range(99) %}{% set _ = d.update({i * 99 + j: i}) %}"
    "{% endfor %}{% endfor %}",
    "{% set l = range(99999)|list %}{% for i in range(9999) %}{% set _ = l.pop(0) %}{% set _ = l.insert(0, 1) %}"
    "{% endfor %}",
    "{{ strftime_now('%c' * 90) }}{{ strftime_now('%c' * 100) }}",
};

static void limits_end_hostile_templates(void **state)
{
    (void)state;
    for (size_t i = 0; i < SN_COUNT(hostile); i++) {
        struct sn_rendered r;
        struct sn_diag d;
        const clock_t begin = clock();
        const int rc = render(hostile[i], NULL, &r, &d);
        const double s = (double)(clock() - begin) / CLOCKS_PER_SEC;
        if (rc != -SN_ELIMIT || s > 30)
            fail_msg("%s: %d in %.1f s: %s", hostile[i], rc, s, d.text);
        if (s > 1.5)
            print_message("%.1f s: %.60s\n", s, hostile[i]);
    }
}

static char *repeated(const char *open, const char *middle, const char *close, size_t n)
{
    const size_t a = strlen(open), m = strlen(middle), c = strlen(close);
    char *s = malloc(a * n + m + c * n + 1), *p = s;
    assert_non_null(s);
    for (size_t i = 0; i < n; i++, p += a)
        memcpy(p, open, a);
    memcpy(p, middle, m);
    p += m;
    for (size_t i = 0; i < n; i++, p += c)
        memcpy(p, close, c);
    *p = '\0';
    return s;
}

static void deep_source_cannot_overflow_the_stack(void **state)
{
    (void)state;
    static const struct { const char *open, *middle, *close; int limit; } nests[] = {
        {"(", "1", ")", 1},          {"[", "", "]", 1},        {"{1:", "2", "}", 1},
        {"-", "1", "", 1},           {"not ", "1", "", 1},     {"f(", "1", ")", 1},
        {"1 if 1 else ", "2", "", 1}, {"a[", "1", "]", 1},     {"", "1", "+1", 1},
        {"", "a", "|upper", 1},      {"", "'a'", "~'b'", 1},   {"", "1", " and 1", 1},
        {"", "1", " == 1", 0},       {"", "x", ".y", 1},       {"", "1", " if 1", 1},
    };
    for (size_t i = 0; i < SN_COUNT(nests); i++) {
        char *e = repeated(nests[i].open, nests[i].middle, nests[i].close, 30000);
        const size_t cap = strlen(e) + 16;
        char *source = malloc(cap);
        struct sn_rendered r;
        struct sn_diag d;
        assert_non_null(source);
        snprintf(source, cap, "{{ %s }}", e);
        const int rc = render(source, NULL, &r, &d);
        if (rc != (nests[i].limit ? -SN_ELIMIT : 0))
            fail_msg("%s...: %d %s", nests[i].open, rc, d.text);
        sn_rendered_fini(&r);
        free(source);
        free(e);
    }
    char *s = repeated("{% if 1 %}", "x", "{% endif %}", 30000);
    struct sn_rendered r;
    struct sn_diag d;
    assert_int_equal(render(s, NULL, &r, &d), -SN_ELIMIT);
    free(s);
    s = repeated("", "{% if 0 %}", "{% elif 0 %}", 30000);
    const size_t cap = strlen(s) + 64;
    char *whole = malloc(cap);
    snprintf(whole, cap, "%s{%% else %%}x{%% endif %%}", s);
    assert_int_equal(render(whole, NULL, &r, &d), 0);
    assert_string_equal(r.text, "x");
    sn_rendered_fini(&r);
    free(whole);
    free(s);
}

static void deep_variables_are_refused(void **state)
{
    (void)state;
    char *s = repeated("[", "", "]", 1000);
    const size_t cap = strlen(s) + 16;
    char *vars = malloc(cap);
    struct sn_rendered r;
    struct sn_diag d;
    snprintf(vars, cap, "{\"x\":%s}", s);
    assert_int_equal(render("{{ 1 }}", vars, &r, &d), -SN_ELIMIT);
    free(vars);
    free(s);
}

/* want: '1' where the byte at that place came from data */
static const struct { const char *source, *text, *want; } origins[] = {
    {"<{{ c }}>", "< Hi,x >", "01111110"},
    {"<{{ c|trim }}>", "<Hi,x>", "011110"},
    {"{{ '<' + c.strip() + '>' }}", "<Hi,x>", "011110"},
    {"{{ '<' ~ c.strip() ~ '>' }}", "<Hi,x>", "011110"},
    {"{{ c.split(',')[0].lstrip() }}", "Hi", "11"},
    {"{{ c[1:3] ~ 'y' }}{{ c[-2] }}", "Hiyx", "1101"},
    {"{{ c.strip()|upper }}{{ 'a'|upper }}", "HI,XA", "11110"},
    {"{{ c.strip().replace('H', 'zz') }}", "zzi,x", "00111"},
    {"{{ 'aHb'.replace('H', c.strip()) }}", "aHi,xb", "011110"},
    {"{{ c.strip()[::-1] }}", "x,iH", "1111"},
    {"{{ [c.strip(), 'y']|join('-') }}", "Hi,x-y", "111100"},
    {"{{ [c.strip()] }}", "['Hi,x']", "00111100"},
    {"{{ '%s!' % c.strip() }}", "Hi,x!", "11110"},
    {"{{ '{}!'.format(c.strip()) }}", "Hi,x!", "11110"},
    {"{{ c.strip()|tojson }}", "\"Hi,x\"", "011110"},
    {"{{ q|tojson }}", "\"a\\\"\\n\"", "01111" "10"},
    {"{{ c.strip()|center(6) }}", " Hi,x ", "011110"},
    {"{{ c.strip()|indent(2, true) }}", "  Hi,x", "001111"},
    {"{% set x %}a{{ c.strip() }}{% endset %}{{ x }}", "aHi,x", "01111"},
    {"{% macro m(x) %}({{ x }}){% endmacro %}{{ m(c.strip()) }}", "(Hi,x)", "011110"},
    {"{% filter upper %}a{{ c.strip() }}{% endfilter %}", "AHI,X", "01111"},
    {"{% set n = namespace(s='') %}{% for i in 'ab' %}{% set n.s = n.s + i + c.strip() %}{% endfor %}{{ n.s }}",
     "aHi,xbHi,x", "0111101111"},
    {"{{ c.strip()|list|first }}{{ c.strip() * 2 }}", "HHi,xHi,x", "111111111"},
    {"{{ messages[0].role }}{{ messages[1].role }}", "usera|b", "0000111"},
    {"{{ messages[0]|list|last }}{{ t }}{{ tools[0] }}{{ documents[0].t }}", "qTUV", "1011"},
    {"{{ c.strip()|urlencode }}{{ c.strip()|e }}", "Hi%2CxHi,x", "1111111111"},
    {"{{ c|length }}{{ c == c }}", "6True", "00000"},
    {"{{ '[\"'|safe ~ c.strip() ~ '\"]' }}{{ ('[\"' ~ c.strip() ~ '\"]')|from_json|first }}",
     "[\"Hi,x\"]Hi,x", "001111001111"},
};

static void bytes_remember_where_they_came_from(void **state)
{
    (void)state;
    static const char vars[] = "{\"messages\":[{\"role\":\"user\",\"content\":\" Hi,x \",\"q\":\"a\\\"\\n\"},"
                               "{\"role\":\"a|b\"}],\"t\":\"T\",\"tools\":[\"U\"],\"documents\":[{\"t\":\"V\"}]}";
    for (size_t i = 0; i < SN_COUNT(origins); i++) {
        char source[400];
        struct sn_rendered r;
        struct sn_diag d;
        snprintf(source, sizeof source,
                 "{%% set c = messages[0].content %%}{%% set q = messages[0].q %%}%s",
                 origins[i].source);
        if (render(source, vars, &r, &d) < 0)
            fail_msg("%s: %s", origins[i].source, d.text);
        assert_string_equal(r.text, origins[i].text);
        for (size_t k = 0; k < r.n; k++)
            if (r.from_data[k] != origins[i].want[k] - '0')
                fail_msg("%s: byte %zu of '%s'", origins[i].source, k, r.text);
        sn_rendered_fini(&r);
    }
}

static void failing_memory_is_an_error(void **state)
{
    (void)state;
    static const char source[] =
        "{% macro m(a, b='x') %}{{ a }}{{ caller() }}{{ b }}{% endmacro %}"
        "{% set ns = namespace(s='') %}{% for k, v in messages[0].items() %}"
        "{% set ns.s = ns.s ~ k ~ '=' ~ v|tojson(indent=2) %}{% endfor %}"
        "{% call m(ns.s|upper|replace('A', 'b' * 40000)) %}{{ 'x,y'.split(',')|sort|join }}{% endcall %}"
        "{% for r in messages|groupby('role') %}{{ r.list|map(attribute='content')|list }}{% endfor %}"
        "{{ '%5.1f|%s' % (1.5, [1, {'a': none}]) }}{{ '{:>9}'.format('z') }}{{ dict(a=1)|dictsort }}"
        "{{ 'a\\x41' 'b' }}{{ range(300)|batch(7)|list|length }}";
    int rc = -SN_ENOMEM;
    long n = 0;
    json_error_t e;
    json_t *vars = json_loads(MESSAGES, 0, &e);
    while (rc == -SN_ENOMEM) {
        struct sn_template *t = NULL;
        struct sn_rendered r = {0};
        struct sn_diag d;
        sn_diag_init(&d);
        sn_test_fail_alloc(++n);
        rc = sn_template_new("t", source, sizeof source - 1, &t, &d);
        if (rc == 0)
            rc = sn_template_render(t, vars, &r, &d);
        sn_test_fail_alloc(0);
        if (rc == -SN_ENOMEM)
            assert_null(r.text);
        else if (rc < 0)
            fail_msg("%s", d.text);
        sn_rendered_fini(&r);
        sn_template_free(&t);
    }
    json_decref(vars);
    assert_true(n > 8);
}

/* The diag may be left out. */
static void no_diag_is_needed(void **state)
{
    (void)state;
    struct sn_template *t = NULL;
    struct sn_rendered r = {0};
    json_t *none = json_object(), *list = json_array();
    assert_int_equal(sn_template_new("t", "{{", 2, &t, NULL), -SN_EFORMAT);
    assert_int_equal(sn_template_new("t", "{{ x.y }}", 9, &t, NULL), 0);
    assert_int_equal(sn_template_render(t, none, &r, NULL), -SN_EINVAL);
    assert_int_equal(sn_template_render(t, list, &r, NULL), -SN_EINVAL);
    sn_template_free(&t);
    sn_template_free(&t);
    json_decref(none);
    json_decref(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders),
        cmocka_unit_test(errors_name_the_place),
        cmocka_unit_test(limits_end_hostile_templates),
        cmocka_unit_test(deep_source_cannot_overflow_the_stack),
        cmocka_unit_test(deep_variables_are_refused),
        cmocka_unit_test(bytes_remember_where_they_came_from),
        cmocka_unit_test(failing_memory_is_an_error),
        cmocka_unit_test(no_diag_is_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
