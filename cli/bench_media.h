#ifndef SN_CLI_BENCH_MEDIA_H
#define SN_CLI_BENCH_MEDIA_H
/* `sensorium bench --image` and `--audio`: how long each stage of seeing or hearing takes. */

#include "cli/options.h"
#include "cli/pictures.h"

struct cli_bench_media_opts {
    const struct cli_model_opts *model; /* -m is the mmproj file */
    const struct cli_picture_opts *pictures;
    uint32_t repeat;
    bool json;
};
int cli_bench_media(const struct cli_bench_media_opts *o, struct sn_diag *d);

#endif
