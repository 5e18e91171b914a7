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

int sn_sha256_hex(struct sn_sha256 *h, char hex[65], struct sn_diag *d)
{
    unsigned char raw[32];
    if (EVP_DigestFinal_ex(h->ctx, raw, NULL) != 1)
        return sn_fail(d, SN_EIO, "sha256: digest failed");
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 32; i++) {
        hex[2 * i] = digits[raw[i] >> 4];
        hex[2 * i + 1] = digits[raw[i] & 15];
    }
    hex[64] = '\0';
    return 0;
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
