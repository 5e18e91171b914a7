/* Sound, pulled: container > decoder > libswresample > a buffer of one frame's samples > the
 * caller.
 *
 * The resampler is fed whole decoded frames with room for all they give, and is made anew when the
 * format changes in the middle (chained Ogg, broadcasts), because that is what the ffmpeg program
 * does and the samples should be the same. */

#include "config.h"
#include "media/sound_decode.h"

#include "media/sound_container.h"

#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include <libswresample/swresample.h>

enum {
    /* Bounds what one slice of input can become: 65536 samples at 1 kHz are 1 Mi at 16 kHz. */
    RATE_MIN = 1000,
    RATE_MAX = 768000,
    SLICE_SAMPLES = 65536,
    CHANNELS_MAX = 64
};

struct sn_sound_decoder {
    struct sn_container c;
    double seconds_max;
    struct sn_sound_info info;

    SwrContext *swr;
    enum AVSampleFormat format; /* what swr was made for */
    int rate;
    AVChannelLayout layout;

    AVFrame *frame; /* decoded, samples below `fed` are in swr already */
    int fed;
    float *pcm; /* converted; [at, n) not given out yet */
    size_t cap, at, n;
    bool decoded, ended;  /* the decoder gave its last frame; swr gave its last sample */
    struct sn_diag error; /* once set, every read returns it */
};

static int check_format(int rate, int n_channels, struct sn_diag *d)
{
    if (rate < RATE_MIN || rate > RATE_MAX)
        return sn_fail(d, SN_EUNSUPPORTED, "a sample rate of %d Hz is outside %d to %d", rate,
                       RATE_MIN, RATE_MAX);
    if (n_channels < 1 || n_channels > CHANNELS_MAX)
        return sn_fail(d, SN_EUNSUPPORTED, "%d channels are outside 1 to %d", n_channels,
                       CHANNELS_MAX);
    return 0;
}

/* --- the resampler --- */

/* Channels that nobody named have no known place in a mix: each counts alike. */
static int mix_evenly(SwrContext *swr, int n_channels)
{
    double matrix[CHANNELS_MAX];
    for (int i = 0; i < n_channels; i++)
        matrix[i] = 1.0 / n_channels;
    return swr_set_matrix(swr, matrix, n_channels);
}

static int open_resampler(struct sn_sound_decoder *s, const AVFrame *f, struct sn_diag *d)
{
    int rc = check_format(f->sample_rate, f->ch_layout.nb_channels, d);
    if (rc < 0)
        return rc;
    AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO; /* not const: FFmpeg 5.1 does not promise it */
    AVChannelLayout from = {0};
    int error = 0;
    if (f->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC)
        av_channel_layout_default(&from, f->ch_layout.nb_channels);
    else
        error = av_channel_layout_copy(&from, &f->ch_layout);
    if (error >= 0)
        error = swr_alloc_set_opts2(&s->swr, &mono, AV_SAMPLE_FMT_FLT, SN_AUDIO_RATE, &from,
                                    (enum AVSampleFormat)f->format, f->sample_rate, 0, NULL);
    if (error >= 0 && from.order == AV_CHANNEL_ORDER_UNSPEC)
        error = mix_evenly(s->swr, from.nb_channels);
    av_channel_layout_uninit(&from);
    if (error >= 0)
        error = swr_init(s->swr);
    if (error >= 0)
        error = av_channel_layout_copy(&s->layout, &f->ch_layout);
    s->format = (enum AVSampleFormat)f->format;
    s->rate = f->sample_rate;
    if (error == AVERROR(ENOMEM))
        return sn_fail(d, SN_ENOMEM, "sound: no memory for the resampler");
    if (error < 0)
        return sn_fail(d, SN_EUNSUPPORTED, "cannot mix %d channels at %d Hz down to one at %d Hz",
                       f->ch_layout.nb_channels, f->sample_rate, SN_AUDIO_RATE);
    return 0;
}

static void close_resampler(struct sn_sound_decoder *s)
{
    swr_free(&s->swr);
    av_channel_layout_uninit(&s->layout);
}

static bool resampler_fits(const struct sn_sound_decoder *s, const AVFrame *f)
{
    return s->swr && s->format == f->format && s->rate == f->sample_rate &&
           av_channel_layout_compare(&s->layout, &f->ch_layout) == 0;
}

