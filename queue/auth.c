/* libzmq asks over inproc://zeromq.zap.01 whether a key may connect; the answer is in the folder of
 * certificates. What a connection gets as its User-Id is the key itself: tenant and role are looked up with
 * each request, in a table that sn_auth_reload() empties, so that a key that was withdrawn, or has another
 * role now, is so for the connections there are. While nobody answers ZAP libzmq lets all keys in, without a
 * User-Id; requests of such a connection are refused too.
 *
 * CZMQ's zauth would do the first half; but it gives a name of the metadata as User-Id, runs a thread of its
 * own, and cannot say which role a key has. */
#include "config.h"
#include "queue/auth.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <czmq.h>

#include "base/mem.h"
#include "queue/keys.h"
#include "queue/table.h"

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"
enum { ZAP_FRAMES = 7, ZAP_FRAME_MAX = 256, KEY_BYTES = 32, KNOWN_MAX = 65536 };

struct known {
    struct sn_link link;
    char key[SN_KEY_TEXT];
    struct sn_identity identity;
};
struct sn_auth {
    void *zap;
    zcertstore_t *store;
    struct sn_keys own;
    struct sn_table known;
    uint64_t seed;
};

static const char *const roles[] = {"read", "submit", "admin"};

const char *sn_role_name(enum sn_role r)
{
    return roles[r];
}

static bool is_name(const char *s)
{
    const size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return n > 0 && n <= SN_TENANT_MAX && s[n] == '\0';
}

static bool parse_role(const char *text, enum sn_role *out)
{
    *out = SN_ROLE_SUBMIT;
    if (!text || !text[0])
        return true;
    for (size_t i = 0; i < SN_COUNT(roles); i++)
        if (strcmp(text, roles[i]) == 0) {
            *out = (enum sn_role)i;
            return true;
        }
    return false;
}

/* In the folder, which is read again when it has changed. */
static bool look_up(struct sn_auth *a, const char *key, struct sn_identity *out)
{
    zcert_t *cert = zcertstore_lookup(a->store, key);
    const char *name = cert ? zcert_meta(cert, "name") : NULL;
    if (!name || !is_name(name) || !parse_role(zcert_meta(cert, "role"), &out->role))
        return false;
    memcpy(out->tenant, name, strlen(name) + 1);
    return true;
}

static struct known *find_known(const struct sn_auth *a, const char *key, uint64_t hash)
{
    for (struct sn_link *l = sn_table_first(&a->known, hash); l; l = sn_table_next(l)) {
        struct known *k = SN_CONTAINER(l, struct known, link);
        if (strcmp(k->key, key) == 0)
            return k;
    }
    return NULL;
}

static void remember(struct sn_auth *a, const char *key, uint64_t hash, const struct sn_identity *identity)
{
    struct known *k = a->known.n < KNOWN_MAX ? sn_calloc(1, sizeof *k) : NULL;
    if (!k)
        return;
    memcpy(k->key, key, strlen(key) + 1);
    k->identity = *identity;
    sn_table_add(&a->known, &k->link, hash);
}

bool sn_auth_find(struct sn_auth *a, const char *key, struct sn_identity *out)
{
    if (strlen(key) != SN_KEY_TEXT - 1)
        return false;
    const uint64_t hash = sn_hash_text(a->seed, key);
    const struct known *k = find_known(a, key, hash);
    if (k) {
        *out = k->identity;
        return true;
    }
    if (!look_up(a, key, out))
        return false;
    remember(a, key, hash, out);
    return true;
}

void sn_auth_reload(struct sn_auth *a)
{
    for (size_t i = 0; i < a->known.n_slots; i++)
        while (a->known.slots[i]) {
            struct known *k = SN_CONTAINER(a->known.slots[i], struct known, link);
            sn_table_remove(&a->known, &k->link);
            sn_free(k);
        }
}

/* --- ZAP --- */

struct zap_frame {
    uint8_t bytes[ZAP_FRAME_MAX];
    size_t n;
};

/* All frames of a request; what is too long or too many is cut. False: there is no request. */
static bool receive_zap(void *socket, struct zap_frame f[ZAP_FRAMES], size_t *n_frames)
{
    int more = 1;
    size_t size = sizeof more;
    for (*n_frames = 0; more; ++*n_frames) {
        struct zap_frame rest, *to = *n_frames < ZAP_FRAMES ? &f[*n_frames] : &rest;
        const int n = zmq_recv(socket, to->bytes, sizeof to->bytes, ZMQ_DONTWAIT);
        if (n < 0 || zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) != 0)
            return false;
        to->n = sn_min((size_t)n, sizeof to->bytes);
    }
    return true;
}

static bool frame_is(const struct zap_frame *f, const char *text)
{
    return f->n == strlen(text) && memcmp(f->bytes, text, f->n) == 0;
}

