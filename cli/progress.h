#ifndef SN_CLI_PROGRESS_H
#define SN_CLI_PROGRESS_H
/* A progress bar on standard error: share, amount, rate, time left. It draws only when that is a
 * terminal, at most ten times a second. */

#include <stdbool.h>
#include <stdint.h>

struct sn_progress {
    bool on;
    bool bytes;            /* amounts are bytes; else plain counts */
    char stage[24];
    double began, drawn;   /* seconds, monotonic */
    uint64_t first, total; /* where this stage began; 0: total not known */
    bool visible;
};

/* "1.5 GB", "98.4 MB", "12 kB": powers of 1000, three digits or so. */
void sn_format_bytes(char *to, unsigned size, uint64_t n);
/* 134.5 M, 7.24 B, 999 */
void sn_format_count(char *to, unsigned size, uint64_t n);

/* `quiet`: never draw. */
void sn_progress_start(struct sn_progress *p, bool bytes, bool quiet);
/* A new stage starts a new rate. total 0: not known. */
void sn_progress_set(struct sn_progress *p, const char *stage, uint64_t done, uint64_t total);
/* Removes the bar, so that a line can be printed; a later _set draws it again. */
void sn_progress_clear(struct sn_progress *p);

#endif
