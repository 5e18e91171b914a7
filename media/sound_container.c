/* FFmpeg's side of media/sound and media/video. The order of calls follows the ffmpeg program
 * (version 5.1): probe, open, find_stream_info; send a packet, take its frames, and when one of
 * these fails go on with the next packet; a read error is the end of the file.
 *
 * What is shut: FFmpeg sees no file and no network, only what media/sound_input reads; containers
 * that name other files (playlists, concat, HLS, DASH) are not on the list, and neither are
 * decoders that people's recordings do not need. Streams of the other kind are discarded, their
 * decoders never opened. */

#include "config.h"
#include "media/sound_container.h"

#include "base/mem.h"
#include "base/strbuf.h"

#include <pthread.h>
#include <string.h>

#include <libavutil/avstring.h>
#include <libavutil/cpu.h>

static const char containers[] =
    "wav,w64,aiff,au,caf,flac,mp3,ogg,mov,matroska,aac,loas,ac3,eac3,amr,amrnb,amrwb,asf,avi,"
    "mpegts,mpeg,flv,wv";

static const char sound_codecs[] =
    "pcm_alaw,pcm_bluray,pcm_dvd,pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,pcm_mulaw,pcm_s16be,"
    "pcm_s16be_planar,pcm_s16le,pcm_s16le_planar,pcm_s24be,pcm_s24le,pcm_s24le_planar,pcm_s32be,"
    "pcm_s32le,pcm_s32le_planar,pcm_s8,pcm_s8_planar,pcm_u16be,pcm_u16le,pcm_u24be,pcm_u24le,"
    "pcm_u32be,pcm_u32le,pcm_u8,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,g722,g726,gsm,gsm_ms,flac,"
    "alac,wavpack,mp1float,mp1,mp2float,mp2,mp3float,mp3,aac,aac_latm,ac3,eac3,opus,vorbis,speex,"
    "amrnb,amrwb,wmav1,wmav2,wmapro,wmalossless,wmavoice";

static const char picture_codecs[] =
    "h264,hevc,vp8,vp9,libdav1d,mpeg1video,mpeg2video,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,wmv1,wmv2,"
    "wmv3,vc1,h263,flv,theora,mjpeg,prores,dvvideo,rawvideo";

enum {
    IO_BUFFER_BYTES = 32768,    /* as FFmpeg's own file reader */
    FRAME_SAMPLES_MAX = 1 << 24 /* the longest real one is FLAC's, 65535 */
};

/* "mov,mp4,m4a,..." is one demuxer with many names. */
void sn_container_name(const struct sn_container *c, char name[24])
{
    const char *names = c->fmt->iformat->name;
    snprintf(name, 24, "%.*s", (int)strcspn(names, ","), names);
}

/* Why an FFmpeg call failed. Its own texts stay out of ours: they may quote the file. */
static int fail(const struct sn_container *c, int error, const char *what, struct sn_diag *d)
{
    const int rc = sn_container_check(c, d);
    if (rc < 0)
        return rc;
    if (error == AVERROR(ENOMEM))
        return sn_fail(d, SN_ENOMEM, "%s: out of memory", what);
    return sn_fail(d, SN_EFORMAT, "%.*s: the file is damaged, incomplete, or not what it seems",
                   (int)strcspn(what, ","), what);
}

/* --- opening --- */

static void set_up_once(void)
{
    av_log_set_level(AV_LOG_QUIET);
    av_get_cpu_flags(); /* kept by FFmpeg */
}

void sn_container_prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_up_once);
}

/* No container may open anything else. */
static int refuse_open(AVFormatContext *fmt, AVIOContext **pb, const char *url, int flags,
                       AVDictionary **options)
{
    (void)fmt, (void)url, (void)flags, (void)options;
    *pb = NULL;
    return AVERROR(EACCES);
}

