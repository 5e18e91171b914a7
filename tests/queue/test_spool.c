/* Media in the spool: contents, hashes, whose they are, what is left of them; paths; files that vanish. */
#define _GNU_SOURCE
#include "config.h"
#include "queue/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "tests/queue/rig.h"
#include "tests/test.h"

static struct sn_queue_medium frame(const void *bytes, size_t n)
{
    return (struct sn_queue_medium){.from = SN_FROM_FRAME, .kind = SN_MEDIUM_IMAGE, .bytes = bytes, .n = n};
}

static struct sn_queue_medium by_hash(const struct sn_digest *sha256)
{
    return (struct sn_queue_medium){.from = SN_FROM_HASH, .kind = SN_MEDIUM_IMAGE, .sha256 = *sha256};
}

static void check_file(const char *path, const void *bytes, size_t n)
{
    char *found = NULL;
    size_t n_found = 0;
    struct stat st;
    struct sn_diag d;
    assert_int_equal(sn_file_read(path, n + 1, &found, &n_found, &d), 0);
    assert_int_equal(n_found, n);
    assert_memory_equal(found, bytes, n);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    sn_free(found);
}

static void media_are_files_under_their_hash_once(void **state)
{
    struct rig r = {0};
    char *big = sn_malloc_array(3000000, 1);
    (void)state;
    assert_non_null(big);
    for (size_t i = 0; i < 3000000; i++) big[i] = (char)(i * 31 >> 3);
    const struct sn_queue_medium m[] = {frame("abc", 3), frame(big, 3000000), frame(NULL, 0),
                                        frame("abc", 3)};
    rig_open(&r);
    rig_accept(&r, &(struct rig_job){.media = m, .n_media = 4});
    assert_int_equal(rig_n_files(&r), 3);
    struct sn_claim c;
    char hex[65];
    assert_true(sn_queue_claim(r.q, 0, &c));
    assert_int_equal(c.n_media, 4);
    check_file(c.media[0].path, "abc", 3);
    check_file(c.media[1].path, big, 3000000);
    check_file(c.media[2].path, "", 0);
    assert_string_equal(c.media[0].path, c.media[3].path);
    assert_int_equal(c.media[1].file.size, 3000000);
    sn_digest_hex(&c.media[0].sha256, hex); /* FIPS 180-2, B.1 */
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    struct sn_queue_stats s;
    sn_queue_stats(r.q, &s);
    assert_int_equal(s.spool_bytes, 3000003);
    rig_close(&r);
    rig_open(&r);
    sn_queue_stats(r.q, &s);
    assert_int_equal(s.spool_bytes, 3000003);
    assert_int_equal(rig_n_files(&r), 3);
    rig_end(&r);
    sn_free(big);
}

static void what_was_sent_can_be_named_by_its_hash_but_by_nobody_else(void **state)
{
    struct rig r = {0};
    const struct sn_queue_medium sent = frame("secret", 6);
    (void)state;
    rig_open(&r);
    const struct sn_job_id first =
        rig_accept(&r, &(struct rig_job){.tenant = "alice", .media = &sent, .n_media = 1});
    struct sn_claim c;
    assert_true(sn_queue_claim(r.q, 0, &c));
    const struct sn_digest sha256 = c.media[0].sha256;
    const uint64_t token = c.token;
    const struct sn_queue_medium named = by_hash(&sha256);
    const struct rig_job again = {.tenant = "alice", .media = &named, .n_media = 1},
                         probe = {.tenant = "bob", .media = &named, .n_media = 1};
    assert_string_equal(rig_try(&r, &probe).code, "unknown_hash");
    /* Also where bob has a folder, and even the same bytes under another name do not help him to hers. */
    const struct sn_queue_medium own = frame("x", 1);
    const struct sn_job_id of_bob =
        rig_accept(&r, &(struct rig_job){.tenant = "bob", .media = &own, .n_media = 1});
    assert_string_equal(rig_try(&r, &probe).code, "unknown_hash");
    const struct sn_job_id second = rig_accept(&r, &again);
    /* It is known while a job that has it is kept. */
    rig_finish(&r, token, "{}");
    rig_wait_state(&r, first, SN_JOB_DONE);
    assert_false(rig_order(&r, sn_queue_delete, NULL, first).refused);
    const struct sn_job_id third = rig_accept(&r, &again);
    assert_int_equal(rig_n_files(&r), 2);
    const struct sn_job_id left[] = {second, third, of_bob};
    for (int i = 0; i < 3; i++) {
        rig_order(&r, sn_queue_cancel, NULL, left[i]);
        assert_false(rig_order(&r, sn_queue_delete, NULL, left[i]).refused);
    }
    assert_int_equal(rig_n_files(&r), 0);
    assert_string_equal(rig_try(&r, &again).code, "unknown_hash");
    rig_end(&r);
}

/* Names of tenants are names of folders in some way, and stay apart. */
static void strange_tenants_have_folders_of_their_own(void **state)
{
    static const char *const tenants[] = {"..", ".", "a/b", "a%2Fb", "a b", "\xc3\xa9", "A", "a", "%"};
    struct rig r = {0};
    const struct sn_queue_medium m = frame("same", 4);
    struct sn_claim c;
    (void)state;
    rig_open(&r);
    for (size_t i = 0; i < SN_COUNT(tenants); i++)
        rig_accept(&r, &(struct rig_job){.tenant = tenants[i], .media = &m, .n_media = 1});
    assert_int_equal(rig_n_files(&r), SN_COUNT(tenants));
    rig_close(&r);
    rig_open(&r); /* swept, with nothing that is wanted */
    assert_int_equal(rig_n_files(&r), SN_COUNT(tenants));
    for (size_t i = 0; sn_queue_claim(r.q, i, &c); i++) check_file(c.media[0].path, "same", 4);
    rig_end(&r);
}

