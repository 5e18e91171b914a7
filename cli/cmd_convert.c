#include "config.h"
#include "cli/commands.h"

#include "cli/options.h"
#include "model/gguf_build.h"
#include "model/whisper_file.h"

static int convert(const char *in, const char *out, struct sn_diag *d)
{
    struct sn_gguf *g = NULL;
    int rc = sn_whisper_file_open(in, &g, d);
    if (rc == 0)
        rc = sn_gguf_save(g, out, d);
    sn_gguf_free(&g);
    return rc;
}

int cmd_convert(int argc, char **argv)
{
    struct cli_parser p = {
        .command = "convert",
        .synopsis = "IN OUT.gguf",
        .about =
            "Writes a model of another format down as GGUF. Weights keep the type they have.\n"
            "IN is a CTranslate2 folder of Whisper, or a ggml .bin file of whisper.cpp. Such models\n"
            "can also be used as they are; reading them is what this command does, then.",
        .examples =
            "  sensorium convert faster-whisper-small whisper-small.gguf\n"
            "  sensorium convert ggml-base.bin whisper-base.gguf\n",
    };
    const int rc = cli_parse(&p, argc, argv);
    if (rc != CLI_GO)
        return rc;
    if (p.n_args != 2)
        return cli_usage(&p, "IN and OUT.gguf are needed, %d given", p.n_args);
    struct sn_diag d;
    sn_diag_init(&d);
    return convert(p.args[0], p.args[1], &d) < 0 ? cli_report(&d) : CLI_OK;
}
