/* Uses the public interface to sensoriumd as a program with an event loop would, and says what it saw;
 * tests/lib/client.py runs it.
 *
 *   client_tool async N TAG    N jobs under way at once, their events taken when poll() says so
 * client_tool ask            everything that asks and waits */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sensorium.h>

static char error[SENSORIUM_ERROR_MAX];

static int fail(const char *what)
{
    printf("FAIL %s: %s\n", what, error);
    return 1;
}

static sensorium_client *open_client(void)
{
    const struct sensorium_client_options o = {.size = sizeof o, .timeout_ms = 3000, .busy_ms = 5000};
    return sensorium_client_open(&o, error);
}

/* --- async --- */

struct counts {
    int started, accepted, ended, lost, refused;
    size_t n_text;
};

static void count(struct counts *n, const sensorium_reply *r)
{
    switch (sensorium_reply_kind(r)) {
    case SENSORIUM_ACCEPTED: n->accepted++; break;
    case SENSORIUM_TEXT: n->n_text += strlen(sensorium_reply_text(r)); break;
    case SENSORIUM_END: n->ended++; break;
    case SENSORIUM_LOST: n->lost++; break;
    case SENSORIUM_REJECTED:
    case SENSORIUM_REFUSED: n->refused++; break;
    default: break;
    }
}

/* As many as can be sent just now. */
static int start_some(sensorium_client *c, const char *tag, int all, struct counts *n)
{
    while (n->started < all) {
        char prompt[32];
        uint64_t request;
        snprintf(prompt, sizeof prompt, "job %d", n->started);
        const struct sensorium_job job = {.size = sizeof job, .prompt = prompt, .tag = tag, .watch = 1};
        const int rc = sensorium_client_start(c, &job, &request, error);
        if (rc == SENSORIUM_BUSY)
            return 0;
        if (rc < 0)
            return fail("start");
        n->started++;
    }
    return 0;
}

static int run_async(sensorium_client *c, int all, const char *tag)
{
    struct counts n = {0};
    while (n.ended + n.lost + n.refused < all) {
        sensorium_reply *r = NULL;
        if (start_some(c, tag, all, &n))
            return 1;
        int rc;
        while ((rc = sensorium_client_next(c, 0, &r, error)) == 1) {
            count(&n, r);
            sensorium_reply_free(r);
        }
        if (rc < 0)
            return fail("next");
        struct pollfd p = {.fd = sensorium_client_fd(c), .events = POLLIN};
        if (n.ended + n.lost + n.refused < all && poll(&p, 1, 10000) == 0)
            return fail("nothing in ten seconds");
    }
    printf("accepted %d ended %d lost %d refused %d text %zu\n", n.accepted, n.ended, n.lost, n.refused,
           n.n_text);
    return 0;
}

/* --- asking --- */

static int stop_at_text(void *context, const sensorium_reply *event)
{
    return sensorium_reply_kind(event) == SENSORIUM_TEXT ? *(int *)context : 0;
}

static int run_ask(sensorium_client *c)
{
    const struct sensorium_medium media[] = {
        {.size = sizeof *media, .kind = SENSORIUM_IMAGE, .bytes = "12345", .n_bytes = 5, .name = "five"},
        {.size = sizeof *media, .kind = SENSORIUM_AUDIO, .bytes = "", .n_bytes = 0},
    };
    struct sensorium_job job = {.size = sizeof job, .prompt = "one", .media = media, .n_media = 2,
                                .max_tokens = 9,
                                .temperature = 0.5f, .priority = 2, .deadline_ms = 60000,
                                .json = "{\"options\":{\"seed\":7},\"retries\":0}"};
    char id[SENSORIUM_JOB_ID_MAX];
    sensorium_reply *r = NULL;
    int enough = 7;
    if (sensorium_client_estimate(c, &job, &r, error) < 0)
        return fail("estimate");
    printf("estimate %s\n", sensorium_reply_json(r));
    sensorium_reply_free(r);
    if (sensorium_client_submit(c, &job, id, error) < 0)
        return fail("submit");
    if (sensorium_client_wait(c, id, -1, &r, error) != 1)
        return fail("wait");
    printf("result %s: %s\n", sensorium_reply_state(r), sensorium_reply_text(r));
    sensorium_reply_free(r);
    job = (struct sensorium_job){.size = sizeof job, .prompt = "two", .tag = "hang"};
    if (sensorium_client_submit(c, &job, id, error) < 0)
        return fail("submit");
    printf("watch %d\n", sensorium_client_watch(c, id, stop_at_text, &enough, error));
    printf("wait %d ", sensorium_client_wait(c, id, 50, &r, error));
    puts(sensorium_reply_state(r));
    sensorium_reply_free(r);
    if (sensorium_client_cancel(c, id, NULL, error) < 0 || sensorium_client_status(c, id, &r, error) < 0)
        return fail("cancel");
    printf("status %s\n", sensorium_reply_state(r));
    sensorium_reply_free(r);
    if (sensorium_client_wait(c, id, -1, &r, error) != 1)
        return fail("wait");
    printf("error %s: %s\n", sensorium_reply_code(r), sensorium_reply_error(r));
    sensorium_reply_free(r);
    printf("none %d %s\n", sensorium_client_status(c, "9-none", &r, error), error);
    printf("verb %d %s\n", sensorium_client_ask(c, "DANCE", NULL, NULL, error), error);
    printf("json %d\n", sensorium_client_ask(c, "PING", "[]", NULL, error));
    job = (struct sensorium_job){.size = sizeof job, .prompt = "three", .tag = "full"};
    const struct sensorium_medium wrong = {.size = sizeof wrong};
    job.media = &wrong;
    job.n_media = 1;
    printf("medium %d %s\n", sensorium_client_submit(c, &job, id, error), error);
    printf("nothing %d\n", sensorium_client_next(c, 0, &r, error));
    return 0;
}

int main(int argc, char **argv)
{
    sensorium_client *c = open_client();
    int rc = 2;
    if (!c)
        rc = fail("open");
    else if (argc == 4 && strcmp(argv[1], "async") == 0)
        rc = run_async(c, (int)strtol(argv[2], NULL, 10), argv[3]);
    else if (argc == 2 && strcmp(argv[1], "ask") == 0)
        rc = run_ask(c);
    sensorium_client_close(c);
    return rc;
}
