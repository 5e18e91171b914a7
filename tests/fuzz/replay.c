/* Runs a fuzz target over files, without libFuzzer: replay_X FILE... Each input lies in a block
 * of its very size, so that a sanitizer sees each step beyond it. Every prefix of a small input is
 * an input too. */

#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>

#define PREFIXES_MAX 4096

static void run(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (!copy)
        abort();
    memcpy(copy, bytes, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static int replay(const char *path)
{
    static uint8_t bytes[1 << 20];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    const size_t n = fread(bytes, 1, sizeof bytes, f);
    const int bad = ferror(f) || !feof(f);
    fclose(f);
    if (bad) {
        fprintf(stderr, "%s: cannot be read, or over %zu bytes\n", path, sizeof bytes);
        return 1;
    }
    for (size_t k = 0; k < n && n <= PREFIXES_MAX; k++)
        run(bytes, k);
    run(bytes, n);
    return 0;
}

int main(int argc, char **argv)
{
    int bad = 0;
    for (int i = 1; i < argc; i++)
        bad |= replay(argv[i]);
    return bad;
}
