/* For the pull-*.py scripts: one sn_pull() with everything adjustable.
 *   pull_tool [-o] [-r RETRIES] [-b BACKOFF_MS] [-s STALL_S] [-c STOP_AT_BYTES] [-n FAIL_ALLOC] DIR NAME
 * Prints path, sha256, verified and cached, tabs between, or the error to stderr with the
 * code as exit status. */

#include "base/mem.h"
#include "model/pull.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int watch(void *ctx, const struct sn_pull_progress *p)
{
    const uint64_t *stop_at = ctx;
    return *stop_at > 0 && p->done >= *stop_at;
}

int main(int argc, char **argv)
{
    uint64_t stop_at = 0;
    long fail_alloc = 0;
    struct sn_pull_cfg cfg = {.retries = 2, .backoff_ms = 20, .watch = {watch, &stop_at}};
    for (int c; (c = getopt(argc, argv, "or:b:s:c:n:")) != -1;) {
        const unsigned long n = optarg ? strtoul(optarg, NULL, 10) : 0;
        switch (c) {
        case 'o': cfg.offline = true; break;
        case 'r': cfg.retries = (unsigned)n; break;
        case 'b': cfg.backoff_ms = (unsigned)n; break;
        case 's': cfg.stall_s = (unsigned)n; break;
        case 'c': stop_at = n; break;
        case 'n': fail_alloc = (long)n; break;
        default: return 99;
        }
    }
    if (argc - optind != 2)
        return 99;
    cfg.dir = argv[optind];
    struct sn_pulled got;
    struct sn_diag d;
    sn_diag_init(&d);
    sn_test_fail_alloc(fail_alloc);
    const int rc = sn_pull(argv[optind + 1], &cfg, &got, &d);
    sn_test_fail_alloc(0);
    if (rc < 0) {
        fprintf(stderr, "%s: %s\n", sn_err_name(d.code), d.text);
        return -rc;
    }
    printf("%s\t%s\t%d\t%d\n", got.path, *got.sha256 ? got.sha256 : "-", got.verified, got.cached);
    sn_free(got.path);
    return 0;
}
