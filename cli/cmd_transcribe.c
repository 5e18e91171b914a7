/* 'sensorium transcribe': files in, what is said in them out. All files are one call, so that windows
 * of short ones share a batch. */
#include "config.h"
#include "cli/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "cli/transcript.h"
#include "media/sandbox.h"
#include "media/sound.h"
#include "model/gguf.h"
#include "model/pull.h"
#include "model/whisper_file.h"

enum { FILES_MAX = 1 << 16 };

struct command {
    struct cli_model_opts m;
    const char *language, *format_name, *folder;
    enum cli_transcript_format format;
    uint32_t together;
    float temperature;
    bool translate, words, everything, no_times, quiet;
    char **files;
    size_t n_files;
    /* what runs */
    struct sn_sandbox *sandbox;
    struct sn_device *device;
    struct sn_transcriber *transcriber;
    struct sn_progress progress;
    struct recording *recordings;
    struct sn_transcribe_job *jobs;
};

struct recording {
    struct command *c;
    const char *file;
    struct sn_source source;
    struct sn_sound *sound;
    double done, seconds;  /* transcribed; of the recording, as far as is known */
    bool opened;
};

/* --- reading --- */

/* Opened when it is asked for the first time: a thousand files are not a thousand processes. */
static int open_recording(struct recording *r, struct sn_diag *d)
{
    r->opened = true;
    int rc = sn_source_open(r->file, &r->source, d);
    if (rc == 0)
        rc = sn_sound_open(r->c->sandbox, &r->source, &(struct sn_sound_cfg){0}, &r->sound, d);
    return rc;
}

static void close_recording(struct recording *r)
{
    sn_sound_close(&r->sound);
    if (r->opened)
        sn_source_close(&r->source);
    r->source = (struct sn_source){0};
}

static int read_sound(void *ctx, float *pcm, size_t max, size_t *got, struct sn_diag *d)
{
    struct recording *r = ctx;
    int rc = r->opened ? 0 : open_recording(r, d);
    if (rc == 0)
        rc = sn_sound_read(r->sound, pcm, max, got, d);
    if (r->sound)
        r->seconds = sn_sound_info(r->sound)->seconds;
    if (rc < 0 || *got == 0)
        close_recording(r);
    return rc;
}

/* --- showing --- */

static void show_progress(void *ctx, double seconds)
{
    struct recording *r = ctx;
    struct command *c = r->c;
    r->done = seconds;
    double done = 0, total = 0;
    for (size_t i = 0; i < c->n_files; i++) {
        const struct recording *x = &c->recordings[i];
        done += x->done;
        total += x->seconds > x->done ? x->seconds : x->done;
    }
    sn_progress_set(&c->progress, "transcribing", (uint64_t)done, (uint64_t)total);
}

/* Text of a single file is shown as it comes. */
static void show_segment(void *ctx, const struct sn_transcript *t, const struct sn_segment *s)
{
    struct recording *r = ctx;
    (void)t;
    sn_progress_clear(&r->c->progress);
    printf("%s\n", s->text);
    fflush(stdout);
}

static bool shows_as_it_comes(const struct command *c)
{
    return c->format == CLI_TXT && c->n_files == 1 && !c->folder;
}

/* --- writing --- */

/* FOLDER/NAME.srt for .../NAME.mp3 */
static char *output_path(const struct command *c, const char *file)
{
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
    const char *dot = strrchr(name, '.');
    struct sn_strbuf b = {0};
    sn_strbuf_printf(&b, "%s/%.*s.%s", c->folder, (int)(dot && dot > name ? dot - name : (long)strlen(name)),
                     name, cli_transcript_suffix(c->format));
    char *path = sn_strbuf_take(&b);
    sn_strbuf_fini(&b);
    return path;
}

static int write_file(const struct command *c, const char *file, const struct sn_transcript *t,
                      struct sn_diag *d)
{
    char *path = output_path(c, file), *bytes = NULL;
    size_t n = 0;
    FILE *memory = path ? open_memstream(&bytes, &n) : NULL;
    int rc = memory ? cli_transcript_print(memory, c->format, file, t, d)
                    : sn_fail(d, SN_ENOMEM, "%s: no memory for its transcript", file);
    if (memory && fclose(memory) != 0 && rc == 0)
        rc = sn_fail(d, SN_ENOMEM, "%s: no memory for its transcript", file);
    if (rc == 0)
        rc = sn_file_write(path, bytes, n, d);
    free(bytes);
    sn_free(path);
    return rc;
}

