#ifndef SN_QUEUE_SCHEDULE_H
#define SN_QUEUE_SCHEDULE_H
/* Who is next. A pure data structure: times are what the caller says, and nothing but sn_schedule_lane()
 * can fail. Tenants have equal turns; in a tenant's turn its shares have; in a share's turn the job
 * with the highest priority is taken, which grows by one for every six seconds that it waits. Before them
 * all go the urgent ones, and before those the ones that have to be alone: they hold up the others. */

#include "base/diag.h"
#include "queue/heap.h"
#include "queue/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SN_AGEING_MS = 6000 };

struct sn_schedule;

struct sn_ring {
    struct sn_ring *next, *prev;
};
/* A tenant; there as long as a lane of it is. */
struct sn_party {
    struct sn_ring ring;
    struct sn_link link;
    struct sn_ring *turn; /* of its lanes; NULL: none has a job that waits */
    size_t n_lanes;
    size_t n_jobs;        /* these two: the caller's, for its bounds */
    uint64_t bytes;
    char name[];
};
/* A share of a tenant's. */
struct sn_lane {
    struct sn_ring ring;
    struct sn_link link;
    struct sn_party *party;
    struct sn_heap waiting;
    size_t n_refs;
    char share[];
};

enum sn_ticket_place { SN_PLACE_NONE, SN_PLACE_WAITING, SN_PLACE_DELAYED, SN_PLACE_URGENT, SN_PLACE_ALONE };
/* A job, as the schedule sees it: part of the caller's struct, zeroed at first. */
struct sn_ticket {
    struct sn_lane *lane;
    uint64_t n;           /* of equal ones the smaller goes first */
    int64_t since_ms;     /* it waits; on the clock of not_before_ms */
    int priority;
    bool urgent, alone;
    /* below: the schedule's */
    enum sn_ticket_place place;
    bool has_deadline;
    struct sn_heap_node turn, deadline;
};

int sn_schedule_new(struct sn_schedule **out, struct sn_diag *d);
void sn_schedule_free(struct sn_schedule **sp); /* no lanes are left */

/* One more reference to the lane of (tenant, share); NULL: no memory. */
struct sn_lane *sn_schedule_lane(struct sn_schedule *s, const char *tenant, const char *share);
void sn_schedule_lane_unref(struct sn_schedule *s, struct sn_lane **lp);
struct sn_party *sn_schedule_party(const struct sn_schedule *s, const char *tenant); /* NULL: has no jobs */

/* Into the schedule; not_before_ms 0: it may go at once. */
void sn_schedule_add(struct sn_schedule *s, struct sn_ticket *t, int64_t not_before_ms);
void sn_schedule_remove(struct sn_schedule *s, struct sn_ticket *t); /* nothing happens if it is not in */
/* Takes the next one out; NULL: none. n_running: how many are under way. */
struct sn_ticket *sn_schedule_take(struct sn_schedule *s, size_t n_running);
bool sn_schedule_is_ready(const struct sn_schedule *s);
/* Those whose time has come wait with the others from now on: true when there were any. */
bool sn_schedule_wake(struct sn_schedule *s, int64_t now_ms);
int64_t sn_schedule_wake_ms(const struct sn_schedule *s); /* INT64_MAX: none is delayed */

/* Deadlines, of jobs in the schedule or not, on a clock of their own. */
void sn_schedule_set_deadline(struct sn_schedule *s, struct sn_ticket *t, int64_t at_ms); /* 0: none */
struct sn_ticket *sn_schedule_first_deadline(const struct sn_schedule *s); /* key of its `deadline`: when */

#endif