static int prepare(struct sn_container *c, struct sn_diag *d)
{
    sn_container_prepare();
    uint8_t *buffer = av_malloc(IO_BUFFER_BYTES);
    if (buffer)
        c->io = avio_alloc_context(buffer, IO_BUFFER_BYTES, 0, c, sn_container_read, NULL, sn_container_to);
    if (!c->io) {
        av_free(buffer);
        return fail(c, AVERROR(ENOMEM), "container", d);
    }
    c->fmt = avformat_alloc_context();
    c->packet = av_packet_alloc();
    if (!c->fmt || !c->packet)
        return fail(c, AVERROR(ENOMEM), "container", d);
    c->fmt->pb = c->io;
    /* or closing it would close our io as if it were a file */
    c->fmt->flags |= AVFMT_FLAG_CUSTOM_IO;
    c->fmt->io_open = refuse_open;
    c->fmt->format_whitelist = av_strdup(containers);
    c->fmt->codec_whitelist =
        av_strdup(c->type == AVMEDIA_TYPE_AUDIO ? sound_codecs : picture_codecs);
    if (!c->fmt->format_whitelist || !c->fmt->codec_whitelist)
        return fail(c, AVERROR(ENOMEM), "container", d);
    return 0;
}

/* Both are lists with commas: a demuxer has several names. */
static bool is_listed(const char *names, const char *list)
{
    return av_match_list(names, list, ',') > 0;
}

static int open_container(struct sn_container *c, struct sn_diag *d)
{
    const AVInputFormat *format = NULL;
    int error = av_probe_input_buffer2(c->io, &format, "", NULL, 0, 0);
    if (error < 0 && error != AVERROR_INVALIDDATA)
        return fail(c, error, "container", d);
    if (error < 0 || !format)
        return sn_fail(d, SN_EUNSUPPORTED, "neither sound nor video of a kind that is known here");
    if (!is_listed(format->name, containers))
        return sn_fail(d, SN_EUNSUPPORTED, "containers of type %s are not read here", format->name);
    AVDictionary *options = NULL;
    av_dict_set(&options, "scan_all_pmts", "1", 0); /* as the ffmpeg program does */
    error = avformat_open_input(&c->fmt, "", format, &options);
    av_dict_free(&options);
    if (error < 0)
        return fail(c, error, format->name, d);
    error = avformat_find_stream_info(c->fmt, NULL);
    if (error < 0)
        return fail(c, error, format->name, d);
    return sn_container_check(c, d);
}

static const AVCodec *allowed_decoder(const struct sn_container *c, const AVStream *st)
{
    const AVCodec *codec = avcodec_find_decoder(st->codecpar->codec_id);
    return codec && is_listed(codec->name, c->fmt->codec_whitelist) ? codec : NULL;
}

/* ffmpeg's choice: most channels or pixels, but first those that had packets, then those that are
 * marked as the default. Cover pictures are no video. */
static int64_t stream_score(const struct sn_container *c, const AVStream *st)
{
    const AVCodecParameters *p = st->codecpar;
    if (p->codec_type != c->type || (st->disposition & AV_DISPOSITION_ATTACHED_PIC) ||
        !allowed_decoder(c, st))
        return 0;
    const int64_t size =
        c->type == AVMEDIA_TYPE_AUDIO ? p->ch_layout.nb_channels : (int64_t)p->width * p->height;
    return size + 100000000 * !!(st->event_flags & AVSTREAM_EVENT_FLAG_NEW_PACKETS) +
           5000000 * !!(st->disposition & AV_DISPOSITION_DEFAULT);
}

static void describe_stream(const AVStream *st, struct sn_strbuf *text)
{
    const AVCodecParameters *p = st->codecpar;
    const char *kind = av_get_media_type_string(p->codec_type);
    if (st->disposition & AV_DISPOSITION_ATTACHED_PIC)
        kind = "cover picture";
    sn_strbuf_printf(text, "%s%s %s", text->len ? ", " : "", kind ? kind : "unknown",
                     avcodec_get_name(p->codec_id));
    if (p->codec_type == AVMEDIA_TYPE_VIDEO && p->width > 0)
        sn_strbuf_printf(text, " %dx%d", p->width, p->height);
}

static int fail_without_stream(const struct sn_container *c, struct sn_diag *d)
{
    enum { SHOWN = 8 };
    const char *wanted = c->type == AVMEDIA_TYPE_AUDIO ? "sound" : "video";
    const unsigned n = c->fmt->nb_streams;
    struct sn_strbuf text = {0};
    bool present = false; /* in a codec that is not on our list */
    for (unsigned i = 0; i < n; i++) {
        const AVStream *st = c->fmt->streams[i];
        present |=
            st->codecpar->codec_type == c->type && !(st->disposition & AV_DISPOSITION_ATTACHED_PIC);
        if (i < SHOWN)
            describe_stream(st, &text);
    }
    if (n > SHOWN)
        sn_strbuf_printf(&text, ", and %u more", n - SHOWN);
    char name[24];
    sn_container_name(c, name);
    const int rc = sn_fail(d, SN_EUNSUPPORTED, "no %s%s in the %s file; its streams: %s", wanted,
                           present ? " that can be decoded here" : "", name,
                           text.len && !text.failed ? text.data : "none");
    sn_strbuf_fini(&text);
    return rc;
}

