#include "model/http.h"

#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <curl/curl.h>

/* One transfer at a time on the caller's thread. What the server says is collected in struct
 * transfer by the header callback; the body callback decides on its first bytes whether they
 * continue the part (206), replace it (200) or are an error page (dropped). An error raised in a
 * callback is kept in `rc`, since curl itself only learns that it has to stop. */

#define GAIN ((uint64_t)1 << 20) /* that many new bytes make a failed attempt count as progress */
#define UNKNOWN UINT64_MAX
#define FILE_MAX ((uint64_t)1 << 42) /* 4 TiB: nobody's model, and a bound for endless answers */

struct transfer {
    CURL *curl;
    const char *url;
    const struct sn_http_cfg *cfg;
    struct sn_sink *sink;    /* or */
    struct sn_strbuf *body;
    uint64_t want_size;      /* 0: not known */
    const char *sent_etag;   /* of the version whose rest was asked for, or NULL */
    struct sn_diag *d;
    int rc;
    /* of the answer at hand; a redirect's are forgotten when the next one begins */
    char etag[256];
    uint64_t length, range_start, range_total; /* UNKNOWN when not said */
    bool begun;
    /* of any answer in the chain: the hub says these before it redirects to its storage */
    char linked[65];
    uint64_t linked_size;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode init_rc;
static void init_curl(void) { init_rc = curl_global_init(CURL_GLOBAL_DEFAULT); }

static uint64_t parse_u64(const char *s)
{
    char *end;
    errno = 0;
    if (!isdigit((unsigned char)*s))
        return UNKNOWN;
    const unsigned long long v = strtoull(s, &end, 10);
    return errno ? UNKNOWN : v;
}

/* "bytes 100-199/200", or of a 416: an asterisk in the place of 100-199. */
static void parse_range(struct transfer *t, const char *v)
{
    if (strncasecmp(v, "bytes ", 6) != 0)
        return;
    v += 6;
    const char *slash = strchr(v, '/');
    t->range_start = parse_u64(v);
    t->range_total = slash ? parse_u64(slash + 1) : UNKNOWN;
}

/* A SHA-256 in quotes, as large files have it; small files have a git id, which is of no use. */
static void parse_linked(struct transfer *t, const char *v)
{
    v += *v == '"';
    if (t->linked[0] || strspn(v, "0123456789abcdefABCDEF") != 64 || (v[64] != '"' && v[64] != '\0'))
        return;
    for (size_t i = 0; i < 64; i++)
        t->linked[i] = (char)tolower((unsigned char)v[i]);
    t->linked[64] = '\0';
}

static void take_header(struct transfer *t, const char *name, const char *value)
{
    if (strcasecmp(name, "etag") == 0 && strlen(value) < sizeof t->etag)
        memcpy(t->etag, value, strlen(value) + 1);
    else if (strcasecmp(name, "content-length") == 0)
        t->length = parse_u64(value);
    else if (strcasecmp(name, "content-range") == 0)
        parse_range(t, value);
    else if (strcasecmp(name, "x-linked-etag") == 0)
        parse_linked(t, value);
    else if (strcasecmp(name, "x-linked-size") == 0 && t->linked_size == 0)
        t->linked_size = parse_u64(value) == UNKNOWN ? 0 : parse_u64(value);
}

static size_t on_header(char *p, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    char line[1024];
    if (n >= 5 && strncasecmp(p, "HTTP/", 5) == 0) {
        t->etag[0] = '\0';
        t->length = t->range_start = t->range_total = UNKNOWN;
    }
    if (n >= sizeof line) /* none of those that are of interest */
        return n * size;
    memcpy(line, p, n);
    line[n] = '\0';
    char *colon = strchr(line, ':');
    if (colon) {
        char *value = colon + 1 + strspn(colon + 1, " \t");
        *colon = '\0';
        value[strcspn(value, "\r\n")] = '\0';
        take_header(t, line, value);
    }
    return n * size;
}

static long status_of(const struct transfer *t)
{
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* What identifies a version at a server: its strong ETag. A weak one is no promise of equal
 * bytes. */
static void make_note(const struct transfer *t, struct sn_strbuf *b)
{
    sn_strbuf_printf(b, "%s\n%s\n", t->url, strncmp(t->etag, "W/", 2) == 0 ? "" : t->etag);
}

/* The first bytes of a good answer are there. */
static int begin_file(struct transfer *t)
{
    struct sn_sink *s = t->sink;
    uint64_t total;
    int rc = 0;
    if (status_of(t) == 206) {
        total = t->range_total;
        if (t->range_start != s->n_bytes)
            return sn_fail(t->d, SN_ENET, "%s: asked for byte %" PRIu64 " on, the server sent from "
                           "%" PRIu64, t->url, s->n_bytes, t->range_start);
        if (t->sent_etag && t->etag[0] && strcmp(t->sent_etag, t->etag) != 0) {
            rc = sn_sink_reset(s, t->d); /* a server that does not know If-Range */
            return rc < 0 ? rc
                          : sn_fail(t->d, SN_ENET, "%s: has changed since the part was fetched; "
                                    "the part is dropped", t->url);
        }
    } else {
        total = t->length;
        rc = sn_sink_reset(s, t->d);
        if (rc < 0)
            return rc;
    }
    const uint64_t want = t->want_size ? t->want_size : t->linked_size;
    if (want && total != UNKNOWN && total != want)
        return sn_fail(t->d, SN_EHASH, "%s: has %" PRIu64 " bytes, should have %" PRIu64, t->url,
                       total, want);
    if (total != UNKNOWN && total > FILE_MAX)
        return sn_fail(t->d, SN_ELIMIT, "%s: has %" PRIu64 " bytes, over the limit of %" PRIu64,
                       t->url, total, FILE_MAX);
    if (total != UNKNOWN && total > s->n_bytes)
        rc = sn_sink_need(s, total - s->n_bytes, t->d);
    struct sn_strbuf note = {0};
    make_note(t, &note);
    if (rc == 0)
        rc = note.failed ? sn_fail(t->d, SN_ENOMEM, "%s: out of memory", t->url)
                         : sn_sink_note(s, note.data, t->d);
    sn_strbuf_fini(&note);
    return rc;
}

static int take_file(struct transfer *t, const char *p, size_t n)
{
    int rc = t->begun ? 0 : begin_file(t);
    t->begun = true;
    const uint64_t want = t->want_size ? t->want_size : t->linked_size;
    const uint64_t max = want ? want : FILE_MAX;
    if (rc == 0 && n > max - sn_min(max, t->sink->n_bytes))
        rc = sn_fail(t->d, SN_EHASH, "%s: sends more than %" PRIu64 " bytes", t->url, max);
    return rc < 0 ? rc : sn_sink_write(t->sink, p, n, t->d);
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    const long status = status_of(t);
    if (status != 200 && status != 206)
        return n * size;
    if (t->sink) {
        t->rc = take_file(t, p, n * size);
    } else {
        sn_strbuf_append(t->body, p, n * size);
        if (t->body->failed)
            t->rc = sn_fail(t->d, SN_ELIMIT, "%s: answer over the limit of %zu bytes", t->url,
                            t->body->max);
    }
    return t->rc < 0 ? 0 : n * size;
}

static int ask(const struct transfer *t, const char *stage)
{
    struct sn_pull_progress p = {.stage = stage};
    if (t->sink) {
        const uint64_t total = t->range_total != UNKNOWN ? t->range_total : t->length;
        p.done = t->sink->n_bytes;
        p.total = t->want_size ? t->want_size : t->linked_size;
        if (!p.total && t->begun && total != UNKNOWN)
            p.total = total;
    }
    return t->cfg->watch.fn ? t->cfg->watch.fn(t->cfg->watch.ctx, &p) : 0;
}

static int on_progress(void *ctx, curl_off_t dl_total, curl_off_t dl, curl_off_t ul_total,
                       curl_off_t ul)
{
    (void)dl_total, (void)dl, (void)ul_total, (void)ul;
    struct transfer *t = ctx;
    if (ask(t, "downloading") == 0)
        return 0;
    t->rc = sn_fail(t->d, SN_ECANCELLED, "%s: stopped on request", t->url);
    return 1;
}

static int set_options(struct transfer *t, char *errbuf, const struct curl_slist *headers)
{
    CURL *c = t->curl;
    const char *protocols = strncmp(t->url, "https:", 6) == 0 ? "https" : "http,https";
    const char *ca = getenv("SSL_CERT_FILE"); /* OpenSSL's own variable; curl would not look */
    CURLcode e = curl_easy_setopt(c, CURLOPT_URL, t->url);
#define SET(opt, value) (e = e == CURLE_OK ? curl_easy_setopt(c, opt, value) : e)
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_ERRORBUFFER, errbuf);
    SET(CURLOPT_USERAGENT, "sensorium");
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_FOLLOWLOCATION, 1L);
    SET(CURLOPT_MAXREDIRS, 10L);
    SET(CURLOPT_CONNECTTIMEOUT, 30L);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, (long)t->cfg->stall_s);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, t);
