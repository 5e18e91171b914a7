/* Picture decoders on arbitrary bytes, in this process. Both sides of the pixel limit are seen: it is
 * small enough to be met, and large enough for sizes to overflow what is smaller than size_t. */
#include "tests/fuzz/fuzz.h"

#include "media/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct sn_image_options options[] = {
        {.limits.pixels = 1 << 20},
        {.limits.pixels = 1 << 20, .min_short_side = 5},
    };
    /* what does not scale would only be decoded twice */
    const size_t n = sn_probe(data, size).type == SN_MEDIA_JPEG ? 2 : 1;
    for (size_t i = 0; i < n; i++) {
        struct sn_image image;
        struct sn_image_info info;
        struct sn_diag d;
        sn_diag_init(&d);
        const int rc = sn_image_decode(data, size, &options[i], &image, &info, &d);
        if (rc < 0) {
            fuzz_check(d.code == (enum sn_err)-rc && d.text[0] != '\0');
            continue;
        }
        const size_t n_pixels = (size_t)image.width * image.height;
        fuzz_check(n_pixels > 0 && n_pixels <= options[i].limits.pixels);
        fuzz_check(info.width >= image.width && info.height >= image.height);
        fuzz_use(fuzz_touch(image.rgb, 3 * n_pixels));
        sn_image_fini(&image);
    }
    return 0;
}
