#include "config.h"
#include "cli/npy.h"

#include <stdio.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/terminal.h"

/* Version 1.0: the header, padded to a multiple of 64 bytes, then the array. */
int cli_npy_write(const char *path, const float *v, const size_t *shape, size_t rank,
                  struct sn_diag *d)
{
    struct sn_strbuf head = {0}, b = {.max = SIZE_MAX / 2};
    size_t n = 1;
    sn_strbuf_puts(&head, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (size_t i = 0; i < rank; i++) {
        sn_strbuf_printf(&head, rank == 1 ? "%zu," : i ? ", %zu" : "%zu", shape[i]);
        n *= shape[i]; /* fits: it is in memory */
    }
    sn_strbuf_puts(&head, "), }");
    const size_t whole = sn_round_up(10 + head.len + 1, 64), rest = whole - 10;
    while (!head.failed && head.len + 1 < rest)
        sn_strbuf_putc(&head, ' ');
    const unsigned char magic[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)rest,
                                     (unsigned char)(rest >> 8)};
    sn_strbuf_append(&b, magic, sizeof magic);
    sn_strbuf_append(&b, head.data, head.len);
    sn_strbuf_putc(&b, '\n');
    sn_strbuf_append(&b, v, n * sizeof *v);
    const int rc = b.failed || head.failed
                       ? sn_fail(d, SN_ENOMEM, "%s: an array of %zu numbers", path, n)
                       : sn_file_write(path, b.data, b.len, d);
    sn_strbuf_fini(&head);
    sn_strbuf_fini(&b);
    return rc;
}

void cli_add_npy(struct cli_parser *p, const char **out)
{
    cli_add(p, (struct cli_option){'o', "output", CLI_STRING, out, "FILE", "the .npy file to write", 0, 0,
                                   NULL});
}

int cli_npy_run(int status, int (*run)(const void *opts, struct sn_diag *d), const void *opts)
{
    struct sn_diag d;
    if (status != CLI_GO)
        return status;
    sn_diag_init(&d);
    cli_catch_interrupt();
    return run(opts, &d) < 0 ? cli_report(&d) : CLI_OK;
}
