#ifndef SN_PIPELINE_CUTTER_H
#define SN_PIPELINE_CUTTER_H
/* A recording, as it is read, cut into windows of at most 30 s that can be transcribed on their own:
 * where somebody pauses, else at 30 s sharp. What is silence, or noise without any rise in it, is passed
 * over. All of it goes by energy, measured every 10 ms, against the quietest and the loudest of the
 * half minute at hand; no more than that is in memory. */

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SN_WINDOW_SAMPLES = 480000 };

/* Up to max (> 0) samples of mono sound at 16 kHz; *got = 0 with 0 returned is the end. */
struct sn_sound_reader {
    int (*read)(void *ctx, float *pcm, size_t max, size_t *got, struct sn_diag *d);
    void *ctx;
};

struct sn_window {
    float *pcm;        /* (n) */
    size_t n;          /* <= SN_WINDOW_SAMPLES */
    uint64_t begin;    /* of the recording's samples */
    bool open;         /* cut where nobody paused: what follows starts where this one's text ends,
                        * which sn_cutter_go_on() has to be told */
};
void sn_window_fini(struct sn_window *w);

struct sn_cutter;
/* everything: nothing is passed over. */
int sn_cutter_new(const struct sn_sound_reader *in, bool everything, struct sn_cutter **out,
                  struct sn_diag *d);
void sn_cutter_free(struct sn_cutter **cp);

/* The next window; *got false: there is none any more, or (sn_cutter_waits()) an open window's end is
 * awaited. */
int sn_cutter_next(struct sn_cutter *c, struct sn_window *out, bool *got, struct sn_diag *d);
bool sn_cutter_waits(const struct sn_cutter *c);
/* After an open window: its text ended after n of its samples. */
void sn_cutter_go_on(struct sn_cutter *c, size_t n);

bool sn_cutter_ended(const struct sn_cutter *c); /* the recording is read and nothing of it is left */
uint64_t sn_cutter_position(const struct sn_cutter *c); /* samples that are dealt with */
uint64_t sn_cutter_heard(const struct sn_cutter *c);    /* samples read; at the end: all there are */

/* Whether there is anything but silence in n samples. */
bool sn_sound_is_heard(const float *pcm, size_t n);

#endif
