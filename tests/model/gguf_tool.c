/* For gguf-py.py: `gguf_tool dump FILE` prints what our reader sees, `gguf_tool copy IN OUT`
 * writes it again with our writer. One line a value or tensor, words apart by spaces:
 *   V key-in-hex kind elem count element...      (strings in hex behind an 's', floats as %a)
 *   T name-in-hex type n_dims ne0 ne1 ne2 ne3 n_bytes sha256 */

#include "base/hash.h"
#include "compute/type.h"
#include "model/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void put_hex(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf("%02x", (unsigned char)s[i]);
}

static void dump_value(const struct sn_gguf_value *v)
{
    const uint64_t n = v->kind == SN_GGUF_STRING ? 1 : v->count;
    printf("V ");
    put_hex(v->key, strlen(v->key));
    printf(" %s %s %" PRIu64, sn_gguf_kind_name(v->kind), sn_gguf_kind_name(v->elem), n);
    for (uint64_t i = 0; i < n; i++) {
        if (v->elem == SN_GGUF_STRING) {
            size_t len;
            const char *s = sn_gguf_at_string(v, i, &len);
            printf(" s");
            put_hex(s, len);
        } else if (v->elem == SN_GGUF_F32 || v->elem == SN_GGUF_F64) {
            printf(" %a", sn_gguf_at_f64(v, i));
        } else {
            printf(" %" PRId64, sn_gguf_at_i64(v, i));
        }
    }
    putchar('\n');
}

static int dump_tensor(const struct sn_gguf_tensor *t, struct sn_diag *d)
{
    char hex[65];
    struct sn_sha256 *h = NULL;
    int rc = sn_sha256_new(&h, d);
    if (rc == 0)
        rc = sn_sha256_update(h, t->data, t->n_bytes, d);
    if (rc == 0)
        rc = sn_sha256_hex(h, hex, d);
    sn_sha256_free(&h);
    if (rc < 0)
        return rc;
    printf("T ");
    put_hex(t->name, strlen(t->name));
    printf(" %s %" PRIu32, sn_type_info(t->type)->name, t->n_dims);
    for (size_t i = 0; i < 4; i++)
        printf(" %" PRIu64, t->ne[i]);
    printf(" %zu %s\n", t->n_bytes, hex);
    return 0;
}

static int dump(const struct sn_gguf *g, struct sn_diag *d)
{
    int rc = 0;
    for (size_t i = 0; i < sn_gguf_n_values(g); i++)
        dump_value(sn_gguf_value(g, i));
    for (size_t i = 0; i < sn_gguf_n_tensors(g) && rc == 0; i++)
        rc = dump_tensor(sn_gguf_tensor(g, i), d);
    return rc;
}

static int copy(const struct sn_gguf *g, const char *to, struct sn_diag *d)
{
    struct sn_gguf_writer *w = NULL;
    int rc = sn_gguf_writer_new(to, &w, d);
    for (size_t i = 0; i < sn_gguf_n_values(g) && rc == 0; i++)
        rc = sn_gguf_put_copy(w, sn_gguf_value(g, i), d);
    for (size_t i = 0; i < sn_gguf_n_tensors(g) && rc == 0; i++) {
        const struct sn_gguf_tensor *t = sn_gguf_tensor(g, i);
        rc = sn_gguf_put_tensor(w, t->name, t->type, t->n_dims, t->ne, d);
    }
    for (size_t i = 0; i < sn_gguf_n_tensors(g) && rc == 0; i++) {
        const struct sn_gguf_tensor *t = sn_gguf_tensor(g, i);
        rc = sn_gguf_write_data(w, t->data, t->n_bytes, d);
    }
    if (rc == 0)
        rc = sn_gguf_writer_close(&w, d);
    sn_gguf_writer_abort(&w);
    return rc;
}

int main(int argc, char **argv)
{
    struct sn_gguf *g = NULL;
    struct sn_diag d;
    sn_diag_init(&d);
    const int copies = argc == 4 && strcmp(argv[1], "copy") == 0;
    if (!copies && !(argc == 3 && strcmp(argv[1], "dump") == 0))
        return 99;
    int rc = sn_gguf_open(argv[2], &g, &d);
    if (rc == 0)
        rc = copies ? copy(g, argv[3], &d) : dump(g, &d);
    sn_gguf_free(&g);
    if (rc < 0)
        fprintf(stderr, "gguf_tool: %s\n", d.text);
    return rc < 0 ? 1 : 0;
}
