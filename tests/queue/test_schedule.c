/* Who is next: priorities that age, turns of tenants and their shares, jobs that have to be alone, delays,
 * deadlines; and the heap below, against sorting. */
#include "config.h"
#include "queue/schedule.h"

#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

enum { MAX = 512 };

struct rig {
    struct sn_schedule *s;
    struct sn_ticket t[MAX];
    size_t n;
};

static void setup(struct rig *r)
{
    *r = (struct rig){0};
    assert_int_equal(sn_schedule_new(&r->s, NULL), 0);
}

static struct sn_ticket *add(struct rig *r, const char *tenant, const char *share, int priority,
                             int64_t since_ms)
{
    struct sn_ticket *t = &r->t[r->n++];
    *t = (struct sn_ticket){.n = r->n, .priority = priority, .since_ms = since_ms,
                            .lane = sn_schedule_lane(r->s, tenant, share)};
    assert_non_null(t->lane);
    sn_schedule_add(r->s, t, 0);
    return t;
}

static uint64_t take(struct rig *r)
{
    const struct sn_ticket *t = sn_schedule_take(r->s, 0);
    return t ? t->n : 0;
}

static void teardown(struct rig *r)
{
    for (size_t i = 0; i < r->n; i++) {
        sn_schedule_remove(r->s, &r->t[i]);
        sn_schedule_set_deadline(r->s, &r->t[i], 0);
        sn_schedule_lane_unref(r->s, &r->t[i].lane);
    }
    assert_null(sn_schedule_party(r->s, "a"));
    sn_schedule_free(&r->s);
}

static void higher_priority_goes_first_and_equals_in_order(void **state)
{
    static struct rig r;
    (void)state;
    setup(&r);
    add(&r, "a", "", 0, 1000);
    add(&r, "a", "", 5, 1000);
    add(&r, "a", "", 0, 1000);
    add(&r, "a", "", -5, 1000);
    static const uint64_t want[] = {2, 1, 3, 4, 0};
    for (size_t i = 0; i < 5; i++) assert_int_equal(take(&r), want[i]);
    teardown(&r);
}

static void waiting_six_seconds_is_worth_one(void **state)
{
    static struct rig r;
    (void)state;
    setup(&r);
    add(&r, "a", "", 10, 60001); /* 1: came 60 s after the others */
    add(&r, "a", "", 0, 0);      /* 2: has aged by just more */
    add(&r, "a", "", 0, 2);      /* 3: by just less */
    assert_int_equal(take(&r), 2);
    assert_int_equal(take(&r), 1);
    assert_int_equal(take(&r), 3);
    teardown(&r);
}

static void tenants_take_turns_whatever_they_have(void **state)
{
    static struct rig r;
    size_t of_b = 0;
    (void)state;
    setup(&r);
    for (int i = 0; i < 100; i++) add(&r, "a", "", 100, 0);
    for (int i = 0; i < 10; i++) add(&r, "b", "", -100, 1000000);
    for (int i = 0; i < 20; i++) of_b += take(&r) > 100;
    assert_int_equal(of_b, 10);
    teardown(&r);
}

/* Ten shares are not ten turns. */
static void shares_take_turns_within_their_tenants(void **state)
{
    static struct rig r;
    size_t of_tenant[2] = {0}, of_share[4] = {0};
    (void)state;
    setup(&r);
    static const char *const shares[] = {"x", "y", "z"};
    for (int i = 0; i < 90; i++) add(&r, "a", shares[i % 3], 0, 0);
    for (int i = 0; i < 90; i++) add(&r, "b", "", 0, 0);
    for (int i = 0; i < 60; i++) {
        const struct sn_ticket *t = sn_schedule_take(r.s, 0);
        assert_non_null(t);
        of_tenant[strcmp(t->lane->party->name, "b") == 0]++;
        of_share[*t->lane->share ? t->lane->share[0] - 'x' : 3]++;
    }
    assert_int_equal(of_tenant[0], 30);
    assert_int_equal(of_tenant[1], 30);
    for (int i = 0; i < 3; i++) assert_int_equal(of_share[i], 10);
    teardown(&r);
}

