#include "base/hash.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

struct sn_sha256 {
    EVP_MD_CTX *ctx;
};

int sn_sha256_new(struct sn_sha256 **out, struct sn_diag *d)
{
    struct sn_sha256 *h = sn_calloc(1, sizeof *h);
    if (h)
        h->ctx = EVP_MD_CTX_new();
    if (!h || !h->ctx || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1) {
        sn_sha256_free(&h);
        return sn_fail(d, SN_ENOMEM, "sha256: cannot start a digest");
    }
    *out = h;
    return 0;
}

int sn_sha256_update(struct sn_sha256 *h, const void *bytes, size_t n, struct sn_diag *d)
{
    if (EVP_DigestUpdate(h->ctx, bytes, n) != 1)
        return sn_fail(d, SN_EIO, "sha256: digest failed");
    return 0;
}

int sn_sha256_field(struct sn_sha256 *h, const char *name, const void *bytes, size_t n,
                    struct sn_diag *d)
{
    const uint64_t lengths[2] = {strlen(name), n};
    uint8_t head[sizeof lengths];
    for (size_t i = 0; i < sizeof head; i++) head[i] = (uint8_t)(lengths[i / 8] >> (i % 8 * 8));
    int rc = sn_sha256_update(h, head, sizeof head, d);
    if (rc == 0) rc = sn_sha256_update(h, name, strlen(name), d);
    return rc < 0 ? rc : sn_sha256_update(h, bytes, n, d);
}

int sn_sha256_digest(struct sn_sha256 *h, struct sn_digest *out, struct sn_diag *d)
{
    if (EVP_DigestFinal_ex(h->ctx, out->b, NULL) != 1)
        return sn_fail(d, SN_EIO, "sha256: digest failed");
    return 0;
}

int sn_sha256_hex(struct sn_sha256 *h, char hex[65], struct sn_diag *d)
{
    struct sn_digest raw;
    const int rc = sn_sha256_digest(h, &raw, d);
    if (rc == 0)
        sn_digest_hex(&raw, hex);
    return rc;
}

void sn_digest_hex(const struct sn_digest *a, char hex[65])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SN_DIGEST_BYTES; i++) {
        hex[2 * i] = digits[a->b[i] >> 4];
        hex[2 * i + 1] = digits[a->b[i] & 15];
    }
    hex[64] = '\0';
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F'
           ? c - 'A' + 10 : -1;
}

bool sn_digest_parse(const char *hex, struct sn_digest *out)
{
    for (size_t i = 0; i < SN_DIGEST_BYTES; i++) {
        const int high = digit(hex[2 * i]), low = high < 0 ? -1 : digit(hex[2 * i + 1]);
        if (low < 0)
            return false;
        out->b[i] = (uint8_t)(high << 4 | low);
    }
    return hex[2 * SN_DIGEST_BYTES] == '\0';
}

bool sn_digest_equal(const struct sn_digest *a, const struct sn_digest *b)
{
    return memcmp(a->b, b->b, SN_DIGEST_BYTES) == 0;
}

bool sn_digest_known(const struct sn_digest *a)
{
    static const struct sn_digest none;
    return !sn_digest_equal(a, &none);
}

void sn_sha256_free(struct sn_sha256 **hp)
{
    if (*hp) {
        EVP_MD_CTX_free((*hp)->ctx);
        sn_free(*hp);
    }
    *hp = NULL;
}

int sn_sha256_file(const char *path, char hex[65], struct sn_diag *d)
{
    struct sn_sha256 *h = NULL;
    char chunk[65536];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sn_fail(d, errno == ENOENT ? SN_ENOENT : SN_EIO, "%s: cannot open: %s", path,
                       strerror(errno));
    int rc = sn_sha256_new(&h, d);
    while (rc == 0) {
        const ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = sn_fail(d, SN_EIO, "%s: cannot read: %s", path, strerror(errno));
        if (n <= 0)
            break;
        rc = sn_sha256_update(h, chunk, (size_t)n, d);
    }
    if (rc == 0)
        rc = sn_sha256_hex(h, hex, d);
    sn_sha256_free(&h);
    close(fd);
    return rc;
}

const char *sn_hash_library(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}

int sn_sha256_bytes(const void *bytes, size_t n, struct sn_digest *out, struct sn_diag *d)
{
    struct sn_sha256 *h = NULL;
    int rc = sn_sha256_new(&h, d);
    if (rc == 0)
        rc = sn_sha256_update(h, bytes, n, d);
    if (rc == 0)
        rc = sn_sha256_digest(h, out, d);
    sn_sha256_free(&h);
    return rc;
}
