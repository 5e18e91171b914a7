/* The turn is one thread's at a time, goes to those who wait in order, and is shared by time. */
#include "tests/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "base/turn.h"

enum { THREADS = 3 };

struct worker {
    struct sn_turn *turn;
    atomic_int *inside;
    double piece_s, until_s, had_s;
    unsigned n_pieces, clashes;
};

static void work(double seconds)
{
    for (const double end = sn_clock_s() + seconds; sn_clock_s() < end;);
}

/* Many pieces in one turn, passed on between them. */
static void *run_pieces(void *arg)
{
    struct worker *w = arg;
    sn_turn_take(w->turn);
    while (sn_clock_s() < w->until_s) {
        const double begun = sn_clock_s();
        sn_turn_take(w->turn); /* as a pass within a stage does */
        w->clashes += atomic_fetch_add(w->inside, 1) != 0;
        work(w->piece_s);
        atomic_fetch_sub(w->inside, 1);
        sn_turn_give(w->turn);
        w->had_s += sn_clock_s() - begun;
        w->n_pieces++;
        sn_turn_pass(w->turn);
    }
    sn_turn_give(w->turn);
    return NULL;
}

static void run(struct worker *workers, size_t n, double seconds)
{
    pthread_t threads[THREADS];
    atomic_int inside = 0;
    struct sn_turn *turn;
    assert_int_equal(sn_turn_new(&turn, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        workers[i].turn = turn;
        workers[i].inside = &inside;
        workers[i].until_s = sn_clock_s() + seconds;
        assert_int_equal(pthread_create(&threads[i], NULL, run_pieces, &workers[i]), 0);
    }
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(workers[i].clashes, 0);
    }
    sn_turn_free(&turn);
}

static void long_and_short_pieces_have_like_shares(void **state)
{
    (void)state;
    struct worker w[2] = {{.piece_s = 0.001}, {.piece_s = 0.02}};
    run(w, 2, 1.0);
    assert_true(w[0].had_s > 0.3 * w[1].had_s && w[1].had_s > 0.3 * w[0].had_s);
}

static void nobody_is_left_out(void **state)
{
    (void)state;
    struct worker w[THREADS] = {{.piece_s = 0.0001}, {.piece_s = 0.001}, {.piece_s = 0.003}};
    run(w, THREADS, 0.5);
    for (size_t i = 0; i < THREADS; i++) assert_true(w[i].n_pieces > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_and_short_pieces_have_like_shares),
        cmocka_unit_test(nobody_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