static int write_one(struct command *c, size_t i, struct sn_diag *d)
{
    const struct sn_transcript *t = &c->jobs[i].out;
    const char *file = c->recordings[i].file;
    if (c->folder)
        return write_file(c, file, t, d);
    if (c->format == CLI_TXT && c->n_files > 1)
        printf("%s==> %s <==\n", i ? "\n" : "", file);
    return shows_as_it_comes(c) ? 0 : cli_transcript_print(stdout, c->format, file, t, d);
}

/* Errors of single files are told, and the others go on; the first one counts. */
static int write_all(struct command *c, struct sn_diag *d)
{
    int status = CLI_OK;
    for (size_t i = 0; i < c->n_files; i++) {
        struct sn_transcribe_job *job = &c->jobs[i];
        int rc = job->rc;
        if (rc < 0)
            *d = job->diag;
        else
            rc = write_one(c, i, d);
        if (rc < 0) {
            const int s = cli_report(d);
            status = status == CLI_OK ? s : status;
        } else if (!job->out.n && !c->quiet) {
            cli_begin_error();
            fprintf(stderr, "%s: no speech\n", c->recordings[i].file);
        }
    }
    return status;
}

/* --- running --- */

static int open_model(struct command *c, struct sn_diag *d)
{
    static const struct sn_sandbox_kind *const kinds[] = {&sn_sound_kind, NULL};
    const unsigned n_open = (unsigned)sn_min(c->n_files, SN_TRANSCRIBE_OPEN);
    struct sn_gguf *file = NULL;
    char *path = NULL;
    int rc = sn_sandbox_new(&(struct sn_sandbox_cfg){kinds, n_open}, &c->sandbox, d);
    if (rc == 0)
        rc = sn_model_resolve(c->m.model, &path, d);
    if (rc == 0)
        rc = cli_device_open(&c->m, &c->device, d);
    if (rc == 0)
        rc = sn_whisper_file_open(path, &file, d);
    if (rc == 0)
        rc = sn_transcriber_new(c->device, &file, c->together, &c->transcriber, d);
    sn_free(path);
    return rc;
}

static int start(struct command *c, struct sn_diag *d)
{
    c->recordings = sn_calloc(c->n_files, sizeof *c->recordings);
    c->jobs = sn_calloc(c->n_files, sizeof *c->jobs);
    if (!c->recordings || !c->jobs)
        return sn_fail(d, SN_ENOMEM, "%zu files", c->n_files);
    for (size_t i = 0; i < c->n_files; i++) {
        struct recording *r = &c->recordings[i];
        *r = (struct recording){.c = c, .file = c->files[i], .source = {.fd = -1}};
        c->jobs[i].in = (struct sn_sound_reader){read_sound, r};
        c->jobs[i].ctx = r;
        c->jobs[i].progress = show_progress;
        c->jobs[i].segment = shows_as_it_comes(c) ? show_segment : NULL;
    }
    int rc = c->folder ? sn_mkdirs(c->folder, d) : 0;
    return rc < 0 ? rc : open_model(c, d);
}

static int run(struct command *c, struct sn_diag *d)
{
    const struct sn_transcribe_cfg cfg = {
        .language = c->language && strcmp(c->language, "auto") != 0 ? c->language : NULL,
        .words = c->words, .everything = c->everything,
        .decode = {.translate = c->translate, .no_times = c->no_times,
                   .temperatures = c->temperature >= 0 ? &c->temperature : NULL,
                   .n_temperatures = c->temperature >= 0},
    };
    int rc = start(c, d);
    sn_progress_start(&c->progress, false, c->quiet);
    if (rc == 0)
        rc = sn_transcribe(c->transcriber, c->jobs, c->n_files, &cfg, cli_interrupted, d);
    sn_progress_clear(&c->progress);
    return rc < 0 ? cli_report(d) : write_all(c, d);
}

static void finish(struct command *c)
{
    for (size_t i = 0; c->jobs && i < c->n_files; i++)
        sn_transcript_fini(&c->jobs[i].out);
    for (size_t i = 0; c->recordings && i < c->n_files; i++)
        close_recording(&c->recordings[i]);
    sn_free(c->jobs);
    sn_free(c->recordings);
    sn_transcriber_free(&c->transcriber);
    sn_device_close(&c->device);
    sn_sandbox_free(&c->sandbox);
}