#if LIBCURL_VERSION_NUM >= 0x075500 /* 7.85 replaced the bit masks by names */
    SET(CURLOPT_PROTOCOLS_STR, protocols);
    SET(CURLOPT_REDIR_PROTOCOLS_STR, protocols);
#else
    const long mask = protocols[4] == 's' ? CURLPROTO_HTTPS : CURLPROTO_HTTP | CURLPROTO_HTTPS;
    SET(CURLOPT_PROTOCOLS, mask);
    SET(CURLOPT_REDIR_PROTOCOLS, mask);
#endif
    if (ca && *ca)
        SET(CURLOPT_CAINFO, ca);
#undef SET
    return e == CURLE_OK ? 0
                         : sn_fail(t->d, e == CURLE_OUT_OF_MEMORY ? SN_ENOMEM : SN_EINVAL,
                                   "%s: %s", t->url, curl_easy_strerror(e));
}

static int add_header(struct curl_slist **list, struct transfer *t, const char *name,
                      const char *value)
{
    struct sn_strbuf b = {0};
    sn_strbuf_printf(&b, "%s: %s", name, value);
    struct curl_slist *longer = b.failed ? NULL : curl_slist_append(*list, b.data);
    sn_strbuf_fini(&b);
    if (!longer)
        return sn_fail(t->d, SN_ENOMEM, "%s: out of memory", t->url);
    *list = longer;
    return 0;
}

