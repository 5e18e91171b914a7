/* usage: sound_tool [-c] FILE OUT.f32         samples as raw floats
 *        sound_tool [-c] -v FPS FILE OUT.rgb   frames, one after the other; their times to stdout
 *        sound_tool [-c] -n COUNT FILE OUT.rgb
 * -c: in a child of a sandbox. What is known of the file goes to stdout. For checks by hand and for
 * tests/media/sound-ffmpeg.py. */

#include "media/sound.h"
#include "media/video.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int save_sound(struct sn_sandbox *sb, const struct sn_source *in, FILE *out,
                      struct sn_diag *d)
{
    struct sn_sound *s = NULL;
    float pcm[4800];
    size_t got = 1;
    int rc = sn_sound_open(sb, in, NULL, &s, d);
    if (rc < 0)
        return rc;
    while (rc == 0 && got > 0) {
        rc = sn_sound_read(s, pcm, 4800, &got, d);
        fwrite(pcm, sizeof *pcm, got, out);
    }
    const struct sn_sound_info *i = sn_sound_info(s);
    printf("%s %s %u Hz, %u channels, %.3f s, %llu samples, %llu damaged%s\n", i->container,
           i->codec, i->rate, i->n_channels, i->seconds, (unsigned long long)i->n_samples,
           (unsigned long long)i->n_damaged, i->truncated ? ", truncated" : "");
    sn_sound_close(&s);
    return rc;
}

static int save_video(struct sn_sandbox *sb, const struct sn_source *in,
                      const struct sn_video_cfg *cfg, FILE *out, struct sn_diag *d)
{
    struct sn_video *v = NULL;
    struct sn_image image = {0};
    bool got = true;
    int rc = sn_video_open(sb, in, cfg, &v, d);
    while (rc == 0 && got) {
        double seconds;
        rc = sn_video_next(v, &image, &seconds, &got, d);
        if (rc < 0 || !got)
            break;
        printf("%.3f\n", seconds);
        fwrite(image.rgb, 3, (size_t)image.width * image.height, out);
    }
    if (v) {
        const struct sn_video_info *i = sn_video_info(v);
        printf("%s %s %ux%u, %.3f s, %.3f fps, %llu frames, %llu damaged%s\n", i->container,
               i->codec, i->width, i->height, i->seconds, i->fps, (unsigned long long)i->n_frames,
               (unsigned long long)i->n_damaged, i->truncated ? ", truncated" : "");
    }
    sn_image_fini(&image);
    sn_video_close(&v);
    return rc;
}

int main(int argc, char **argv)
{
    static const struct sn_sandbox_kind *const kinds[] = {&sn_sound_kind, &sn_video_kind, NULL};
    struct sn_video_cfg cfg = {0};
    bool child = false, video = false;
    int option;
    while ((option = getopt(argc, argv, "cv:n:")) != -1) {
        child |= option == 'c';
        video |= option != 'c';
        if (option == 'v')
            cfg.fps = strtod(optarg, NULL);
        if (option == 'n')
            cfg.count = (uint32_t)strtoul(optarg, NULL, 10);
    }
    if (argc - optind != 2)
        return 2;
    struct sn_sandbox *sb = NULL;
    struct sn_source in = {0};
    struct sn_diag d;
    sn_diag_init(&d);
    FILE *out = fopen(argv[optind + 1], "wb");
    int rc = out ? sn_source_open(argv[optind], &in, &d) : -1;
    if (rc == 0 && child)
        rc = sn_sandbox_new(&(struct sn_sandbox_cfg){.kinds = kinds, .n_children = 1}, &sb, &d);
    if (rc == 0)
        rc = video ? save_video(sb, &in, &cfg, out, &d) : save_sound(sb, &in, out, &d);
    if (rc < 0)
        fprintf(stderr, "%s: %s\n", sn_err_name(d.code), d.text);
    sn_source_close(&in);
    sn_sandbox_free(&sb);
    if (out)
        fclose(out);
    return rc < 0;
}