/* --- the command --- */

static void add_options(struct cli_parser *p, struct command *c)
{
    cli_add_model(p, &c->m);
    cli_add(p, (struct cli_option){'l', "language", CLI_STRING, &c->language, "CODE",
            "what is spoken: en, de, ...; auto: found out from each file (auto)", 0, 0, NULL});
    cli_add(p, (struct cli_option){0, "translate", CLI_FLAG, &c->translate, NULL,
            "into English", 0, 0, NULL});
    cli_add(p, (struct cli_option){'f', "format", CLI_STRING, &c->format_name, "FORMAT",
            "txt, srt, vtt or json (txt)", 0, 0, NULL});
    cli_add(p, (struct cli_option){'w', "word-timestamps", CLI_FLAG, &c->words, NULL,
            "times of words, too (json, vtt)", 0, 0, NULL});
    cli_add(p, (struct cli_option){'o', "output-dir", CLI_STRING, &c->folder, "DIR",
            "a file for each in DIR, instead of standard output", 0, 0, NULL});
    cli_add(p, (struct cli_option){0, "temperature", CLI_FLOAT, &c->temperature, "T",
            "only this one (0, and up to 1 where that fails)", 0, 2, NULL});
    cli_add(p, (struct cli_option){0, "no-timestamps", CLI_FLAG, &c->no_times, NULL,
            "without asking for times: a segment for each window", 0, 0, NULL});
    cli_add(p, (struct cli_option){0, "keep-silence", CLI_FLAG, &c->everything, NULL,
            "let the model hear what is silence, too", 0, 0, NULL});
    cli_add(p, (struct cli_option){0, "batch", CLI_U32, &c->together, "N",
            "windows that are decoded together (up to 8, by the model's size)", 1, 256, NULL});
    cli_add(p, (struct cli_option){'q', "quiet", CLI_FLAG, &c->quiet, NULL, "no progress, no notes", 0,
            0, NULL});
    cli_add_compute(p, &c->m);
}

static int parse(struct cli_parser *p, struct command *c, int argc, char **argv)
{
    add_options(p, c);
    const int status = cli_parse(p, argc, argv);
    if (status != CLI_GO)
        return status;
    const int format = c->format_name ? cli_transcript_format(c->format_name) : CLI_TXT;
    if (p->n_args < 1 || p->n_args > FILES_MAX)
        return cli_usage(p, "FILEs are needed, 1 to %d; %d given", FILES_MAX, p->n_args);
    if (format < 0)
        return cli_usage(p, "--format %s: is not txt, srt, vtt or json", c->format_name);
    if (p->n_args > 1 && !c->folder && (format == CLI_SRT || format == CLI_VTT))
        return cli_usage(p, "subtitles of several files want --output-dir");
    if (c->words && format != CLI_JSON && format != CLI_VTT)
        return cli_usage(p, "--word-timestamps shows in json and vtt only");
    c->format = (enum cli_transcript_format)format;
    c->files = p->args;
    c->n_files = (size_t)p->n_args;
    if (!c->m.model)
        c->m.model = "whisper-base";
    return cli_check_model(p, &c->m);
}

int cmd_transcribe(int argc, char **argv)
{
    struct command c = {.temperature = -1};
    struct cli_parser p = {
        .command = "transcribe",
        .synopsis = "[-m MODEL] [OPTION]... FILE...",
        .about =
            "Writes down what is said in recordings and videos of any length. MODEL is a Whisper\n"
            "model: GGUF, a ggml .bin file, a CTranslate2 folder, or a name of the catalogue\n"
            "(whisper-base). Silence gives no text.",
        .examples =
            "  sensorium transcribe talk.mp3\n"
            "  sensorium transcribe -f srt talk.mp4 >talk.srt\n"
            "  sensorium transcribe -l de --translate -f json -w interview.ogg\n"
            "  sensorium transcribe -f vtt -o subtitles *.mkv\n",
    };
    struct sn_diag d;
    sn_diag_init(&d);
    int status = parse(&p, &c, argc, argv);
    if (status != CLI_GO)
        return status;
    cli_catch_interrupt();
    status = run(&c, &d);
    finish(&c);
    return status;
}