/* The headers that ask for the rest of the part, if it may be continued; else empties it. The
 * note's buffer holds the ETag during the transfer. */
static int ask_for_rest(struct transfer *t, bool pinned, char *note, size_t size,
                        struct curl_slist **list)
{
    char range[40];
    const size_t n = strlen(t->url);
    t->sent_etag = NULL;
    if (t->sink->n_bytes == 0)
        return 0;
    int rc = sn_sink_read_note(t->sink, note, size, t->d);
    if (rc < 0)
        return rc;
    char *etag = note + strlen(note);
    if (strncmp(note, t->url, n) == 0 && note[n] == '\n') {
        etag = note + n + 1;
        etag[strcspn(etag, "\n")] = '\0';
    }
    if (!*etag && !pinned)
        return sn_sink_reset(t->sink, t->d);
    snprintf(range, sizeof range, "bytes=%" PRIu64 "-", t->sink->n_bytes);
    rc = add_header(list, t, "Range", range);
    if (rc < 0 || !*etag)
        return rc;
    t->sent_etag = etag;
    return add_header(list, t, "If-Range", etag);
}

enum verdict { DONE, AGAIN, GIVE_UP };

/* Sorts a failure; t->rc and the diag are set unless DONE. */
static enum verdict judge_status(struct transfer *t)
{
    const long status = status_of(t);
    if (status == 200 || status == 206) {
        if (t->sink && !t->begun) /* an empty body */
            t->rc = begin_file(t);
        return t->rc == 0 ? DONE : GIVE_UP;
    }
    if (status == 416 && t->sink && t->sink->n_bytes > 0) {
        if (t->range_total == t->sink->n_bytes)
            return DONE;
        t->rc = sn_sink_reset(t->sink, t->d);
        if (t->rc == 0)
            t->rc = sn_fail(t->d, SN_ENET, "%s: the server lacks the part asked for", t->url);
        return t->rc == -SN_ENET ? AGAIN : GIVE_UP;
    }
    const char *hint = status == 401 || status == 403 ? " (does it need a token? set HF_TOKEN)" : "";
    t->rc = sn_fail(t->d, status == 404 || status == 410 ? SN_ENOENT : SN_ENET,
                    "%s: the server answered %ld%s", t->url, status, hint);
    return status == 408 || status == 429 || status >= 500 ? AGAIN : GIVE_UP;
}

static enum verdict judge(struct transfer *t, CURLcode e, const char *errbuf)
{
    if (t->rc < 0)
        return GIVE_UP; /* raised in a callback */
    if (e == CURLE_OK)
        return judge_status(t);
    t->rc = sn_fail(t->d, e == CURLE_OUT_OF_MEMORY ? SN_ENOMEM : SN_ENET, "%s: %s", t->url,
                    *errbuf ? errbuf : curl_easy_strerror(e));
    switch (e) {
    case CURLE_COULDNT_RESOLVE_HOST: case CURLE_COULDNT_RESOLVE_PROXY: case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT: case CURLE_SEND_ERROR: case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE: case CURLE_GOT_NOTHING: case CURLE_HTTP2: case CURLE_HTTP2_STREAM:
    case CURLE_SSL_CONNECT_ERROR: case CURLE_WEIRD_SERVER_REPLY:
        return AGAIN;
    default:
        return GIVE_UP;
    }
}

