/* A Hugging Face folder whose JSON files are arbitrary bytes, beside the weights of a tiny model: the
 * first byte says which, then config.json, tokenizer.json and processor_config.json follow, a byte of
 * 0xFF (which UTF-8 never has) between them. */

#include "tests/fuzz/fuzz.h"

#include "base/diag.h"
#include "model/convert_hf.h"
#include "model/gguf.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const models[] = {"mistral", "mllama", "qwen2vl"};
static const char *const files[] = {"config.json", "tokenizer.json", "processor_config.json"};
enum { N_MODELS = 3, N_FILES = 3 };
static char root[] = "/tmp/sensorium-fuzz-XXXXXX";

static void path_of(char out[PATH_MAX], const char *folder, const char *name)
{
    snprintf(out, PATH_MAX, "%s/%s%s%s", root, folder, name ? "/" : "", name ? name : "");
}

static void clear(void)
{
    char path[PATH_MAX];
    for (size_t m = 0; m < N_MODELS; m++) {
        for (size_t i = 0; i < N_FILES; i++) {
            path_of(path, models[m], files[i]);
            unlink(path);
        }
        path_of(path, models[m], "model.safetensors");
        unlink(path);
        path_of(path, models[m], NULL);
        rmdir(path);
    }
    path_of(path, "out.gguf", NULL);
    unlink(path);
    path_of(path, "eyes.gguf", NULL);
    unlink(path);
    rmdir(root);
}

static void make_folders(void)
{
    char path[PATH_MAX], weights[PATH_MAX], full[PATH_MAX];
    const char *top = getenv("srcdir");
    fuzz_check(mkdtemp(root) != NULL);
    for (size_t m = 0; m < N_MODELS; m++) {
        path_of(path, models[m], NULL);
        fuzz_check(mkdir(path, 0700) == 0);
        snprintf(weights, sizeof weights, "%s/tests/reference/hf/%s/model.safetensors", top ? top : ".", models[m]);
        fuzz_check(realpath(weights, full) != NULL);
        path_of(path, models[m], "model.safetensors");
        fuzz_check(symlink(full, path) == 0);
    }
    atexit(clear);
}

static void write_file(const char *folder, const char *name, const uint8_t *data, size_t n)
{
    char path[PATH_MAX];
    path_of(path, folder, name);
    if (n == 0) { /* not there */
        unlink(path);
        return;
    }
    FILE *f = fopen(path, "wb");
    fuzz_check(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

/* What was written is a file that can be read. */
static void check_written(const char *path)
{
    struct sn_gguf *g = NULL;
    struct sn_diag d;
    if (access(path, F_OK) != 0)
        return;
    fuzz_check(sn_gguf_open(path, &g, &d) == 0);
    sn_gguf_free(&g);
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool made;
    char dir[PATH_MAX], out[PATH_MAX], eyes[PATH_MAX];
    struct sn_diag d;
    bool sees = false;
    if (!made)
        make_folders();
    made = true;
    if (size < 1)
        return 0;
    const char *model = models[data[0] % N_MODELS];
    const uint8_t *at = data + 1, *end = data + size;
    for (size_t i = 0; i < N_FILES; i++) {
        const uint8_t *stop = i + 1 < N_FILES && at < end ? memchr(at, 0xFF, (size_t)(end - at)) : NULL;
        stop = stop ? stop : end;
        write_file(model, files[i], at, (size_t)(stop - at));
        at = stop < end ? stop + 1 : end;
    }
    path_of(dir, model, NULL);
    path_of(out, "out.gguf", NULL);
    path_of(eyes, "eyes.gguf", NULL);
    sn_diag_init(&d);
    if (sn_convert_sees(dir, &sees, &d) < 0)
        sees = false;
    sn_diag_init(&d);
    const struct sn_convert_cfg cfg = {.dir = dir, .out = out, .mmproj = sees ? eyes : NULL, .type = -1};
    const int rc = sn_convert_hf(&cfg, &d);
    fuzz_check((rc < 0) == (d.code != SN_OK) && (rc < 0) == (d.text[0] != '\0'));
    check_written(out);
    check_written(eyes);
    return 0;
}
