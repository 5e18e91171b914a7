/* Endpoints. Of ipc:// and loopback, whoever can connect is `local`: the socket file is its owner's alone,
 * and so is a folder that is made for it. All else demands CURVE, and so does loopback once there is a
 * certificate. */
#include "config.h"
#include "queue/front_impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

enum { ENDPOINT_MAX = 256, MESSAGE_MAX = 256 << 20 };
#define IPC "ipc://"
#define TCP "tcp://"

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static int set(void *socket, int option, int value, struct sn_diag *d)
{
    if (zmq_setsockopt(socket, option, &value, sizeof value) == 0)
        return 0;
    return sn_fail(d, SN_EUNSUPPORTED, "libzmq: option %d: %s", option, zmq_strerror(zmq_errno()));
}

static int open_socket(struct sn_front *f, unsigned which, struct sn_diag *d)
{
    static const struct {
        int option, value;
    } options[] = {
        {ZMQ_ROUTER_MANDATORY, 1},
        {ZMQ_LINGER, 1000},               /* ms; what was said before the end still arrives */
        {ZMQ_SNDHWM, 512}, {ZMQ_RCVHWM, 128}, /* messages of one client */
        {ZMQ_HEARTBEAT_IVL, 10000}, {ZMQ_HEARTBEAT_TIMEOUT, 30000}, {ZMQ_HEARTBEAT_TTL, 30000},
        {ZMQ_HANDSHAKE_IVL, 10000},
        {ZMQ_BACKLOG, 1024},
    };
    if (f->sockets[which])
        return 0;
    void *s = zmq_socket(f->context, ZMQ_ROUTER);
    if (!s)
        return sn_fail(d, SN_EIO, "libzmq: a socket: %s", zmq_strerror(zmq_errno()));
    f->sockets[which] = s;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < SN_COUNT(options); i++)
        rc = set(s, options[i].option, options[i].value, d);
    const int64_t most = (int64_t)(f->limits.message_bytes ? f->limits.message_bytes : MESSAGE_MAX);
    if (rc == 0 && zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &most, sizeof most) != 0)
        rc = sn_fail(d, SN_EINVAL, "messages of %lld bytes", (long long)most);
    if (rc == 0 && which == FRONT_SECURED)
        rc = sn_auth_secure(f->auth, s, d);
    return rc < 0 ? rc : front_peers_open(f, which, d);
}

static int bind_to(struct sn_front *f, unsigned which, const char *endpoint, size_t i, struct sn_diag *d)
{
    char bound[ENDPOINT_MAX];
    size_t size = sizeof bound;
    if (zmq_bind(f->sockets[which], endpoint) != 0)
        return sn_fail(d, zmq_errno() == EADDRINUSE ? SN_EFULL : SN_EIO, "%s: %s", endpoint,
                       zmq_errno() == EADDRINUSE ? "in use: another program listens there"
                                                 : zmq_strerror(zmq_errno()));
    if (zmq_getsockopt(f->sockets[which], ZMQ_LAST_ENDPOINT, bound, &size) != 0)
        return sn_fail(d, SN_EIO, "%s: %s", endpoint, zmq_strerror(zmq_errno()));
    f->endpoints[i] = sn_strdup(bound);
    return f->endpoints[i] ? 0 : sn_fail(d, SN_ENOMEM, "%s", endpoint);
}

/* --- ipc --- */

/* A socket file that a dead daemon left may go, one that somebody listens on may not. */
static int clear_path(const char *path, struct sn_diag *d)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : sn_fail(d, SN_EIO, IPC "%s: %s", path, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return sn_fail(d, SN_EINVAL, IPC "%s: there is a file that is no socket", path);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return sn_fail(d, SN_EIO, IPC "%s: %s", path, strerror(errno));
    const bool dead = connect(fd, (struct sockaddr *)&address, sizeof address) != 0 && errno == ECONNREFUSED;
    close(fd);
    if (!dead)
        return sn_fail(d, SN_EFULL, IPC "%s: in use: another daemon listens there", path);
    if (unlink(path) != 0)
        return sn_fail(d, SN_EIO, IPC "%s: %s", path, strerror(errno));
    return 0;
}

/* A folder that a socket of mode `ipc_mode` is found through. */
static int make_folder(const char *path, unsigned ipc_mode, struct sn_diag *d)
{
    const char *slash = strrchr(path, '/');
    char *folder = sn_strndup(path, (size_t)(slash - path));
    if (!folder)
        return sn_fail(d, SN_ENOMEM, IPC "%s", path);
    int rc = 0;
    if (folder[0] && access(folder, F_OK) != 0) {
        const mode_t old = umask(077 & ~(ipc_mode & 060 ? 010u : 0) & ~(ipc_mode & 06 ? 01u : 0));
        rc = sn_mkdirs(folder, d);
        umask(old);
    }
    sn_free(folder);
    return rc;
}

