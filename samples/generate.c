/* Answers a prompt with libsensorium and prints the answer as it is made.
 *
 *     cc generate.c $(pkg-config --cflags --libs sensorium) -o generate
 *     ./generate model.gguf 'Why is the sky blue?' */
#include <stdio.h>

#include <sensorium.h>

static int print(void *context, const char *text, size_t n)
{
    (void)context;
    fwrite(text, 1, n, stdout);
    return fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: generate MODEL PROMPT\n");
        return 2;
    }
    char error[SENSORIUM_ERROR_MAX];
    struct sensorium_generate_options options = {.size = sizeof options, .max_tokens = 64};
    sensorium_model *model = sensorium_open(argv[1], NULL, error);
    long n = -1;
    if (model)
        n = sensorium_generate(model, argv[2], &options, print, NULL, error);
    if (n < 0)
        fprintf(stderr, "generate: %s\n", error);
    else
        printf("\n(%ld tokens)\n", n);
    sensorium_close(model);
    return n < 0;
}