static void urgent_ones_go_before_all_turns(void **state)
{
    static struct rig r;
    (void)state;
    setup(&r);
    add(&r, "a", "", 100, 0);
    struct sn_ticket *t = &r.t[r.n++];
    *t = (struct sn_ticket){.n = 2, .urgent = true, .lane = sn_schedule_lane(r.s, "b", "")};
    sn_schedule_add(r.s, t, 0);
    assert_int_equal(take(&r), 2);
    assert_int_equal(take(&r), 1);
    teardown(&r);
}

static void one_that_has_to_be_alone_waits_for_all_and_all_for_it(void **state)
{
    static struct rig r;
    (void)state;
    setup(&r);
    add(&r, "a", "", 100, 0);
    struct sn_ticket *t = &r.t[r.n++];
    *t = (struct sn_ticket){.n = 2, .alone = true, .lane = sn_schedule_lane(r.s, "b", "")};
    sn_schedule_add(r.s, t, 0);
    assert_null(sn_schedule_take(r.s, 3));
    assert_true(sn_schedule_is_ready(r.s));
    assert_int_equal(take(&r), 2);
    assert_int_equal(take(&r), 1);
    teardown(&r);
}

static void delayed_ones_come_when_it_is_time(void **state)
{
    static struct rig r;
    (void)state;
    setup(&r);
    assert_int_equal(sn_schedule_wake_ms(r.s), INT64_MAX);
    struct sn_ticket *t = add(&r, "a", "", 0, 0);
    sn_schedule_remove(r.s, t);
    sn_schedule_add(r.s, t, 500);
    assert_false(sn_schedule_is_ready(r.s));
    assert_int_equal(sn_schedule_wake_ms(r.s), 500);
    assert_false(sn_schedule_wake(r.s, 499));
    assert_int_equal(take(&r), 0);
    assert_true(sn_schedule_wake(r.s, 500));
    assert_int_equal(take(&r), 1);
    teardown(&r);
}

static void deadlines_come_in_order_of_time(void **state)
{
    static struct rig r;
    (void)state;
    setup(&r);
    for (int i = 0; i < 3; i++) sn_schedule_set_deadline(r.s, add(&r, "a", "", 0, 0), 300 - i);
    assert_int_equal(sn_schedule_first_deadline(r.s)->n, 3);
    sn_schedule_set_deadline(r.s, &r.t[2], 1000);
    assert_int_equal(sn_schedule_first_deadline(r.s)->n, 2);
    sn_schedule_set_deadline(r.s, &r.t[1], 0);
    sn_schedule_set_deadline(r.s, &r.t[0], 0);
    assert_int_equal(sn_schedule_first_deadline(r.s)->n, 3);
    teardown(&r);
}

static int by_key(const void *a, const void *b)
{
    const struct sn_heap_node *x = *(struct sn_heap_node *const *)a, *y = *(struct sn_heap_node *const *)b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->tie < y->tie ? -1 : x->tie > y->tie;
}

static void the_heap_gives_what_sorting_gives(void **state)
{
    static struct sn_heap_node nodes[MAX];
    struct sn_heap_node *in[MAX];
    uint64_t seed = 42;
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct sn_heap h = {0};
        size_t n = 0;
        for (size_t i = 0; i < MAX; i++) {
            nodes[i] = (struct sn_heap_node){.key = (int64_t)(test_rand(&seed) % 64), .tie = i};
            sn_heap_push(&h, &nodes[i]);
            in[n++] = &nodes[i];
            if (test_rand(&seed) % 3) continue;
            const size_t gone = test_rand(&seed) % n; /* from anywhere */
            sn_heap_remove(&h, in[gone]);
            in[gone] = in[--n];
        }
        qsort(in, n, sizeof *in, by_key);
        for (size_t i = 0; i < n; i++) {
            assert_ptr_equal(h.top, in[i]);
            sn_heap_remove(&h, h.top);
        }
        assert_null(h.top);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(higher_priority_goes_first_and_equals_in_order),
        cmocka_unit_test(waiting_six_seconds_is_worth_one),
        cmocka_unit_test(tenants_take_turns_whatever_they_have),
        cmocka_unit_test(shares_take_turns_within_their_tenants),
        cmocka_unit_test(urgent_ones_go_before_all_turns),
        cmocka_unit_test(one_that_has_to_be_alone_waits_for_all_and_all_for_it),
        cmocka_unit_test(delayed_ones_come_when_it_is_time),
        cmocka_unit_test(deadlines_come_in_order_of_time),
        cmocka_unit_test(the_heap_gives_what_sorting_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
