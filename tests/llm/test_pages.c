#include "tests/test.h"

#include <stdbool.h>

#include "base/mem.h"
#include "llm/pages.h"

static void pages_come_back_with_their_last_reference(void **state)
{
    (void)state;
    struct sn_diag d;
    struct sn_pages p;
    assert_int_equal(sn_pages_init(&p, 3, &d), 0);
    assert_int_equal(sn_pages_take(&p), 0); /* low pages first: less memory is touched */
    assert_int_equal(sn_pages_take(&p), 1);
    sn_pages_ref(&p, 0);
    sn_pages_ref(&p, 0);
    sn_pages_unref(&p, 0);
    sn_pages_unref(&p, 0);
    assert_int_equal(p.n_free, 1);
    sn_pages_unref(&p, 0);
    assert_int_equal(p.n_free, 2);
    assert_int_equal(sn_pages_take(&p), 0);
    sn_pages_fini(&p);
    assert_int_equal(sn_pages_init(&p, (size_t)INT32_MAX + 1, &d), -SN_ELIMIT);
}

/* Random taking, sharing and dropping against plain counters. */
static void no_page_is_lost_or_given_twice(void **state)
{
    (void)state;
    enum { N = 50 };
    struct sn_diag d;
    struct sn_pages p;
    int refs[N] = {0};
    size_t n_free = N;
    uint64_t seed = 21;
    assert_int_equal(sn_pages_init(&p, N, &d), 0);
    for (int i = 0; i < 20000; i++) {
        const size_t at = test_rand(&seed) % N, what = test_rand(&seed) % 3;
        if (what == 0 && p.n_free) {
            const int32_t page = sn_pages_take(&p);
            assert_in_range(page, 0, N - 1);
            assert_int_equal(refs[page]++, 0);
            n_free--;
        } else if (what == 1 && refs[at]) {
            sn_pages_ref(&p, (int32_t)at);
            refs[at]++;
        } else if (what == 2 && refs[at]) {
            sn_pages_unref(&p, (int32_t)at);
            n_free += --refs[at] == 0;
        }
        assert_int_equal(p.n_free, n_free);
    }
    sn_pages_fini(&p);
}

static void memory_may_run_out(void **state)
{
    (void)state;
    for (long n = 1; n <= 2; n++) {
        struct sn_diag d;
        struct sn_pages p;
        sn_test_fail_alloc(n);
        assert_int_equal(sn_pages_init(&p, 10, &d), -SN_ENOMEM);
        sn_test_fail_alloc(0);
        sn_pages_fini(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_come_back_with_their_last_reference),
        cmocka_unit_test(no_page_is_lost_or_given_twice),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