/* n samples from `from` (NULL: the end) through the resampler to s->pcm. */
static int convert(struct sn_sound_decoder *s, const uint8_t **from, int n, struct sn_diag *d)
{
    const int room = swr_get_out_samples(s->swr, n);
    if (room < 0)
        return sn_fail(d, SN_EFORMAT, "sound: the resampler refuses %d samples", n);
    if (!sn_grow((void **)&s->pcm, &s->cap, (size_t)room, sizeof *s->pcm))
        return sn_fail(d, SN_ENOMEM, "sound: no memory for %d samples", room);
    uint8_t *to[1] = {(uint8_t *)s->pcm};
    const int got = room > 0 ? swr_convert(s->swr, to, room, from, n) : 0;
    if (got < 0)
        return sn_fail(d, got == AVERROR(ENOMEM) ? SN_ENOMEM : SN_EFORMAT,
                       "sound: resampling %d samples failed", n);
    s->at = 0;
    s->n = (size_t)got;
    return 0;
}

static int convert_slice(struct sn_sound_decoder *s, struct sn_diag *d)
{
    const AVFrame *f = s->frame;
    const uint8_t *from[CHANNELS_MAX];
    const bool planar = av_sample_fmt_is_planar(s->format);
    const int n_planes = planar ? f->ch_layout.nb_channels : 1;
    const size_t step = (size_t)av_get_bytes_per_sample(s->format) *
                        (planar ? 1u : (unsigned)f->ch_layout.nb_channels);
    for (int i = 0; i < n_planes; i++)
        from[i] = f->extended_data[i] + (size_t)s->fed * step;
    const int n = FFMIN(f->nb_samples - s->fed, SLICE_SAMPLES);
    s->fed += n;
    return convert(s, from, n, d);
}

/* --- pulling --- */

static int take_frame(struct sn_sound_decoder *s, struct sn_diag *d)
{
    bool got;
    int rc = sn_container_frame(&s->c, s->frame, &got, d);
    if (rc < 0)
        return rc;
    s->fed = 0;
    s->decoded = !got;
    if (!got || resampler_fits(s, s->frame))
        return 0;
    close_resampler(s);
    return open_resampler(s, s->frame, d);
}

/* More samples in s->pcm, or a step towards them. */
static int advance(struct sn_sound_decoder *s, struct sn_diag *d)
{
    if (s->fed < s->frame->nb_samples)
        return convert_slice(s, d);
    if (!s->decoded)
        return take_frame(s, d);
    const int rc = s->swr ? convert(s, NULL, 0, d) : 0;
    s->ended = s->n == s->at;
    return rc;
}

static void note_state(struct sn_sound_decoder *s)
{
    s->info.n_damaged = s->c.n_damaged;
    if (!s->ended)
        return;
    s->info.truncated = sn_container_was_cut(&s->c, (double)s->info.n_samples / SN_AUDIO_RATE);
    if (s->c.packet_short && sn_container_tail(&s->c) == SN_TAIL_OPEN)
        s->info.n_damaged--; /* the last packet was whole, only its length unknown */
}

static int read_samples(struct sn_sound_decoder *s, float *pcm, size_t max, size_t *got,
                        struct sn_diag *d)
{
    while (*got < max && !s->ended) {
        const size_t n = sn_min(s->n - s->at, max - *got);
        if (n == 0) {
            const int rc = advance(s, d);
            if (rc < 0)
                return rc;
            continue;
        }
        if ((double)(s->info.n_samples + n) > s->seconds_max * SN_AUDIO_RATE)
            return sn_fail(d, SN_ELIMIT, "the sound is longer than the limit of %g s",
                           s->seconds_max);
        memcpy(pcm + *got, s->pcm + s->at, n * sizeof *pcm);
        s->at += n;
        s->info.n_samples += n;
        *got += n;
    }
    if (s->ended && s->info.n_samples == 0 && s->c.n_damaged > 0)
        return sn_fail(d, SN_EFORMAT, "none of the %llu packets of its sound can be decoded",
                       (unsigned long long)s->c.n_damaged);
    return 0;
}