static int bind_ipc(struct sn_front *f, const char *endpoint, unsigned mode, size_t i, struct sn_diag *d)
{
    const char *path = endpoint + strlen(IPC);
    if (path[0] != '/')
        return sn_fail(d, SN_EINVAL, "%s: the path must be absolute", endpoint);
    if (strlen(path) >= sizeof ((struct sockaddr_un *)0)->sun_path)
        return sn_fail(d, SN_EINVAL, "%s: the path has %zu bytes; a socket's may have %zu", endpoint,
                       strlen(path),
                       sizeof ((struct sockaddr_un *)0)->sun_path - 1);
    int rc = make_folder(path, mode, d);
    if (rc == 0)
        rc = clear_path(path, d);
    if (rc == 0)
        rc = open_socket(f, FRONT_LOCAL, d);
    if (rc < 0)
        return rc;
    const mode_t old = umask(0777 & ~mode); /* from the first moment on */
    rc = bind_to(f, FRONT_LOCAL, endpoint, i, d);
    umask(old);
    if (rc == 0) {
        f->ipc_paths[i] = sn_strdup(path);
        rc = f->ipc_paths[i] ? 0 : sn_fail(d, SN_ENOMEM, "%s", endpoint);
    }
    return rc;
}

/* --- tcp --- */

/* "[::1]:5577" or "127.0.0.1:*". */
static bool is_loopback(const char *address)
{
    char host[INET6_ADDRSTRLEN + 2];
    struct in_addr four;
    struct in6_addr six;
    const char *colon = strrchr(address, ':');
    const size_t n = colon ? (size_t)(colon - address) : 0;
    if (n == 0 || n >= sizeof host)
        return false;
    memcpy(host, address, n);
    host[n] = '\0';
    if (host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        return inet_pton(AF_INET6, host + 1, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
    }
    return inet_pton(AF_INET, host, &four) == 1 && ntohl(four.s_addr) >> 24 == 127;
}

static int bind_tcp(struct sn_front *f, const char *endpoint, size_t i, struct sn_diag *d)
{
    const bool loopback = is_loopback(endpoint + strlen(TCP));
    if (!loopback && !f->auth)
        return sn_fail(d, SN_EINVAL,
                       "%s: beyond 127.0.0.1 and [::1] clients must have keys: configure a certificate and a "
                       "folder of client certificates (sensorium keygen makes them)", endpoint);
    const unsigned which = f->auth ? FRONT_SECURED : FRONT_LOCAL;
    int rc = open_socket(f, which, d);
    if (rc == 0)
        rc = set(f->sockets[which], ZMQ_IPV6, endpoint[strlen(TCP)] == '[', d);
    return rc < 0 ? rc : bind_to(f, which, endpoint, i, d);
}

int front_bind(struct sn_front *f, const struct sn_front_cfg *cfg, struct sn_diag *d)
{
    if (cfg->n_endpoints == 0)
        return sn_fail(d, SN_EINVAL, "no endpoint to listen on");
    f->endpoints = sn_calloc(cfg->n_endpoints, sizeof *f->endpoints);
    f->ipc_paths = sn_calloc(cfg->n_endpoints, sizeof *f->ipc_paths);
    if (!f->endpoints || !f->ipc_paths)
        return sn_fail(d, SN_ENOMEM, "%zu endpoints", cfg->n_endpoints);
    int rc = 0;
    for (; rc == 0 && f->n_endpoints < cfg->n_endpoints; f->n_endpoints++) {
        const char *endpoint = cfg->endpoints[f->n_endpoints];
        if (begins(endpoint, IPC))
            rc = bind_ipc(f, endpoint, cfg->ipc_mode ? cfg->ipc_mode : 0600, f->n_endpoints, d);
        else if (begins(endpoint, TCP))
            rc = bind_tcp(f, endpoint, f->n_endpoints, d);
        else
            rc = sn_fail(d, SN_EINVAL, "%s: an endpoint begins with " IPC " or " TCP, endpoint);
    }
    return rc;
}

void front_unbind(struct sn_front *f)
{
    for (unsigned i = 0; i < FRONT_SOCKETS; i++) {
        front_peers_close(f, i);
        if (f->sockets[i])
            zmq_close(f->sockets[i]);
    }
    for (size_t i = 0; i < f->n_endpoints; i++) {
        if (f->ipc_paths[i])
            unlink(f->ipc_paths[i]);
        sn_free(f->ipc_paths[i]);
        sn_free(f->endpoints[i]);
    }
    sn_free(f->ipc_paths);
    sn_free(f->endpoints);
}
