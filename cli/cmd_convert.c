#include "config.h"
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/options.h"
#include "compute/type.h"
#include "model/convert_hf.h"
#include "model/gguf_build.h"
#include "model/whisper_file.h"

struct command {
    const char *in, *out, *mmproj, *type, *pre;
};

static int convert_whisper(const struct command *c, struct sn_diag *d)
{
    struct sn_gguf *g = NULL;
    if (c->mmproj || c->type || c->pre)
        return sn_fail(d, SN_EINVAL, "%s: --mmproj, --type and --pre are for Hugging Face folders", c->in);
    int rc = sn_whisper_file_open(c->in, &g, d);
    if (rc == 0)
        rc = sn_gguf_save(g, c->out, d);
    sn_gguf_free(&g);
    return rc;
}

/* A model that sees is of little use without the file that nobody thought of naming. */
static void mention_mmproj(const struct command *c)
{
    bool sees = false;
    if (!c->mmproj && sn_convert_sees(c->in, &sees, NULL) == 0 && sees)
        fprintf(stderr, "convert: the language model only; --mmproj FILE writes encoder and projector too\n");
}

static int convert(const struct command *c, struct sn_diag *d)
{
    struct sn_convert_cfg cfg = {.dir = c->in, .out = c->out, .mmproj = c->mmproj, .type = -1, .pre = c->pre};
    if (!sn_convert_is_hf(c->in))
        return convert_whisper(c, d);
    if (c->type && strcmp(c->type, "auto") != 0)
        cfg.type = sn_type_by_name(c->type);
    const int rc = sn_convert_hf(&cfg, d);
    if (rc == 0)
        mention_mmproj(c);
    return rc;
}

static bool is_type(const char *s)
{
    static const char *const names[] = {"auto", "f32", "f16", "bf16"};
    for (size_t i = 0; i < SN_COUNT(names); i++)
        if (strcmp(s, names[i]) == 0)
            return true;
    return false;
}

int cmd_convert(int argc, char **argv)
{
    struct command c = {0};
    struct cli_parser p = {
        .command = "convert",
        .synopsis = "[OPTION]... IN OUT.gguf",
        .about =
            "Writes a model of another format down as GGUF. IN is one of\n"
            "  a Hugging Face folder: config.json, model.safetensors (or an index and its shards),\n"
            "    tokenizer.json and the files beside them. The language model goes to OUT.gguf;\n"
            "    encoder and projector of a model that sees go to the file of --mmproj\n"
            "  a CTranslate2 folder of Whisper, or a ggml .bin file of whisper.cpp. These can also\n"
            "    be used as they are; reading them is what this command does, then.\n\n"
            "Language models: Llama, Mistral, Mixtral, Qwen 2, 2.5, 3 and their MoE forms, Gemma 1 to\n"
            "3, Phi-3, Granite, SmolLM3. With eyes: LLaVA-1.5, Idefics3, SmolVLM, Qwen2-VL,\n"
            "Qwen2.5-VL, Gemma 3, Pixtral, Llama 3.2 Vision. With ears: Whisper.",
        .examples =
            "  sensorium convert SmolLM2-135M-Instruct smollm2.gguf\n"
            "  sensorium convert --type f16 --mmproj eyes.gguf SmolVLM-256M-Instruct smolvlm.gguf\n"
            "  sensorium convert faster-whisper-small whisper-small.gguf\n",
    };
    cli_add(&p, (struct cli_option){0, "mmproj", CLI_STRING, &c.mmproj, "FILE",
                                    "write encoder and projector here", 0, 0, NULL});
    cli_add(&p, (struct cli_option){0, "type", CLI_STRING, &c.type, "TYPE",
                                    "of matrices: f32, f16, bf16 or auto, what each has [auto]", 0, 0, NULL});
    cli_add(&p, (struct cli_option){0, "pre", CLI_STRING, &c.pre, "NAME",
                                    "the pre-tokenizer, where it is not recognised", 0, 0, NULL});
    const int rc = cli_parse(&p, argc, argv);
    if (rc != CLI_GO)
        return rc;
    if (p.n_args != 2)
        return cli_usage(&p, "IN and OUT.gguf are needed, %d given", p.n_args);
    if (c.type && !is_type(c.type))
        return cli_usage(&p, "--type %s: not f32, f16, bf16 or auto", c.type);
    c.in = p.args[0];
    c.out = p.args[1];
    struct sn_diag d;
    sn_diag_init(&d);
    return convert(&c, &d) < 0 ? cli_report(&d) : CLI_OK;
}
