/* A disk that is full: a small tmpfs in a mount namespace of this process's own (skipped where that is not
 * permitted). Submissions are refused, with media and without; what runs ends all the same, once there is
 * room. */
#define _GNU_SOURCE
#include "config.h"
#include "queue/queue.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/queue/rig.h"
#include "tests/test.h"

enum { DISK_BYTES = 12 << 20, SKIPPED = 77 };

static const char *mount_point;

/* Takes all the room there is, but `leave` bytes. */
static void fill(const char *folder, size_t leave)
{
    char path[128];
    static char block[4096];
    snprintf(path, sizeof path, "%s/ballast", folder);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    off_t n = 0;
    while (write(fd, block, sizeof block) == sizeof block) n += sizeof block;
    assert_int_equal(ftruncate(fd, n - (off_t)leave), 0);
    close(fd);
}

static void make_room(const char *folder)
{
    char path[128];
    snprintf(path, sizeof path, "%s/ballast", folder);
    assert_int_equal(unlink(path), 0);
}

static void on_small_disk(struct rig *r, uint64_t reserve_bytes)
{
    *r = (struct rig){.cfg = {.disk_reserve_bytes = reserve_bytes}};
    snprintf(r->folder, sizeof r->folder, "%s/q", mount_point);
    rig_open(r);
}

static void a_full_disk_refuses_submissions_and_loses_no_result(void **state)
{
    struct rig r;
    static char big[1 << 20];
    const struct sn_queue_medium m = {.from = SN_FROM_FRAME, .bytes = big, .n = sizeof big};
    const struct rig_job with_picture = {.media = &m, .n_media = 1};
    struct sn_job_id jobs[40];
    uint64_t tokens[40];
    (void)state;
    memset(big, 'x', sizeof big);
    on_small_disk(&r, 1);
    for (int i = 0; i < 40; i++) jobs[i] = rig_accept(&r, &(struct rig_job){.retries = 3});
    for (size_t i = 0; i < 40; i++) tokens[i] = rig_claim(&r, i);
    rig_turn(&r, 1200); /* claims are written */
    fill(r.folder, 0);
    rig_turn(&r, 600);  /* so that the disk is looked at again */
    const struct rig_answer a = rig_try(&r, &with_picture);
    assert_string_equal(a.code, "disk_full");
    assert_in_range(a.retry_after_ms, 100, 60000);
    /* Finishes that need more than the log has: */
    char *text = sn_malloc_array(100002, 1);
    assert_non_null(text);
    snprintf(text, 100001, "{\"text\":\"%099980d\"}", 7);
    for (size_t i = 0; i < 40; i++) rig_finish(&r, tokens[i], text);
    sn_free(text);
    rig_turn(&r, 500);
    struct sn_queue_stats s;
    sn_queue_stats(r.q, &s);
    assert_non_null(strstr(s.trouble, "full"));
    assert_string_equal(rig_try(&r, &(struct rig_job){0}).code, "disk_full");
    assert_int_equal(rig_get(&r, NULL, jobs[0]).state, SN_JOB_RUNNING);
    make_room(r.folder);
    for (int i = 0; i < 40; i++) {
        rig_wait_state(&r, jobs[i], SN_JOB_DONE);
        assert_non_null(strstr(rig_get(&r, NULL, jobs[i]).result, "\"text\":\"0000"));
    }
    sn_queue_stats(r.q, &s);
    assert_string_equal(s.trouble, "");
    rig_turn(&r, 600);
    rig_accept(&r, &with_picture);
    rig_close(&r);
    rig_open(&r);
    rig_check_journal(&r);
    assert_int_equal(rig_n_files(&r), 1);
    rig_end(&r);
}

/* Also when statvfs() has not said so yet: writing says it. */
static void running_into_the_end_of_the_disk_leaves_nothing_behind(void **state)
{
    struct rig r;
    static char big[3 << 20];
    struct sn_queue_medium m = {.from = SN_FROM_FRAME, .bytes = big, .n = sizeof big};
    size_t n_accepted = 0, n_full = 0;
    (void)state;
    on_small_disk(&r, 1);
    static struct rig_answer a[8];
    static char bytes[8][3 << 20];
    static struct sn_queue_medium media[8];
    for (int i = 0; i < 8; i++) {
        memset(bytes[i], 'a' + i, sizeof bytes[i]);
        media[i] = m;
        media[i].bytes = bytes[i];
        rig_submit(&r, &(struct rig_job){.media = &media[i], .n_media = 1}, &a[i]);
    }
    for (int i = 0; i < 8; i++) {
        rig_wait(&r, &a[i]);
        n_accepted += !a[i].refused;
        n_full += a[i].refused && strcmp(a[i].code, "disk_full") == 0;
    }
    assert_in_range(n_accepted, 1, 3);
    assert_int_equal(n_accepted + n_full, 8);
    rig_turn(&r, 300);
    rig_close(&r);
    rig_open(&r);
    assert_int_equal(rig_n_files(&r), n_accepted);
    rig_check_journal(&r);
    rig_end(&r);
}

static void the_reserve_is_left_free(void **state)
{
    struct rig r;
    (void)state;
    on_small_disk(&r, DISK_BYTES);
    assert_string_equal(rig_try(&r, &(struct rig_job){0}).code, "disk_full");
    rig_end(&r);
}

int main(void)
{
    static char folder[] = "/tmp/sn-full-XXXXXX";
    char options[64];
    if (!mkdtemp(folder)) return 1;
    snprintf(options, sizeof options, "size=%d,mode=0700", DISK_BYTES);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", folder, "tmpfs", 0, options) != 0) {
        rmdir(folder);
        return SKIPPED;
    }
    mount_point = folder;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_refuses_submissions_and_loses_no_result),
        cmocka_unit_test(running_into_the_end_of_the_disk_leaves_nothing_behind),
        cmocka_unit_test(the_reserve_is_left_free),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    umount(folder);
    rmdir(folder);
    return failed;
}
