#ifndef SN_MEDIA_SOUND_CONTAINER_H
#define SN_MEDIA_SOUND_CONTAINER_H
/* Internal to media/sound and media/video: a container opened by FFmpeg over our own input, with
 * one of its streams being decoded. Does what the ffmpeg program does with an input file, within
 * limits: allow-lists of demuxers and decoders, one thread, time spent, cancellation. */

#include "media/sound.h"

#include <sys/types.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

struct sn_container {
    /* set by the caller before sn_container_open() */
    struct sn_source in;
    bool mapped; /* in.bytes is a shared mapping: pages behind us need not stay in memory */
    const atomic_bool *cancel;
    uint64_t bytes_max;
    double work_max_s;
    int64_t pixels_max;    /* video */
    enum AVMediaType type; /* AVMEDIA_TYPE_AUDIO or _VIDEO: what will be decoded */

    /* valid after sn_container_open() */
    AVFormatContext *fmt;
    AVStream *stream;
    uint64_t n_damaged;

    AVIOContext *io;
    AVCodecContext *codec;
    AVPacket *packet;
    uint64_t size, at;        /* of the input, bytes */
    uint64_t dropped;         /* where `at` was when pages were given back */
    double work_s, entered_s; /* spent so far; start of the call that is under way */
    bool gave_up;             /* the demuxer, before the end */
    bool sent;           /* the decoder may hold frames */
    bool draining, done; /* it was told that the end has come; gave its last frame */
    bool behind_seek;    /* what fails lacks the frames before it: no damage; the caller ends it */
    bool packet_damaged; /* already counted */
    bool packet_short;   /* the demuxer found fewer bytes than it should */
};

/* FFmpeg's state that all containers share; by itself done when one is opened. */
void sn_container_prepare(void);

/* Opens the container, chooses the stream as ffmpeg does and opens its decoder. On error the caller
 * still calls sn_container_close(). */
int sn_container_open(struct sn_container *c, struct sn_diag *d);
void sn_container_close(struct sn_container *c); /* on a zeroed or half-opened one too */

/* The next decoded frame; *got = false at the end. The frame is unreferenced first. */
int sn_container_frame(struct sn_container *c, AVFrame *frame, bool *got, struct sn_diag *d);

/* Goes to the last keyframe at or before ts (the stream's time base); a container that cannot stays
 * where it is and false is returned. */
bool sn_container_seek(struct sn_container *c, int64_t ts);

/* Around each public call: the time between them counts as work. */
void sn_container_enter(struct sn_container *c);
void sn_container_leave(struct sn_container *c);

/* -SN_ECANCELLED or -SN_ELIMIT once it has to stop; 0. */
int sn_container_check(const struct sn_container *c, struct sn_diag *d);

/* How long it is, in seconds; 0 = unknown. from_header: said of this very stream, not estimated
 * from the bit rate or from other streams. */
double sn_container_seconds(const struct sn_container *c, bool *from_header);

/* Once the last frame was given, `seconds` of it in all: whether the file ended too early. */
bool sn_container_was_cut(const struct sn_container *c, double seconds);

/* Reads all packets, decoding none: when the last one ends, in seconds after the first. The
 * container is at its end then. */
int sn_container_scan(struct sn_container *c, double *seconds, struct sn_diag *d);

/* The demuxer's first name. */
void sn_container_name(const struct sn_container *c, char name[24]);

/* sound_input.c: the size against its limit, and FFmpeg's callbacks for reading and seeking. */
int sn_container_measure(struct sn_container *c, struct sn_diag *d);
int sn_container_read(void *container, uint8_t *to, int n);
int64_t sn_container_to(void *container, int64_t offset, int whence);

/* Up to n bytes of the source at an offset; how many, or < 0. */
ssize_t sn_container_peek(const struct sn_container *c, uint64_t at, uint8_t *to, size_t n);

/* What a child says of names is cut and made printable. */
void sn_container_clean_name(char name[24]);

/* How long to wait for a child that may work so long. */
uint32_t sn_container_child_ms(double work_seconds);

/* What the file's outermost structure says of its end. */
enum sn_tail {
    SN_TAIL_UNKNOWN,
    SN_TAIL_CUT,  /* the file is shorter than it should be */
    SN_TAIL_OPEN, /* written by a program that did not know the length: the file's end is the end */
};
enum sn_tail sn_container_tail(const struct sn_container *c);

#endif