static bool allows(struct sn_auth *a, const struct zap_frame f[ZAP_FRAMES], size_t n, char key[SN_KEY_TEXT])
{
    enum { AT_VERSION = 0, AT_MECHANISM = 5, AT_KEY = 6 };
    struct sn_identity who;
    key[0] = '\0';
    if (n != ZAP_FRAMES || !frame_is(&f[AT_VERSION], "1.0") || !frame_is(&f[AT_MECHANISM], "CURVE") ||
        f[AT_KEY].n != KEY_BYTES || !zmq_z85_encode(key, f[AT_KEY].bytes, KEY_BYTES))
        return false;
    return look_up(a, key, &who);
}

static void answer_zap(struct sn_auth *a, const struct zap_frame *id, bool allowed, const char *key)
{
    const char *const yes[] = {"200", "OK", key}, *const no[] = {"400", "the key is not known", ""};
    if (zmq_send(a->zap, "1.0", 3, ZMQ_SNDMORE) < 0 || zmq_send(a->zap, id->bytes, id->n, ZMQ_SNDMORE) < 0)
        return; /* whoever asked is gone */
    for (size_t i = 0; i < SN_COUNT(yes); i++) {
        const char *text = allowed ? yes[i] : no[i];
        zmq_send(a->zap, text, strlen(text), ZMQ_SNDMORE);
    }
    zmq_send(a->zap, "", 0, 0); /* metadata */
}

void sn_auth_turn(struct sn_auth *a)
{
    static const struct zap_frame none;
    struct zap_frame f[ZAP_FRAMES];
    char key[SN_KEY_TEXT];
    size_t n;
    while (receive_zap(a->zap, f, &n)) {
        const bool allowed = allows(a, f, n, key);
        answer_zap(a, n > 1 ? &f[1] : &none, allowed, key);
    }
}

void *sn_auth_socket(const struct sn_auth *a)
{
    return a->zap;
}

/* --- start and end --- */

static int check_folder(const char *clients, struct sn_diag *d)
{
    struct stat st;
    if (!clients)
        return sn_fail(d, SN_EINVAL, "there is a certificate, but no folder with those of clients");
    if (stat(clients, &st) != 0)
        return sn_fail(d, SN_ENOENT, "%s: the folder of client certificates: %s", clients, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return sn_fail(d, SN_EINVAL, "%s: no folder; it should have the certificates of clients", clients);
    if (st.st_mode & S_IWOTH)
        return sn_fail(d, SN_EINVAL, "%s: anybody may put client certificates there; chmod o-w it", clients);
    return 0;
}

static int open_zap(struct sn_auth *a, void *context, struct sn_diag *d)
{
    const int no_linger = 0;
    a->zap = zmq_socket(context, ZMQ_REP);
    if (!a->zap || zmq_setsockopt(a->zap, ZMQ_LINGER, &no_linger, sizeof no_linger) != 0 ||
        zmq_bind(a->zap, ZAP_ENDPOINT) != 0)
        return sn_fail(d, SN_EIO, "%s: %s", ZAP_ENDPOINT, zmq_strerror(zmq_errno()));
    return 0;
}

int sn_auth_new(void *context, const char *certificate, const char *clients, struct sn_auth **out,
                struct sn_diag *d)
{
    int rc = check_folder(clients, d);
    struct sn_auth *a = rc == 0 ? sn_calloc(1, sizeof *a) : NULL;
    if (rc == 0 && (!a || !sn_table_init(&a->known)))
        rc = sn_fail(d, SN_ENOMEM, "authentication");
    if (rc == 0)
        rc = sn_keys_load(certificate, true, &a->own, d);
    if (rc == 0)
        rc = open_zap(a, context, d);
    if (rc < 0) {
        sn_auth_free(&a);
        return rc;
    }
    a->store = zcertstore_new(clients);
    a->seed = (uint64_t)(uintptr_t)a;
    *out = a;
    return 0;
}

void sn_auth_free(struct sn_auth **ap)
{
    struct sn_auth *a = *ap;
    if (!a)
        return;
    sn_auth_reload(a);
    sn_table_fini(&a->known);
    zcertstore_destroy(&a->store);
    if (a->zap)
        zmq_close(a->zap);
    sn_keys_fini(&a->own);
    sn_free(a);
    *ap = NULL;
}

int sn_auth_secure(const struct sn_auth *a, void *socket, struct sn_diag *d)
{
    static const char domain[] = "sensorium";
    const int on = 1;
    if (zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &on, sizeof on) != 0 ||
        zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, a->own.secret_key, SN_KEY_TEXT) != 0 ||
        zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, domain, strlen(domain)) != 0)
        return sn_fail(d, SN_EUNSUPPORTED, "CURVE: %s", zmq_strerror(zmq_errno()));
    return 0;
}