static enum verdict attempt(struct transfer *t, bool pinned, long *retry_after)
{
    char errbuf[CURL_ERROR_SIZE] = "", note[8192];
    struct curl_slist *headers = NULL;
    struct sn_strbuf auth = {0};
    enum verdict v = GIVE_UP;
    t->rc = 0;
    t->begun = false;
    t->linked[0] = '\0';
    t->linked_size = 0;
    t->length = t->range_start = t->range_total = UNKNOWN;
    t->curl = curl_easy_init();
    if (!t->curl)
        t->rc = sn_fail(t->d, SN_ENOMEM, "%s: out of memory", t->url);
    if (t->rc == 0 && t->sink)
        t->rc = ask_for_rest(t, pinned, note, sizeof note, &headers);
    if (t->rc == 0 && t->cfg->bearer) {
        sn_strbuf_printf(&auth, "Bearer %s", t->cfg->bearer);
        t->rc = auth.failed ? sn_fail(t->d, SN_ENOMEM, "%s: out of memory", t->url)
                            : add_header(&headers, t, "Authorization", auth.data);
    }
    if (t->rc == 0)
        t->rc = set_options(t, errbuf, headers);
    if (t->rc == 0) {
        const CURLcode e = curl_easy_perform(t->curl);
        curl_off_t after = 0;
        curl_easy_getinfo(t->curl, CURLINFO_RETRY_AFTER, &after);
        *retry_after = (long)(after > 60 ? 60 : after);
        v = judge(t, e, errbuf);
    }
    curl_easy_cleanup(t->curl);
    curl_slist_free_all(headers);
    sn_strbuf_fini(&auth);
    return v;
}

static int pause_ms(struct transfer *t, uint64_t ms)
{
    for (; ms > 0; ms -= sn_min(ms, 100)) {
        if (ask(t, "waiting") != 0)
            return sn_fail(t->d, SN_ECANCELLED, "%s: stopped on request", t->url);
        nanosleep(&(struct timespec){.tv_nsec = (long)sn_min(ms, 100) * 1000000}, NULL);
    }
    return 0;
}

static int run(struct transfer *t, bool pinned)
{
    pthread_once(&once, init_curl);
    if (init_rc != CURLE_OK)
        return sn_fail(t->d, SN_ENOMEM, "%s: curl cannot start: %s", t->url,
                       curl_easy_strerror(init_rc));
    for (unsigned failed = 0;;) {
        const uint64_t before = t->sink ? t->sink->n_bytes : 0;
        long retry_after = 0;
        const enum verdict v = attempt(t, pinned, &retry_after);
        if (v != AGAIN)
            return t->rc;
        if (t->sink && t->sink->n_bytes >= before + GAIN)
            failed = 0;
        if (failed == t->cfg->retries)
            return failed == 0 ? t->rc : sn_diag_prefix(t->d, t->rc, "after %u tries", failed + 1);
        uint64_t ms = (uint64_t)t->cfg->backoff_ms << sn_min(failed, 10);
        ms = sn_max(sn_min(ms, 30000), (uint64_t)retry_after * 1000);
        failed++;
        const int rc = pause_ms(t, ms);
        if (rc < 0)
            return rc;
        if (t->body)
            sn_strbuf_clear(t->body);
    }
}

int sn_http_get(const char *url, const struct sn_http_cfg *cfg, size_t max_bytes,
                struct sn_strbuf *body, struct sn_diag *d)
{
    struct transfer t = {.url = url, .cfg = cfg, .body = body, .d = d};
    body->max = max_bytes;
    return run(&t, false);
}

int sn_http_fetch(const char *url, const struct sn_http_cfg *cfg, uint64_t size, bool pinned,
                  struct sn_sink *sink, char linked[65], struct sn_diag *d)
{
    struct transfer t = {.url = url, .cfg = cfg, .sink = sink, .want_size = size, .d = d};
    const int rc = run(&t, pinned);
    memcpy(linked, t.linked, sizeof t.linked);
    if (rc < 0)
        return rc;
    const uint64_t want = size ? size : t.linked_size;
    return !want || sink->n_bytes == want
               ? 0
               : sn_fail(d, SN_EHASH, "%s: has %" PRIu64 " bytes, should have %" PRIu64, url,
                         sink->n_bytes, want);
}

void sn_http_escape_path(struct sn_strbuf *b, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (isalnum(*p) || strchr("/-._~", *p))
            sn_strbuf_putc(b, (char)*p);
        else
            sn_strbuf_printf(b, "%%%02X", *p);
    }
}