static void a_path_is_handed_on_as_it_was(void **state)
{
    struct rig r = {0};
    const struct sn_queue_medium m = {
        .from = SN_FROM_PATH, .kind = SN_MEDIUM_VIDEO, .path = "/data/film.mkv", .file = {1, 2, 3, -4, 5}};
    struct sn_claim c;
    (void)state;
    rig_open(&r);
    rig_accept(&r, &(struct rig_job){.media = &m, .n_media = 1});
    rig_close(&r);
    rig_open(&r);
    assert_true(sn_queue_claim(r.q, 0, &c));
    assert_string_equal(c.media[0].path, "/data/film.mkv");
    assert_int_equal(c.media[0].kind, SN_MEDIUM_VIDEO);
    assert_memory_equal(&c.media[0].file, &m.file, sizeof m.file);
    assert_false(sn_digest_known(&c.media[0].sha256));
    rig_end(&r);
}

static void a_file_that_vanished_fails_its_job_alone(void **state)
{
    struct rig r = {0};
    const struct sn_queue_medium gone = frame("gone", 4), stays = frame("stays", 5);
    char command[160];
    struct sn_claim c;
    (void)state;
    rig_open(&r);
    const struct sn_job_id lost =
        rig_accept(&r, &(struct rig_job){.media = &gone, .n_media = 1, .priority = 9});
    snprintf(command, sizeof command, "rm %s/spool/local/*", r.folder);
    assert_int_equal(system(command), 0);
    const struct sn_job_id well = rig_accept(&r, &(struct rig_job){.media = &stays, .n_media = 1});
    assert_true(sn_queue_claim(r.q, 0, &c));
    assert_int_equal(c.id.n, well.n);
    rig_wait_state(&r, lost, SN_JOB_FAILED);
    assert_non_null(strstr(rig_get(&r, NULL, lost).result, "\"code\":\"media_missing\""));
    rig_end(&r);
}

static void leftovers_of_a_crash_are_swept(void **state)
{
    struct rig r = {0};
    const struct sn_queue_medium m = frame("wanted", 6);
    char command[512];
    (void)state;
    rig_open(&r);
    rig_accept(&r, &(struct rig_job){.media = &m, .n_media = 1});
    rig_close(&r);
    snprintf(command, sizeof command,
             "cd %s/spool && mkdir other && echo x >local/%064d && echo x >other/%064d && "
             "echo x >local/%064d.7.tmp && echo x >local/notes",
             r.folder, 1, 2, 3);
    assert_int_equal(system(command), 0);
    rig_open(&r);
    assert_int_equal(rig_n_files(&r), 2); /* what is wanted, and what is not ours */
    rig_end(&r);
}

/* Files that come and go while others want the same. */
static void files_that_are_shared_are_never_lost(void **state)
{
    struct rig r = {0};
    const struct sn_queue_medium m = frame("shared by all", 13);
    static struct rig_answer a[8], deleted;
    uint64_t seed = 7;
    struct sn_job_id previous = {0};
    (void)state;
    rig_open(&r);
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 8; i++) rig_submit(&r, &(struct rig_job){.media = &m, .n_media = 1}, &a[i]);
        deleted = (struct rig_answer){.came = true};
        if (previous.n && test_rand(&seed) % 2) {
            deleted.came = false;
            sn_queue_delete(r.q, NULL, previous, rig_asked, &deleted);
        }
        for (int i = 0; i < 8; i++) rig_wait(&r, &a[i]);
        rig_wait(&r, &deleted);
        for (int i = 0; i < 8; i++) {
            struct sn_claim c;
            assert_true(sn_queue_claim(r.q, 0, &c));
            assert_int_equal(c.n_media, 1);
            check_file(c.media[0].path, "shared by all", 13);
            rig_finish(&r, c.token, "{}");
        }
        for (int i = 0; i < 8; i++) rig_wait_state(&r, a[i].id, SN_JOB_DONE);
        for (int i = 1; i < 8; i++) assert_false(rig_order(&r, sn_queue_delete, NULL, a[i].id).refused);
        if (previous.n && rig_get(&r, NULL, previous).found)
            assert_false(rig_order(&r, sn_queue_delete, NULL, previous).refused);
        previous = a[0].id;
        assert_int_equal(rig_n_files(&r), 1);
    }
    assert_false(rig_order(&r, sn_queue_delete, NULL, previous).refused);
    assert_int_equal(rig_n_files(&r), 0);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(media_are_files_under_their_hash_once),
        cmocka_unit_test(what_was_sent_can_be_named_by_its_hash_but_by_nobody_else),
        cmocka_unit_test(strange_tenants_have_folders_of_their_own),
        cmocka_unit_test(a_path_is_handed_on_as_it_was),
        cmocka_unit_test(a_file_that_vanished_fails_its_job_alone),
        cmocka_unit_test(leftovers_of_a_crash_are_swept),
        cmocka_unit_test(files_that_are_shared_are_never_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
