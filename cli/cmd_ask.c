#include "config.h"
#include "cli/commands.h"

#include "cli/answer.h"

int cmd_ask(int argc, char **argv)
{
    struct cli_answer_opts o = {.sampling.cfg.max_tokens = 512};
    struct cli_parser p = {
        .command = "ask",
        .synopsis = "-m MODEL [--mmproj FILE] [--image FILE]... [--audio FILE]... [--video FILE]... PROMPT...",
        .about = "Answers a question about pictures, sounds and videos, or about nothing but itself. Several\n"
                 "questions are answered one by one, each as if it were the only one; what they have in\n"
                 "common, the pictures above all, is computed once.",
        .examples = "  sensorium ask -m smolvlm.gguf --image photo.jpg 'What is this?'\n"
                    "  sensorium ask -m qwen2-vl.gguf --mmproj mmproj.gguf --image a.png --image b.png \\\n"
                    "      'What has changed?'\n"
                    "  sensorium ask -m smolvlm.gguf --image photo.jpg 'What is this?' 'Where was it taken?'\n"
                    "  sensorium ask -m ultravox.gguf --audio question.mp3 'Answer the question.'\n"
                    "  sensorium ask -m qwen2.5-vl.gguf --video clip.mp4 'What happens here?'\n",
    };
    cli_add_model(&p, &o.model);
    cli_add_pictures(&p, &o.pictures);
    cli_add_sounds(&p, &o.pictures);
    cli_add_videos(&p, &o.pictures);
    cli_add_transcriber(&p, &o.pictures);
    cli_add_feature_cache(&p, &o.pictures);
    cli_add_chat(&p, &o);
    cli_add_sampling(&p, &o.sampling);
    cli_add_answer_output(&p, &o);
    cli_add_compute(&p, &o.model);
    cli_add_context(&p, &o.model);
    int status = cli_parse(&p, argc, argv);
    if (status == CLI_GO)
        status = cli_answer_check(&p, &o);
    if (status == CLI_GO && !p.n_args)
        status = cli_usage(&p, "a PROMPT is needed");
    if (status == CLI_GO) {
        o.questions = p.args;
        o.n_questions = (size_t)p.n_args;
        status = cli_answer(&o);
    }
    cli_answer_opts_fini(&o);
    return status;
}