int sn_sound_decoder_read(struct sn_sound_decoder *s, float *pcm, size_t max, size_t *got,
                          struct sn_diag *d)
{
    assert(max > 0);
    *got = 0;
    if (s->error.code == SN_OK) {
        sn_container_enter(&s->c);
        read_samples(s, pcm, max, got, &s->error);
        sn_container_leave(&s->c);
        note_state(s);
    }
    if (s->error.code == SN_OK || *got > 0)
        return 0;
    return sn_fail(d, s->error.code, "%s", s->error.text);
}

/* --- opening --- */

struct sn_sound_limits sn_sound_limits(const struct sn_sound_limits *l)
{
    return (struct sn_sound_limits){
        .seconds = l->seconds > 0 ? l->seconds : 12 * 3600,
        .bytes = l->bytes ? l->bytes : 16ull << 30,
        .work_seconds = l->work_seconds > 0 ? l->work_seconds : 15 * 60,
    };
}

/* The header's word on the length; for plain PCM the file's size has the last word. */
static void note_seconds(struct sn_sound_decoder *s, bool *certain)
{
    const AVCodecParameters *p = s->c.stream->codecpar;
    s->info.seconds = sn_container_seconds(&s->c, certain);
    const double bits_per_second = (double)av_get_exact_bits_per_sample(p->codec_id) *
                                   p->ch_layout.nb_channels * p->sample_rate;
    if (bits_per_second > 0)
        s->info.seconds = fmin(s->info.seconds, (double)s->c.size * 8 / bits_per_second);
}

static int note_stream(struct sn_sound_decoder *s, struct sn_diag *d)
{
    const AVCodecParameters *p = s->c.stream->codecpar;
    sn_container_name(&s->c, s->info.container);
    snprintf(s->info.codec, sizeof s->info.codec, "%s", avcodec_get_name(p->codec_id));
    const int rc = check_format(p->sample_rate, p->ch_layout.nb_channels, d);
    if (rc < 0)
        return rc;
    s->info.rate = (uint32_t)p->sample_rate;
    s->info.n_channels = (uint32_t)p->ch_layout.nb_channels;
    bool certain;
    note_seconds(s, &certain);
    if (certain && s->info.seconds > s->seconds_max)
        return sn_fail(d, SN_ELIMIT, "%.1f s of sound exceed the limit of %g s", s->info.seconds,
                       s->seconds_max);
    return 0;
}

static void configure(struct sn_sound_decoder *s, const struct sn_source *in, bool mapped,
                      const struct sn_sound_cfg *cfg)
{
    const struct sn_sound_limits l = sn_sound_limits(&cfg->limits);
    sn_diag_init(&s->error);
    s->seconds_max = l.seconds;
    s->c.type = AVMEDIA_TYPE_AUDIO;
    s->c.in = *in;
    s->c.mapped = mapped;
    s->c.cancel = cfg->cancel;
    s->c.bytes_max = l.bytes;
    s->c.work_max_s = l.work_seconds;
}

int sn_sound_decoder_open(const struct sn_source *in, bool mapped, const struct sn_sound_cfg *cfg,
                          struct sn_sound_decoder **out, struct sn_diag *d)
{
    struct sn_sound_decoder *s = sn_calloc(1, sizeof *s);
    if (!s)
        return sn_fail(d, SN_ENOMEM, "sound: out of memory");
    configure(s, in, mapped, cfg);
    sn_container_enter(&s->c);
    int rc = sn_container_open(&s->c, d);
    if (rc == 0)
        rc = note_stream(s, d);
    if (rc == 0 && !(s->frame = av_frame_alloc()))
        rc = sn_fail(d, SN_ENOMEM, "sound: out of memory");
    sn_container_leave(&s->c);
    if (rc < 0) {
        sn_sound_decoder_close(&s);
        return rc;
    }
    *out = s;
    return 0;
}

const struct sn_sound_info *sn_sound_decoder_info(const struct sn_sound_decoder *s)
{
    return &s->info;
}

void sn_sound_decoder_close(struct sn_sound_decoder **sp)
{
    struct sn_sound_decoder *s = *sp;
    if (!s)
        return;
    close_resampler(s);
    av_frame_free(&s->frame);
    sn_container_close(&s->c);
    sn_free(s->pcm);
    sn_free(s);
    *sp = NULL;
}
