/* Which decoder, limits, and the way through the sandbox: the child decodes into memory that is
 * shared with the parent, who copies it once. */
#include "config.h"
#include "media/image.h"

#include "base/mem.h"
#include "media/image_impl.h"

#include <string.h>

#ifdef SN_HAVE_HEIF
#include <libheif/heif.h>
#endif

enum { DEFAULT_PIXELS = 100 * 1000 * 1000, DEFAULT_TIME_MS = 30000 };
#define DEFAULT_BYTES ((uint64_t)256 << 20)
#define DEFAULT_MEMORY ((uint64_t)1 << 30)
/* of a result, three bytes for each; more than 2^34 are no picture that anybody decodes */
#define PIXELS_MAX ((uint64_t)1 << 34)

static struct sn_image_options with_defaults(const struct sn_image_options *o)
{
    struct sn_image_options all = o ? *o : (struct sn_image_options){0};
    struct sn_image_limits *l = &all.limits;
    l->pixels = l->pixels ? l->pixels : DEFAULT_PIXELS;
    l->pixels = l->pixels < PIXELS_MAX ? l->pixels : PIXELS_MAX;
    l->bytes = l->bytes ? l->bytes : DEFAULT_BYTES;
    l->memory_bytes = l->memory_bytes ? l->memory_bytes : DEFAULT_MEMORY;
    l->time_ms = l->time_ms ? l->time_ms : DEFAULT_TIME_MS;
    return all;
}

static sn_picture_decoder *find_decoder(enum sn_media_type type)
{
    switch (type) {
    case SN_MEDIA_JPEG: return sn_jpeg_decode;
    case SN_MEDIA_PNG: return sn_png_decode;
    case SN_MEDIA_WEBP: return sn_webp_decode;
    case SN_MEDIA_GIF: return sn_gif_decode;
    case SN_MEDIA_TIFF: return sn_tiff_decode;
    case SN_MEDIA_BMP: return sn_bmp_decode;
#ifdef SN_HAVE_HEIF
    case SN_MEDIA_HEIF: return sn_heif_decode;
#endif
    default: return NULL;
    }
}

static int check_type(struct sn_probe p, struct sn_diag *d)
{
    if (find_decoder(p.type))
        return 0;
    if (p.type == SN_MEDIA_EMPTY)
        return sn_fail(d, SN_EFORMAT, "0 bytes make no picture");
    if (p.type == SN_MEDIA_HEIF)
        return sn_fail(d, SN_EUNSUPPORTED, "%s, which this build cannot decode (no libheif)", p.name);
    if (p.type == SN_MEDIA_OTHER)
        return sn_fail(d, SN_EUNSUPPORTED, "%s, which cannot be decoded as a picture", p.name);
    return sn_fail(d, SN_EFORMAT, "%s, not a picture (JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC)", p.name);
}

static int check_bytes(size_t n, const struct sn_image_limits *l, struct sn_diag *d)
{
    if (n > l->bytes)
        return sn_fail(d, SN_ELIMIT, "%zu bytes exceeds the limit of %.6g MiB", n,
                       (double)l->bytes / (1 << 20));
    return 0;
}

/* Runs the decoder that the first bytes call for. */
static int decode(struct sn_canvas *c)
{
    const struct sn_probe p = sn_probe(c->in, sn_min(c->n_in, SN_PROBE_BYTES));
    int rc = check_bytes(c->n_in, &c->options->limits, c->diag);
    if (rc == 0)
        rc = check_type(p, c->diag);
    if (rc == 0)
        rc = find_decoder(p.type)(c);
    return sn_canvas_close(c, rc);
}

int sn_image_decode(const uint8_t *bytes, size_t n_bytes, const struct sn_image_options *o,
                    struct sn_image *out, struct sn_image_info *info, struct sn_diag *d)
{
    const struct sn_image_options all = with_defaults(o);
    struct sn_canvas c = {.in = bytes, .n_in = n_bytes, .options = &all, .diag = d};
    const int rc = decode(&c);
    if (rc < 0)
        return rc;
    *out = c.image;
    if (info)
        *info = c.info;
    return 0;
}

