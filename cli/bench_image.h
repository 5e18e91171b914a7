#ifndef SN_CLI_BENCH_IMAGE_H
#define SN_CLI_BENCH_IMAGE_H
/* `sensorium bench --image`: how long each stage of seeing takes. */

#include "cli/options.h"
#include "cli/pictures.h"

struct cli_bench_image_opts {
    const struct cli_model_opts *model; /* -m is the mmproj file */
    const struct cli_picture_opts *pictures;
    uint32_t repeat;
    bool json;
};
int cli_bench_image(const struct cli_bench_image_opts *o, struct sn_diag *d);

#endif
