#include "tests/test.h"
#include "tests/llm/golden.h"
#include "tests/mm_golden.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void golden_path(char *out, size_t size, const char *folder, const char *name, const char *suffix)
{
    const char *top = getenv("srcdir");
    const int n = snprintf(out, size, "%s/tests/reference/%s/%s%s", top ? top : ".", folder, name,
                           suffix);
    assert_true(n > 0 && (size_t)n < size);
}

static void read_logits(const char *name, struct golden *g)
{
    struct mm_array a;
    assert_true(mm_array_read(NULL, name, &a));
    assert_int_equal(a.rank, 2);
    g->logits = a.v;
    g->n_rows = a.shape[0];
    g->n_vocab = a.shape[1];
}

static size_t read_ids(const json_t *list, int32_t *out, size_t max)
{
    const size_t n = json_array_size(list);
    assert_true(n <= max);
    for (size_t i = 0; i < n; i++) out[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return n;
}

static void read_prompt(const json_t *j, struct golden_prompt *p)
{
    p->n_tokens = read_ids(json_object_get(j, "tokens"), p->tokens, 256);
    p->n_greedy = read_ids(json_object_get(j, "greedy"), p->greedy, 64);
    const json_t *gaps = json_object_get(j, "gaps");
    assert_int_equal(json_array_size(gaps), p->n_greedy);
    for (size_t i = 0; i < p->n_greedy; i++)
        p->gaps[i] = (float)json_number_value(json_array_get(gaps, i));
    p->last = (size_t)json_integer_value(json_object_get(j, "last"));
    p->row = (size_t)json_integer_value(json_object_get(j, "row"));
}

struct golden *golden_read(const char *name)
{
    char path[512];
    struct golden *g = calloc(1, sizeof *g);
    assert_non_null(g);
    golden_path(path, sizeof path, "golden", name, ".json");
    json_t *j = json_load_file(path, 0, NULL);
    assert_non_null(j);
    g->std = (float)json_number_value(json_object_get(j, "std"));
    g->tolerance = (float)json_number_value(json_object_get(j, "tolerance"));
    const json_t *prompts = json_object_get(j, "prompts");
    g->n_prompts = json_array_size(prompts);
    assert_in_range(g->n_prompts, 1, 8);
    for (size_t i = 0; i < g->n_prompts; i++) read_prompt(json_array_get(prompts, i), &g->prompts[i]);
    json_decref(j);
    read_logits(name, g);
    return g;
}

void golden_free(struct golden *g)
{
    free(g->logits);
    free(g);
}
