#include "config.h"
#include "daemon/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"

enum { SILENCE_S = 10, CONNECTIONS_MAX = 32, TIMEOUT_S = 10 };

struct daemon_http {
    struct MHD_Daemon *mhd;
    pthread_mutex_t lock;
    /* below: only with lock held */
    struct sn_strbuf metrics;
    bool ready;
    double set_s;
};

static enum MHD_Result respond(struct MHD_Connection *c, unsigned status, const char *type, const char *text,
                               size_t n)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(n, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (!r)
        return MHD_NO;
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    const enum MHD_Result result = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return result;
}

static enum MHD_Result say(struct MHD_Connection *c, unsigned status, const char *text)
{
    return respond(c, status, "text/plain; charset=utf-8", text, strlen(text));
}

static enum MHD_Result answer(struct daemon_http *h, struct MHD_Connection *c, const char *url)
{
    const bool healthy = sn_clock_s() - h->set_s < SILENCE_S;
    if (strcmp(url, "/metrics") == 0)
        return respond(c, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8",
                       h->metrics.data ? h->metrics.data : "", h->metrics.len);
    if (strcmp(url, "/healthz") == 0)
        return healthy ? say(c, MHD_HTTP_OK, "ok\n") : say(c, MHD_HTTP_SERVICE_UNAVAILABLE, "the queue is stuck\n");
    if (strcmp(url, "/readyz") == 0)
        return healthy && h->ready ? say(c, MHD_HTTP_OK, "ready\n")
                                   : say(c, MHD_HTTP_SERVICE_UNAVAILABLE, "not ready\n");
    return say(c, MHD_HTTP_NOT_FOUND, "there are /metrics, /healthz and /readyz\n");
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url, const char *method,
                                  const char *version, const char *data, size_t *n_data, void **state)
{
    struct daemon_http *h = ctx;
    (void)version, (void)data, (void)state;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        *n_data = 0;
        return say(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET alone\n");
    }
    pthread_mutex_lock(&h->lock);
    const enum MHD_Result result = answer(h, c, url);
    pthread_mutex_unlock(&h->lock);
    return result;
}

/* "[::1]:9464" into its halves. */
static int split(const char *address, char *host, size_t n_host, const char **port, struct sn_diag *d)
{
    const char *colon = strrchr(address, ':');
    const size_t n = colon ? (size_t)(colon - address) : 0;
    const bool brackets = n > 2 && address[0] == '[' && address[n - 1] == ']';
    if (n == 0 || n >= n_host || !colon[1])
        return sn_fail(d, SN_EINVAL, "http: '%s' is not HOST:PORT", address);
    snprintf(host, n_host, "%.*s", (int)(brackets ? n - 2 : n), address + brackets);
    *port = colon + 1;
    return 0;
}

static int start(struct daemon_http *h, const char *address, struct sn_diag *d)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char host[128];
    const char *port;
    int rc = split(address, host, sizeof host, &port, d);
    if (rc < 0)
        return rc;
    const int error = getaddrinfo(host, port, &hints, &list);
    if (error)
        return sn_fail(d, SN_EINVAL, "http: '%s': %s", address, gai_strerror(error));
    const unsigned v6 = list->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0;
    errno = 0;
    h->mhd = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO | v6, 0, NULL, NULL, on_request, h,
                              MHD_OPTION_SOCK_ADDR, list->ai_addr, MHD_OPTION_CONNECTION_LIMIT,
                              (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
                              MHD_OPTION_END);
    if (!h->mhd)
        rc = sn_fail(d, SN_EIO, "http: %s: %s", address, errno ? strerror(errno) : "cannot listen there");
    freeaddrinfo(list);
    return rc;
}

int daemon_http_new(const char *address, struct daemon_http **out, struct sn_diag *d)
{
    struct daemon_http *h = sn_calloc(1, sizeof *h);
    if (!h)
        return sn_fail(d, SN_ENOMEM, "http");
    pthread_mutex_init(&h->lock, NULL);
    h->set_s = sn_clock_s();
    const int rc = start(h, address, d);
    if (rc < 0)
        daemon_http_free(&h);
    else
        *out = h;
    return rc;
}

void daemon_http_free(struct daemon_http **hp)
{
    struct daemon_http *h = *hp;
    if (!h)
        return;
    if (h->mhd)
        MHD_stop_daemon(h->mhd);
    pthread_mutex_destroy(&h->lock);
    sn_strbuf_fini(&h->metrics);
    sn_free(h);
    *hp = NULL;
}

unsigned daemon_http_port(const struct daemon_http *h)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

void daemon_http_set(struct daemon_http *h, const char *metrics, size_t n, bool ready)
{
    pthread_mutex_lock(&h->lock);
    sn_strbuf_clear(&h->metrics);
    sn_strbuf_append(&h->metrics, metrics, n);
    h->ready = ready;
    h->set_s = sn_clock_s();
    pthread_mutex_unlock(&h->lock);
}
