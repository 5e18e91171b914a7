#include "tests/test.h"

#include "base/diag.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/strbuf.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void diag_cuts_at_a_character(void **state)
{
    (void)state;
    struct sn_diag d;
    char text[600];
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = i % 2 ? '\xA9' : '\xC3'; /* a run of U+00E9 */
    text[sizeof text - 1] = '\0';
    assert_int_equal(sn_fail(&d, SN_ELIMIT, "x%s", text), -SN_ELIMIT);
    const size_t n = strlen(d.text);
    assert_true(n >= sizeof d.text - 3);
    assert_int_equal((unsigned char)d.text[n - 1], 0xA9);
    assert_int_equal(sn_fail(&d, SN_EFORMAT, "a\033[31mb\nc"), -SN_EFORMAT);
    assert_string_equal(d.text, "a?[31mb?c");
    assert_int_equal(sn_diag_prefix(&d, -SN_EFORMAT, "part %d", 2), -SN_EFORMAT);
    assert_string_equal(d.text, "part 2: a?[31mb?c");
}

static void strbuf_keeps_its_bound(void **state)
{
    (void)state;
    struct sn_strbuf b = {.max = 10};
    sn_strbuf_puts(&b, "12345");
    sn_strbuf_puts(&b, "67890");
    assert_false(b.failed);
    sn_strbuf_putc(&b, 'x');
    assert_true(b.failed);
    assert_null(sn_strbuf_take(&b));
    sn_strbuf_put_utf8(&b, 0x1F600);
    sn_strbuf_put_utf8(&b, 0xD800);
    char *s = sn_strbuf_take(&b);
    assert_string_equal(s, "\xF0\x9F\x98\x80\xEF\xBF\xBD");
    sn_free(s);
}

static void allocation_can_be_made_to_fail(void **state)
{
    (void)state;
    sn_test_fail_alloc(2);
    void *a = sn_calloc(1, 8), *b = sn_calloc(1, 8), *c = sn_calloc(1, 8);
    sn_test_fail_alloc(0);
    assert_non_null(a);
    assert_null(b);
    assert_non_null(c);
    assert_null(sn_malloc_array(SIZE_MAX / 2, 3));
    sn_free(a);
    sn_free(c);
}

static void files_are_replaced_whole(void **state)
{
    (void)state;
    struct sn_diag d;
    sn_diag_init(&d);
    char dir[] = "/tmp/sn-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *sub = sn_path_join(dir, "a/b");
    assert_int_equal(sn_mkdirs(sub, &d), 0);
    assert_int_equal(sn_mkdirs(sub, &d), 0);
    char *path = sn_path_join(sub, "f");
    assert_int_equal(sn_file_write(path, "hello", 5, &d), 0);
    char *got;
    size_t n;
    assert_int_equal(sn_file_read(path, 5, &got, &n, &d), 0);
    assert_int_equal(n, 5);
    assert_string_equal(got, "hello");
    sn_free(got);
    assert_int_equal(sn_file_read(path, 4, &got, &n, &d), -SN_ELIMIT);
    struct sn_map m;
    assert_int_equal(sn_map_open(path, &m, &d), 0);
    assert_memory_equal(m.data, "hello", 5);
    sn_map_close(&m);
    assert_int_equal(sn_map_open(dir, &m, &d), -SN_EINVAL);
    char hex[65];
    assert_int_equal(sn_sha256_file(path, hex, &d), 0);
    assert_string_equal(hex, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    unlink(path);
    assert_int_equal(sn_map_open(path, &m, &d), -SN_ENOENT);
    rmdir(sub);
    sub[strlen(sub) - 2] = '\0';
    rmdir(sub);
    rmdir(dir);
    sn_free(path);
    sn_free(sub);
}

struct count {
    atomic_uchar *hits;
    atomic_uint bad_thread;
    unsigned n_threads;
};
static void touch(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct count *c = ctx;
    if (thread >= c->n_threads)
        atomic_fetch_add(&c->bad_thread, 1);
    for (size_t i = begin; i < end; i++)
        atomic_fetch_add(&c->hits[i], 1);
}

static void pool_visits_each_item_once(void **state)
{
    (void)state;
    struct sn_diag d;
    for (unsigned threads = 1; threads <= 5; threads++) {
        struct sn_pool *p = NULL;
        assert_int_equal(sn_pool_new(&(struct sn_pool_cfg){.n_threads = threads}, &p, &d), 0);
        struct count c = {.n_threads = threads};
        c.hits = calloc(1000, sizeof *c.hits);
        for (size_t n = 0; n < 1000; n += 37)
            for (size_t grain = 1; grain < 70; grain += 23) {
                memset((void *)c.hits, 0, 1000);
                sn_pool_run(p, n, grain, touch, &c);
                for (size_t i = 0; i < 1000; i++)
                    assert_int_equal(c.hits[i], i < n);
            }
        usleep(30000); /* let them park, then wake them again */
        memset((void *)c.hits, 0, 1000);
        sn_pool_run(p, 1000, 1, touch, &c);
        for (size_t i = 0; i < 1000; i++)
            assert_int_equal(c.hits[i], 1);
        assert_int_equal(c.bad_thread, 0);
        free((void *)c.hits);
        sn_pool_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(diag_cuts_at_a_character),
        cmocka_unit_test(strbuf_keeps_its_bound),
        cmocka_unit_test(allocation_can_be_made_to_fail),
        cmocka_unit_test(files_are_replaced_whole),
        cmocka_unit_test(pool_visits_each_item_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
