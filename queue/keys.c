/* The files are written here rather than by zcert_save(), which leaves a secret half-written when the disk
 * is full, and replaces what is there; their form is zcert's (RFC 26 keys in ZPL, RFC 4), so that
 * zcert_load() and CZMQ's authenticator read them. */
#include "config.h"
#include "queue/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <czmq.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"

enum { FILE_MAX = 64 << 10 };

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* The caller frees it; NULL when memory ran out. */
static char *secret_path(const char *path)
{
    struct sn_strbuf b = {0};
    sn_strbuf_puts(&b, path);
    if (!ends_with(path, "_secret"))
        sn_strbuf_puts(&b, "_secret");
    char *secret = sn_strbuf_take(&b);
    sn_strbuf_fini(&b);
    return secret;
}

/* --- reading --- */

static int check_mode(const char *path, struct sn_diag *d)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return sn_fail(d, errno == ENOENT ? SN_ENOENT : SN_EIO, "%s: %s", path, strerror(errno));
    if (st.st_mode & 077)
        return sn_fail(d, SN_EINVAL, "%s: a secret key that others can read (mode %03o): chmod 600 it", path,
                       (unsigned)(st.st_mode & 0777));
    return 0;
}

/* One key of the file; "" when it has none. */
static int take_key(zconfig_t *root, const char *path, const char *name, char key[SN_KEY_TEXT],
                    struct sn_diag *d)
{
    const char *text = zconfig_get(root, name, "");
    uint8_t bytes[32];
    const bool is_key = strlen(text) == SN_KEY_TEXT - 1 && zmq_z85_decode(bytes, text);
    explicit_bzero(bytes, sizeof bytes);
    if (text[0] && !is_key)
        return sn_fail(d, SN_EFORMAT, "%s: %s is no key of 40 Z85 characters", path, name);
    snprintf(key, SN_KEY_TEXT, "%s", text);
    return 0;
}

static int read_keys(const char *path, struct sn_keys *out, struct sn_diag *d)
{
    char *text = NULL;
    size_t n = 0;
    int rc = sn_file_read(path, FILE_MAX, &text, &n, d);
    if (rc < 0)
        return rc;
    zconfig_t *root = zconfig_str_load(text);
    if (!root)
        rc = sn_fail(d, SN_EFORMAT, "%s: not a certificate", path);
    if (rc == 0)
        rc = take_key(root, path, "curve/public-key", out->public_key, d);
    if (rc == 0)
        rc = take_key(root, path, "curve/secret-key", out->secret_key, d);
    if (rc == 0 && !out->public_key[0])
        rc = sn_fail(d, SN_EFORMAT, "%s: not a certificate: there is no public key in it", path);
    zconfig_destroy(&root);
    explicit_bzero(text, n);
    sn_free(text);
    return rc;
}

int sn_keys_load(const char *path, bool want_secret, struct sn_keys *out, struct sn_diag *d)
{
    *out = (struct sn_keys){0};
    if (!want_secret)
        return read_keys(path, out, d);
    char *secret = secret_path(path);
    int rc = secret ? check_mode(secret, d) : sn_fail(d, SN_ENOMEM, "the name of a key file");
    if (rc == 0)
        rc = read_keys(secret, out, d);
    if (rc == 0 && !out->secret_key[0])
        rc = sn_fail(d, SN_ENOENT, "%s: there is no secret key in it", secret);
    sn_free(secret);
    return rc;
}

void sn_keys_fini(struct sn_keys *k)
{
    explicit_bzero(k, sizeof *k);
}

/* --- making --- */

/* A ZPL value: quotes of the kind that the text does not have. */
static bool is_plain(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == '"' || *text == 0x7f)
            return false;
    return true;
}

static void print_file(struct sn_strbuf *b, const struct sn_keys *k, const struct sn_keys_note *notes,
                       size_t n_notes, bool secret)
{
    sn_strbuf_puts(b, secret ? "#   A CURVE certificate with its secret key: whoever has it is the client.\n"
                             : "#   A CURVE certificate: the public half.\n");
    sn_strbuf_puts(b, "metadata\n");
    for (size_t i = 0; i < n_notes; i++)
        sn_strbuf_printf(b, "    %s = \"%s\"\n", notes[i].name, notes[i].value);
    sn_strbuf_printf(b, "curve\n    public-key = \"%s\"\n", k->public_key);
    if (secret)
        sn_strbuf_printf(b, "    secret-key = \"%s\"\n", k->secret_key);
}

/* Never over a file that is there. */
static int write_new(const char *path, mode_t mode, const struct sn_strbuf *text, struct sn_diag *d)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return sn_fail(d, errno == EEXIST ? SN_EFULL : SN_EIO, "%s: %s", path,
                       errno == EEXIST ? "is there already" : strerror(errno));
    const bool written = fchmod(fd, mode) == 0 && sn_write_all(fd, text->data, text->len) && fsync(fd) == 0;
    const int why = errno;
    close(fd);
    if (written)
        return 0;
    unlink(path);
    return sn_fail(d, SN_EIO, "%s: %s", path, strerror(why));
}

static int write_file(const char *path, mode_t mode, const struct sn_keys *k,
                      const struct sn_keys_note *notes, size_t n_notes, struct sn_diag *d)
{
    struct sn_strbuf text = {0};
    print_file(&text, k, notes, n_notes, mode == 0600);
    const int rc = text.failed ? sn_fail(d, SN_ENOMEM, "%s: no memory for it", path)
                               : write_new(path, mode, &text, d);
    if (text.data)
        explicit_bzero(text.data, text.len);
    sn_strbuf_fini(&text);
    return rc;
}

int sn_keys_make(const char *path, const struct sn_keys_note *notes, size_t n_notes, struct sn_keys *out,
                 struct sn_diag *d)
{
    for (size_t i = 0; i < n_notes; i++)
        if (!is_plain(notes[i].value))
            return sn_fail(d, SN_EINVAL, "%s: quotes and control characters cannot be in it", notes[i].name);
    if (zmq_curve_keypair(out->public_key, out->secret_key) != 0)
        return sn_fail(d, SN_EUNSUPPORTED, "libzmq was built without CURVE");
    char *secret = secret_path(path);
    int rc = secret ? 0 : sn_fail(d, SN_ENOMEM, "the name of a key file");
    if (rc == 0 && access(path, F_OK) == 0)
        rc = sn_fail(d, SN_EFULL, "%s: is there already", path);
    if (rc == 0)
        rc = write_file(secret, 0600, out, notes, n_notes, d);
    if (rc == 0) {
        rc = write_file(path, 0644, out, notes, n_notes, d);
        if (rc < 0)
            unlink(secret);
    }
    sn_free(secret);
    return rc;
}