static int choose_stream(struct sn_container *c, struct sn_diag *d)
{
    int64_t best = 0;
    for (unsigned i = 0; i < c->fmt->nb_streams; i++) {
        AVStream *st = c->fmt->streams[i];
        st->discard = AVDISCARD_ALL;
        const int64_t score = stream_score(c, st);
        if (score > best) {
            best = score;
            c->stream = st;
        }
    }
    if (!c->stream)
        return fail_without_stream(c, d);
    c->stream->discard = AVDISCARD_DEFAULT;
    return 0;
}

static int check_pixels(const struct sn_container *c, struct sn_diag *d)
{
    const AVCodecParameters *p = c->stream->codecpar;
    if (c->pixels_max > 0 && (int64_t)p->width * p->height > c->pixels_max)
        return sn_fail(d, SN_ELIMIT, "frames of %dx%d pixels exceed the limit of %lld", p->width,
                       p->height, (long long)c->pixels_max);
    return 0;
}

static int open_decoder(struct sn_container *c, struct sn_diag *d)
{
    const AVCodec *decoder = allowed_decoder(c, c->stream);
    c->codec = avcodec_alloc_context3(decoder);
    if (!c->codec)
        return fail(c, AVERROR(ENOMEM), decoder->name, d);
    int error = avcodec_parameters_to_context(c->codec, c->stream->codecpar);
    if (error < 0)
        return fail(c, error, decoder->name, d);
    c->codec->pkt_timebase = c->stream->time_base;
    c->codec->thread_count = 1;
    c->codec->max_samples = FRAME_SAMPLES_MAX;
    if (c->pixels_max > 0) /* frames are padded to blocks here, and looked at again later */
        c->codec->max_pixels = 2 * c->pixels_max;
    error = avcodec_open2(c->codec, decoder, NULL);
    return error < 0 ? fail(c, error, decoder->name, d) : 0;
}

int sn_container_open(struct sn_container *c, struct sn_diag *d)
{
    int rc = sn_container_measure(c, d);
    if (rc == 0)
        rc = prepare(c, d);
    if (rc == 0)
        rc = open_container(c, d);
    if (rc == 0)
        rc = choose_stream(c, d);
    if (rc == 0)
        rc = check_pixels(c, d);
    if (rc == 0)
        rc = open_decoder(c, d);
    return rc;
}

void sn_container_close(struct sn_container *c)
{
    avcodec_free_context(&c->codec);
    av_packet_free(&c->packet);
    avformat_close_input(&c->fmt);
    if (c->io)
        av_freep(&c->io->buffer);
    avio_context_free(&c->io);
    c->stream = NULL;
    c->at = 0;
    c->gave_up = c->sent = c->draining = c->done = false;
}

/* --- decoding --- */

static void count_damage(struct sn_container *c)
{
    if (c->behind_seek)
        return;
    c->n_damaged += !c->packet_damaged;
    c->packet_damaged = true;
}

/* The next packet of the stream, or the order to give what is left, goes to the decoder. */
static int send_packet(struct sn_container *c, struct sn_diag *d)
{
    int error;
    do { /* an empty packet would end the stream */
        av_packet_unref(c->packet);
        error = av_read_frame(c->fmt, c->packet);
    } while (error == AVERROR(EAGAIN) ||
             (error >= 0 && (c->packet->stream_index != c->stream->index || c->packet->size == 0)));
    if (error == AVERROR(ENOMEM))
        return fail(c, error, c->fmt->iformat->name, d);
    if (error < 0) {
        const int rc = sn_container_check(c, d);
        if (rc < 0)
            return rc;
        c->gave_up = error != AVERROR_EOF;
        c->draining = true;
        error = avcodec_send_packet(c->codec, NULL);
    } else {
        c->packet_damaged = false;
        c->packet_short = c->packet->flags & AV_PKT_FLAG_CORRUPT;
        if (c->packet_short)
            count_damage(c);
        error = avcodec_send_packet(c->codec, c->packet);
        av_packet_unref(c->packet);
    }
    if (error == AVERROR(ENOMEM))
        return fail(c, error, c->codec->codec->name, d);
    c->sent = error >= 0 || error == AVERROR_EOF;
    if (!c->sent)
        count_damage(c);
    c->done = c->draining && !c->sent;
    return 0;
}

