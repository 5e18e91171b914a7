/* All jobs age alike, so that who of two goes first never changes while they wait: priority + waited / 6 s
 * orders them as  since - priority * 6 s  does. Tenants that have jobs waiting stand in a ring, each
 * with a ring of its shares that have; s->turn and party->turn point to who is next. */
#include "config.h"
#include "queue/schedule.h"

#include <string.h>
#include <sys/random.h>

#include "base/mem.h"

struct sn_schedule {
    uint64_t seed;
    struct sn_table parties, lanes;
    struct sn_ring *turn; /* of parties; NULL: none */
    struct sn_heap alone, urgent, delayed, deadlines;
};

int sn_schedule_new(struct sn_schedule **out, struct sn_diag *d)
{
    struct sn_schedule *s = sn_calloc(1, sizeof *s);
    if (!s || !sn_table_init(&s->parties) || !sn_table_init(&s->lanes)) {
        sn_schedule_free(&s);
        return sn_fail(d, SN_ENOMEM, "schedule: no memory");
    }
    if (getrandom(&s->seed, sizeof s->seed, 0) != sizeof s->seed) s->seed = (uintptr_t)s;
    *out = s;
    return 0;
}

void sn_schedule_free(struct sn_schedule **sp)
{
    struct sn_schedule *s = *sp;
    if (!s) return;
    sn_table_fini(&s->parties);
    sn_table_fini(&s->lanes);
    sn_free(s);
    *sp = NULL;
}

/* --- rings: *turn is the element whose turn it is --- */

/* Last of the round. */
static void ring_join(struct sn_ring **turn, struct sn_ring *r)
{
    if (!*turn) {
        r->next = r->prev = r;
        *turn = r;
        return;
    }
    r->next = *turn;
    r->prev = (*turn)->prev;
    r->prev->next = r;
    r->next->prev = r;
}

static void ring_leave(struct sn_ring **turn, struct sn_ring *r)
{
    if (r->next == r) {
        *turn = NULL;
    } else {
        r->next->prev = r->prev;
        r->prev->next = r->next;
        if (*turn == r) *turn = r->next;
    }
}

/* --- tenants and shares --- */

struct sn_party *sn_schedule_party(const struct sn_schedule *s, const char *tenant)
{
    struct sn_link *l = sn_table_first(&s->parties, sn_hash_text(s->seed, tenant));
    for (; l; l = sn_table_next(l)) {
        struct sn_party *p = SN_CONTAINER(l, struct sn_party, link);
        if (strcmp(p->name, tenant) == 0) return p;
    }
    return NULL;
}

static struct sn_lane *find_lane(const struct sn_schedule *s, const struct sn_party *p, const char *share)
{
    struct sn_link *l = sn_table_first(&s->lanes, sn_hash_text(p->link.hash, share));
    for (; l; l = sn_table_next(l)) {
        struct sn_lane *lane = SN_CONTAINER(l, struct sn_lane, link);
        if (lane->party == p && strcmp(lane->share, share) == 0) return lane;
    }
    return NULL;
}

static struct sn_party *new_party(struct sn_schedule *s, const char *tenant)
{
    const size_t n = strlen(tenant) + 1;
    struct sn_party *p = sn_calloc(1, sizeof *p + n);
    if (!p) return NULL;
    memcpy(p->name, tenant, n);
    sn_table_add(&s->parties, &p->link, sn_hash_text(s->seed, tenant));
    return p;
}

static void drop_if_unused(struct sn_schedule *s, struct sn_party *p)
{
    if (p->n_lanes) return;
    sn_table_remove(&s->parties, &p->link);
    sn_free(p);
}

struct sn_lane *sn_schedule_lane(struct sn_schedule *s, const char *tenant, const char *share)
{
    struct sn_party *p = sn_schedule_party(s, tenant);
    struct sn_lane *lane = p ? find_lane(s, p, share) : NULL;
    const size_t n = strlen(share) + 1;
    if (!p) p = new_party(s, tenant);
    if (!p) return NULL;
    if (!lane) {
        lane = sn_calloc(1, sizeof *lane + n);
        if (!lane) {
            drop_if_unused(s, p);
            return NULL;
        }
        memcpy(lane->share, share, n);
        lane->party = p;
        p->n_lanes++;
        sn_table_add(&s->lanes, &lane->link, sn_hash_text(p->link.hash, share));
    }
    lane->n_refs++;
    return lane;
}

void sn_schedule_lane_unref(struct sn_schedule *s, struct sn_lane **lp)
{
    struct sn_lane *lane = *lp;
    *lp = NULL;
    if (!lane || --lane->n_refs) return;
    struct sn_party *p = lane->party;
    sn_table_remove(&s->lanes, &lane->link);
    sn_free(lane);
    p->n_lanes--;
    drop_if_unused(s, p);
}