/* --- through the sandbox --- */

struct head {
    uint32_t width, height;
    struct sn_image_info info;
};

static int run(struct sn_sandbox_job *j, struct sn_diag *d)
{
    struct sn_canvas c = {
        .in = j->in, .n_in = j->n_in, .options = j->params, .diag = d,
        .place = sn_sandbox_slot(j, d), .place_bytes = j->slot_bytes,
    };
    const int rc = c.place ? decode(&c) : -SN_ECANCELLED;
    if (rc < 0)
        return rc;
    const struct head head = {c.image.width, c.image.height, c.info};
    return sn_sandbox_emit(j, &head, sizeof head, 3 * (size_t)head.width * head.height, d);
}

static void prepare(void)
{
#ifdef SN_HAVE_HEIF
    heif_init(NULL); /* looks for plug-ins */
#endif
}

const struct sn_sandbox_kind sn_image_kind = {.name = "image", .run = run, .prepare = prepare};

/* The head is from a process that may have been taken over. */
static int take_image(struct sn_sandbox_task *t, const struct sn_sandbox_chunk *chunk,
                      const char *name, struct sn_image *out, struct sn_image_info *info,
                      struct sn_diag *d)
{
    struct head head;
    memcpy(&head, chunk->head, sizeof head);
    const size_t n_pixels = (size_t)head.width * head.height;
    if (n_pixels == 0 || n_pixels > PIXELS_MAX || 3 * n_pixels != chunk->n)
        return sn_fail(d, SN_EFORMAT, "%s: its decoder answered nonsense", name);
    if (!sn_image_room(out, head.width, head.height))
        return sn_fail(d, SN_ENOMEM, "%s: no memory for %ux%u pixels", name, head.width, head.height);
    const int rc = sn_sandbox_copy(t, 0, out->rgb, chunk->n, d);
    if (rc < 0)
        sn_image_fini(out);
    else if (info)
        *info = head.info;
    return rc;
}

static int check_source(const struct sn_source *in, const struct sn_image_limits *l,
                        struct sn_probe *p, struct sn_diag *d)
{
    uint8_t beginning[SN_PROBE_BYTES];
    const int n = sn_source_peek(in, beginning, sizeof beginning, d);
    if (n < 0)
        return n;
    *p = sn_probe(beginning, (size_t)n);
    int rc = check_bytes(in->n_bytes, l, d);
    if (rc == 0)
        rc = check_type(*p, d);
    return rc < 0 ? sn_diag_prefix(d, rc, "%s", in->name) : 0;
}

int sn_image_load(struct sn_sandbox *s, const struct sn_source *in,
                  const struct sn_image_options *o, struct sn_image *out,
                  struct sn_image_info *info, struct sn_diag *d)
{
    const struct sn_image_options all = with_defaults(o);
    struct sn_sandbox_task *t = NULL;
    struct sn_sandbox_chunk chunk;
    struct sn_probe p;
    int rc = check_source(in, &all.limits, &p, d);
    if (rc < 0)
        return rc;
    rc = sn_sandbox_start(s, &(struct sn_sandbox_request){
        .kind = &sn_image_kind,
        .source = in,
        .params = &all,
        .n_params = sizeof all,
        .slot_bytes = 3 * all.limits.pixels,
        .memory_bytes = all.limits.memory_bytes,
        .time_ms = all.limits.time_ms,
        .threads = p.type == SN_MEDIA_HEIF, /* its codecs start some */
    }, &t, d);
    if (rc == 0)
        rc = sn_sandbox_next(t, &chunk, d);
    if (rc > 0)
        rc = take_image(t, &chunk, in->name, out, info, d);
    else if (rc == 0 && t)
        rc = sn_fail(d, SN_EFORMAT, "%s: its decoder answered nonsense", in->name);
    sn_sandbox_end(&t);
    return rc;
}