int sn_container_frame(struct sn_container *c, AVFrame *frame, bool *got, struct sn_diag *d)
{
    *got = false;
    av_frame_unref(frame);
    while (!c->done) {
        int rc = sn_container_check(c, d);
        if (rc == 0 && !c->sent)
            rc = send_packet(c, d);
        if (rc < 0)
            return rc;
        if (!c->sent)
            continue;
        const int error = avcodec_receive_frame(c->codec, frame);
        if (error >= 0) {
            if (frame->decode_error_flags || (frame->flags & AV_FRAME_FLAG_CORRUPT))
                count_damage(c);
            *got = true;
            return 0;
        }
        if (error == AVERROR(ENOMEM))
            return fail(c, error, c->codec->codec->name, d);
        if (error != AVERROR(EAGAIN) && error != AVERROR_EOF)
            count_damage(c);
        c->sent = false;
        c->done = c->draining || error == AVERROR_EOF;
    }
    return 0;
}

int sn_container_scan(struct sn_container *c, double *seconds, struct sn_diag *d)
{
    int64_t first = INT64_MAX, last = INT64_MIN;
    int rc = 0;
    while (rc == 0 && av_read_frame(c->fmt, c->packet) >= 0) {
        const AVPacket *p = c->packet;
        if (p->stream_index == c->stream->index && p->pts != AV_NOPTS_VALUE) {
            first = FFMIN(first, p->pts);
            last = FFMAX(last, av_sat_add64(p->pts, p->duration));
        }
        av_packet_unref(c->packet);
        rc = sn_container_check(c, d);
    }
    *seconds = last > first ? (double)av_sat_sub64(last, first) * av_q2d(c->stream->time_base) : 0;
    return rc < 0 ? rc : sn_container_check(c, d);
}

bool sn_container_seek(struct sn_container *c, int64_t ts)
{
    if (av_seek_frame(c->fmt, c->stream->index, ts, AVSEEK_FLAG_BACKWARD) < 0)
        return false;
    avcodec_flush_buffers(c->codec);
    c->sent = c->draining = c->done = false;
    c->behind_seek = true;
    return true;
}

/* --- what the header says --- */

double sn_container_seconds(const struct sn_container *c, bool *from_header)
{
    const AVStream *st = c->stream;
    *from_header = false;
    if (c->fmt->duration_estimation_method != AVFMT_DURATION_FROM_STREAM)
        return c->fmt->duration > 0 ? (double)c->fmt->duration / AV_TIME_BASE : 0;
    *from_header = st->duration > 0 || c->fmt->nb_streams == 1;
    const double seconds = st->duration > 0 ? (double)st->duration * av_q2d(st->time_base)
                                            : (double)c->fmt->duration / AV_TIME_BASE;
    return seconds > 0 ? seconds : 0;
}

bool sn_container_was_cut(const struct sn_container *c, double seconds)
{
    const enum sn_tail tail = sn_container_tail(c);
    if (tail != SN_TAIL_UNKNOWN)
        return tail == SN_TAIL_CUT;
    bool from_header;
    const double promised = sn_container_seconds(c, &from_header);
    /* Encoders round to frames, and headers to milliseconds. */
    const double slack = FFMAX(0.2, 0.01 * promised);
    return c->gave_up || c->packet_damaged || (from_header && seconds < promised - slack);
}

/* --- for those who wait for a child --- */

void sn_container_clean_name(char name[24])
{
    name[23] = '\0';
    for (char *c = name; *c; c++)
        if (*c <= ' ' || *c > '~')
            *c = '?';
}

/* The child keeps to the limit by itself and says so better; this is for one that does not. */
uint32_t sn_container_child_ms(double work_seconds)
{
    return (uint32_t)FFMIN(work_seconds * 1000 + 2000, 4e9);
}
