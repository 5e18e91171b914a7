/* Gives sensoriumd a job, prints its text as it is made, and says how it ended.
 *
 *     cc submit.c $(pkg-config --cflags --libs sensorium) -o submit
 *     ./submit 'What is this?' photo.jpg */
#include <stdio.h>

#include <sensorium.h>

static int print(void *context, const sensorium_reply *event)
{
    (void)context;
    if (sensorium_reply_kind(event) == SENSORIUM_TEXT)
        fputs(sensorium_reply_text(event), stdout);
    if (sensorium_reply_kind(event) == SENSORIUM_END)
        printf("\n%s %s %s\n", sensorium_reply_job(event), sensorium_reply_state(event),
               sensorium_reply_error(event));
    return fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: submit PROMPT [PICTURE]\n");
        return 2;
    }
    char error[SENSORIUM_ERROR_MAX], id[SENSORIUM_JOB_ID_MAX];
    struct sensorium_client_options options = {.size = sizeof options, .timeout_ms = 5000};
    struct sensorium_medium picture = {.size = sizeof picture, .kind = SENSORIUM_IMAGE, .file = argv[2]};
    struct sensorium_job job = {.size = sizeof job, .prompt = argv[1], .tag = "sample", .media = &picture,
                                .n_media = argc == 3};
    sensorium_client *client = sensorium_client_open(&options, error);
    int rc = client ? sensorium_client_submit(client, &job, id, error) : SENSORIUM_NETWORK;
    if (rc == 0)
        rc = sensorium_client_watch(client, id, print, NULL, error);
    if (rc < 0)
        fprintf(stderr, "submit: %s\n", error);
    sensorium_client_close(client);
    return rc < 0;
}
