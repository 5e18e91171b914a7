#include "tests/test.h"
#include "tests/llm/golden.h"

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

/* A float32 matrix in NumPy's format, version 1. */
static void read_npy(const char *path, struct golden *g)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    unsigned char head[10];
    char text[512];
    assert_int_equal(fread(head, 1, sizeof head, f), sizeof head);
    assert_memory_equal(head, "\x93NUMPY\x01", 7);
    const size_t n = (size_t)head[8] | (size_t)head[9] << 8;
    assert_true(n < sizeof text);
    assert_int_equal(fread(text, 1, n, f), n);
    text[n] = '\0';
    assert_non_null(strstr(text, "'<f4'"));
    const char *shape = strstr(text, "'shape': (");
    assert_non_null(shape);
    assert_int_equal(sscanf(shape, "'shape': (%zu, %zu)", &g->n_rows, &g->n_vocab), 2);
    g->logits = calloc(g->n_rows * g->n_vocab, sizeof *g->logits);
    assert_non_null(g->logits);
    assert_int_equal(fread(g->logits, sizeof *g->logits, g->n_rows * g->n_vocab, f),
                     g->n_rows * g->n_vocab);
    fclose(f);
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
    golden_path(path, sizeof path, "golden", name, ".npy");
    read_npy(path, g);
    return g;
}

void golden_free(struct golden *g)
{
    free(g->logits);
    free(g);
}