/* --- in and out --- */

static void wait_in_lane(struct sn_schedule *s, struct sn_ticket *t)
{
    struct sn_lane *lane = t->lane;
    if (!lane->waiting.top) {
        if (!lane->party->turn) ring_join(&s->turn, &lane->party->ring);
        ring_join(&lane->party->turn, &lane->ring);
    }
    t->turn.key = t->since_ms - (int64_t)t->priority * SN_AGEING_MS;
    sn_heap_push(&lane->waiting, &t->turn);
}

static void leave_lane(struct sn_schedule *s, struct sn_ticket *t)
{
    struct sn_lane *lane = t->lane;
    sn_heap_remove(&lane->waiting, &t->turn);
    if (lane->waiting.top) return;
    ring_leave(&lane->party->turn, &lane->ring);
    if (!lane->party->turn) ring_leave(&s->turn, &lane->party->ring);
}

void sn_schedule_add(struct sn_schedule *s, struct sn_ticket *t, int64_t not_before_ms)
{
    t->turn = (struct sn_heap_node){.tie = t->n};
    if (not_before_ms) {
        t->place = SN_PLACE_DELAYED;
        t->turn.key = not_before_ms;
        sn_heap_push(&s->delayed, &t->turn);
    } else if (t->alone) {
        t->place = SN_PLACE_ALONE;
        sn_heap_push(&s->alone, &t->turn);
    } else if (t->urgent) {
        t->place = SN_PLACE_URGENT;
        sn_heap_push(&s->urgent, &t->turn);
    } else {
        t->place = SN_PLACE_WAITING;
        wait_in_lane(s, t);
    }
}

void sn_schedule_remove(struct sn_schedule *s, struct sn_ticket *t)
{
    switch (t->place) {
    case SN_PLACE_NONE: break;
    case SN_PLACE_WAITING: leave_lane(s, t); break;
    case SN_PLACE_DELAYED: sn_heap_remove(&s->delayed, &t->turn); break;
    case SN_PLACE_URGENT: sn_heap_remove(&s->urgent, &t->turn); break;
    case SN_PLACE_ALONE: sn_heap_remove(&s->alone, &t->turn); break;
    }
    t->place = SN_PLACE_NONE;
}

static struct sn_ticket *ticket_of(struct sn_heap_node *n)
{
    return SN_CONTAINER(n, struct sn_ticket, turn);
}

static struct sn_ticket *whose_turn(struct sn_schedule *s)
{
    if (s->urgent.top) return ticket_of(s->urgent.top);
    if (!s->turn) return NULL;
    struct sn_party *p = SN_CONTAINER(s->turn, struct sn_party, ring);
    struct sn_lane *lane = SN_CONTAINER(p->turn, struct sn_lane, ring);
    s->turn = s->turn->next;
    p->turn = p->turn->next;
    return ticket_of(lane->waiting.top);
}

struct sn_ticket *sn_schedule_take(struct sn_schedule *s, size_t n_running)
{
    if (s->alone.top && n_running) return NULL;
    struct sn_ticket *t = s->alone.top ? ticket_of(s->alone.top) : whose_turn(s);
    if (t) sn_schedule_remove(s, t);
    return t;
}

bool sn_schedule_is_ready(const struct sn_schedule *s)
{
    return s->alone.top || s->urgent.top || s->turn;
}

/* --- time --- */

int64_t sn_schedule_wake_ms(const struct sn_schedule *s)
{
    return s->delayed.top ? s->delayed.top->key : INT64_MAX;
}

bool sn_schedule_wake(struct sn_schedule *s, int64_t now_ms)
{
    bool any = false;
    for (; s->delayed.top && s->delayed.top->key <= now_ms; any = true) {
        struct sn_ticket *t = ticket_of(s->delayed.top);
        sn_schedule_remove(s, t);
        sn_schedule_add(s, t, 0);
    }
    return any;
}

void sn_schedule_set_deadline(struct sn_schedule *s, struct sn_ticket *t, int64_t at_ms)
{
    if (t->has_deadline) sn_heap_remove(&s->deadlines, &t->deadline);
    t->has_deadline = at_ms != 0;
    t->deadline = (struct sn_heap_node){.key = at_ms, .tie = t->n};
    if (at_ms) sn_heap_push(&s->deadlines, &t->deadline);
}

struct sn_ticket *sn_schedule_first_deadline(const struct sn_schedule *s)
{
    return s->deadlines.top ? SN_CONTAINER(s->deadlines.top, struct sn_ticket, deadline) : NULL;
}
