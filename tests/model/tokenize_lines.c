#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "model/gguf.h"
#include "model/tokenizer.h"

/* tokenize_lines FILE.gguf: for each record on stdin (u32 length, then the text) writes to stdout
 * the ids without special tokens (u32 count, i32 ids), the ids with them, and the text that the
 * second decode to (u32 length, bytes). All little-endian; the order of records is kept. */

#define RECORD_MAX ((uint32_t)64 << 20)

static int die(const char *what)
{
    fprintf(stderr, "tokenize_lines: %s\n", what);
    return 1;
}

static void put_u32(uint32_t v) { fwrite(&v, sizeof v, 1, stdout); }

static int put_ids(const struct sn_tokenizer *t, const char *text, size_t n, unsigned flags,
                   struct sn_ids *ids, struct sn_diag *d)
{
    ids->n = 0;
    const int rc = sn_tokenizer_encode(t, text, n, flags, ids, d);
    if (rc < 0)
        return rc;
    put_u32((uint32_t)ids->n);
    if (ids->n)
        fwrite(ids->v, sizeof *ids->v, ids->n, stdout);
    return 0;
}

static int put_text(const struct sn_tokenizer *t, const struct sn_ids *ids, struct sn_diag *d)
{
    struct sn_strbuf b = {0};
    const int rc = sn_tokenizer_decode(t, ids->v, ids->n, true, &b, d);
    if (rc == 0) {
        put_u32((uint32_t)b.len);
        if (b.len)
            fwrite(b.data, 1, b.len, stdout);
    }
    sn_strbuf_fini(&b);
    return rc;
}

static int answer(const struct sn_tokenizer *t, const char *text, size_t n, struct sn_diag *d)
{
    struct sn_ids ids = {0};
    int rc = put_ids(t, text, n, 0, &ids, d);
    if (rc == 0)
        rc = put_ids(t, text, n, SN_TOK_SPECIAL, &ids, d);
    if (rc == 0)
        rc = put_text(t, &ids, d);
    sn_ids_fini(&ids);
    return rc;
}

static int serve(const struct sn_tokenizer *t, struct sn_diag *d)
{
    uint32_t n;
    int rc = 0;
    while (rc == 0 && fread(&n, sizeof n, 1, stdin) == 1) {
        char *text = n <= RECORD_MAX ? malloc(n + 1) : NULL;
        if (!text || fread(text, 1, n, stdin) != n)
            rc = sn_fail(d, SN_EFORMAT, "a record of %u bytes", n);
        else
            rc = answer(t, text, n, d);
        free(text);
    }
    return rc;
}

int main(int argc, char **argv)
{
    struct sn_diag d;
    struct sn_gguf *g = NULL;
    struct sn_tokenizer *t = NULL;
    sn_diag_init(&d);
    if (argc != 2)
        return die("usage: tokenize_lines FILE.gguf");
    int rc = sn_gguf_open(argv[1], &g, &d);
    if (rc == 0)
        rc = sn_tokenizer_new(g, &t, &d);
    sn_gguf_free(&g);
    if (rc == 0)
        rc = serve(t, &d);
    sn_tokenizer_free(&t);
    return rc < 0 ? die(d.text) : 0;
}
