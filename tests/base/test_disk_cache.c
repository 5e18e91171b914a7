/* The cache on disk: what is written is read, by this process and others; whatever is wrong with a file
 * makes a miss of it; the bound holds; a folder where others may write is refused. */
#include "tests/test.h"

#include "base/disk_cache.h"
#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 80, MANY = 40 };

static char root[] = "/tmp/sensorium-disk-cache-XXXXXX";

static char *in_root(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static struct sn_disk_cache *open_cache(const char *name, uint64_t max)
{
    struct sn_diag d;
    struct sn_disk_cache *c = NULL;
    if (sn_disk_cache_open(in_root(name), max, &c, &d) < 0) fail_msg("%s", d.text);
    return c;
}

static struct sn_digest key_of(uint8_t i)
{
    return (struct sn_digest){{i, 7}};
}

static char *file_of(const char *folder, const struct sn_digest *key)
{
    static char path[256];
    char hex[65];
    sn_digest_hex(key, hex);
    snprintf(path, sizeof path, "%s/%s/%s.snc", root, folder, hex);
    return path;
}

static void fill(char *bytes, size_t n, uint8_t i)
{
    for (size_t k = 0; k < n; k++) bytes[k] = (char)(k * 31 + i);
}

static void write_one(struct sn_disk_cache *c, uint8_t i, size_t n)
{
    struct sn_diag d;
    char bytes[4096];
    const struct sn_digest key = key_of(i);
    fill(bytes, n, i);
    if (sn_disk_cache_write(c, &key, bytes, n, &d) < 0) fail_msg("%s", d.text);
}

static bool reads(struct sn_disk_cache *c, uint8_t i, size_t n)
{
    char bytes[4096], want[4096];
    const struct sn_digest key = key_of(i);
    fill(want, n, i);
    return sn_disk_cache_read(c, &key, bytes, n) && memcmp(bytes, want, n) == 0;
}

static void reads_what_was_written(void **state)
{
    (void)state;
    struct stat st;
    const struct sn_digest key = key_of(1);
    struct sn_disk_cache *c = open_cache("a/b/c//", 1 << 20), *other = open_cache("a/b/c", 1 << 20);
    assert_false(reads(c, 1, 100));
    write_one(c, 1, 100);
    write_one(c, 2, 0);
    assert_true(reads(c, 1, 100));
    assert_true(reads(other, 1, 100));
    assert_true(reads(other, 2, 0));
    assert_int_equal(stat(in_root("a/b/c"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(file_of("a/b/c", &key), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(sn_disk_cache_n_damaged(c), 0);
    sn_disk_cache_close(&other);
    sn_disk_cache_close(&c);
}

/* --- damage --- */

static size_t load(const char *path, char *bytes, size_t max)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    const size_t n = fread(bytes, 1, max, f);
    fclose(f);
    return n;
}

static void store(const char *path, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

/* A miss, and the file is gone. */
static void check_miss(struct sn_disk_cache *c, const char *path, size_t n_wanted, const char *what)
{
    struct stat st;
    const size_t n_damaged = sn_disk_cache_n_damaged(c);
    if (reads(c, 1, n_wanted)) fail_msg("%s: read as good", what);
    if (lstat(path, &st) == 0 && !S_ISDIR(st.st_mode)) fail_msg("%s: still there", what);
    assert_int_equal(sn_disk_cache_n_damaged(c), n_damaged + 1);
}

static void damage_is_a_miss(void **state)
{
    (void)state;
    enum { N = 40 };
    char good[256], bad[256];
    struct sn_disk_cache *c = open_cache("damage", 1 << 20);
    const struct sn_digest key = key_of(1), other = key_of(2);
    char path[256], path2[256];
    snprintf(path, sizeof path, "%s", file_of("damage", &key));
    snprintf(path2, sizeof path2, "%s", file_of("damage", &other));
    write_one(c, 1, N);
    const size_t size = load(path, good, sizeof good);
    assert_int_equal(size, HEADER + N);
    for (size_t i = 0; i < size; i++) {
        memcpy(bad, good, size);
        bad[i] = (char)(bad[i] ^ (1 << i % 8));
        store(path, bad, size);
        check_miss(c, path, N, "a bit fell over");
    }
    for (size_t n = 0; n < size; n += 7) {
        store(path, good, n);
        check_miss(c, path, N, "cut short");
    }
    memcpy(bad, good, size);
    store(path, bad, size + 1);
    check_miss(c, path, N, "longer");
    store(path, good, size);
    check_miss(c, path, N - 1, "another size is wanted");

    write_one(c, 2, N);
    assert_int_equal(rename(path2, path), 0);
    check_miss(c, path, N, "another key's file");
    assert_int_equal(symlink("/dev/zero", path), 0);
    check_miss(c, path, N, "a link");
    assert_int_equal(mkfifo(path, 0600), 0);
    check_miss(c, path, N, "a pipe");
    assert_int_equal(mkdir(path, 0700), 0);
    check_miss(c, path, N, "a folder");
    assert_int_equal(rmdir(path), 0);

    store(path, good, size);
    assert_true(reads(c, 1, N));
    sn_disk_cache_close(&c);
}

static void a_folder_of_others_is_refused(void **state)
{
    (void)state;
    struct sn_diag d;
    struct sn_disk_cache *c = NULL;
    assert_int_equal(mkdir(in_root("open"), 0700), 0);
    assert_int_equal(chmod(in_root("open"), 0777), 0);
    assert_int_equal(sn_disk_cache_open(in_root("open"), 1 << 20, &c, &d), -SN_EINVAL);
    assert_non_null(strstr(d.text, "777"));
    store(in_root("file"), "", 0);
    assert_int_equal(sn_disk_cache_open(in_root("file"), 1 << 20, &c, &d), -SN_EIO);
    assert_int_equal(sn_disk_cache_open(in_root("file/below"), 1 << 20, &c, &d), -SN_EIO);
}

/* --- room --- */

static uint64_t bytes_in(const char *folder, size_t *n)
{
    DIR *dir = opendir(in_root(folder));
    uint64_t sum = 0;
    *n = 0;
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir));) {
        struct stat st;
        if (e->d_name[0] == '.' || fstatat(dirfd(dir), e->d_name, &st, 0) != 0) continue;
        sum += (uint64_t)st.st_size;
        ++*n;
    }
    closedir(dir);
    return sum;
}

static void set_age(const char *path, long seconds)
{
    struct timespec t[2] = {{.tv_sec = time(NULL) - seconds}, {.tv_sec = time(NULL) - seconds}};
    assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

static void the_bound_holds(void **state)
{
    (void)state;
    enum { MAX = 8 * (1000 + HEADER) };
    size_t n;
    struct sn_disk_cache *c = open_cache("bound", MAX);
    for (uint8_t i = 1; i <= 8; i++) {
        const struct sn_digest key = key_of(i);
        write_one(c, i, 1000);
        set_age(file_of("bound", &key), 1000 - i);
    }
    assert_true(reads(c, 1, 1000)); /* the oldest, but now it was used */
    write_one(c, 9, 1000);
    assert_true(bytes_in("bound", &n) <= MAX);
    assert_true(reads(c, 1, 1000));
    assert_true(reads(c, 9, 1000));
    assert_false(reads(c, 2, 1000));
    for (uint8_t i = 10; i < 10 + MANY; i++) {
        write_one(c, i, 1000);
        assert_true(bytes_in("bound", &n) <= MAX);
        assert_true(reads(c, i, 1000));
    }
    struct sn_diag d;
    static char large[MAX];
    const struct sn_digest key = key_of(200);
    assert_int_equal(sn_disk_cache_write(c, &key, large, sizeof large, &d), -SN_ELIMIT);
    sn_disk_cache_close(&c);
}

/* Drafts of processes that died go, in time; what is not ours stays. */
static void leftovers_are_cleared(void **state)
{
    (void)state;
    char old[300], young[300], hex[65];
    const struct sn_digest key = key_of(3);
    sn_digest_hex(&key, hex);
    struct sn_disk_cache *c = open_cache("left", 1 << 20);
    snprintf(old, sizeof old, "%s/left/%s.snc.0123", root, hex);
    snprintf(young, sizeof young, "%s/left/%s.snc.4567", root, hex);
    store(old, "x", 1);
    store(young, "x", 1);
    store(in_root("left/note.txt"), "mine", 4);
    set_age(old, 7200);
    set_age(in_root("left/note.txt"), 7200);
    write_one(c, 1, 10);
    assert_int_not_equal(access(old, F_OK), 0);
    assert_int_equal(access(young, F_OK), 0);
    assert_int_equal(access(in_root("left/note.txt"), F_OK), 0);
    sn_disk_cache_close(&c);
}

/* Two processes write the same keys over and over; no reader ever sees half a file. */
static void processes_share_it(void **state)
{
    (void)state;
    struct sn_disk_cache *c = open_cache("shared", 1 << 20);
    pid_t child[2];
    for (int k = 0; k < 2; k++) {
        child[k] = fork();
        assert_true(child[k] >= 0);
        if (child[k] > 0) continue;
        struct sn_disk_cache *own = open_cache("shared", 1 << 20);
        bool ok = true;
        for (int i = 0; i < 300; i++) {
            write_one(own, (uint8_t)(i % 3), 4000);
            ok = ok && reads(own, (uint8_t)(i % 3), 4000);
        }
        ok = ok && sn_disk_cache_n_damaged(own) == 0;
        _exit(ok ? 0 : 1);
    }
    for (int i = 0; i < 300; i++) reads(c, (uint8_t)(i % 3), 4000);
    for (int k = 0; k < 2; k++) {
        int status;
        assert_int_equal(waitpid(child[k], &status, 0), child[k]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(sn_disk_cache_n_damaged(c), 0);
    sn_disk_cache_close(&c);
}

static int remove_root(void **state)
{
    char command[300];
    (void)state;
    const pid_t pid = fork();
    if (pid == 0) {
        snprintf(command, sizeof command, "%s", root);
        execlp("rm", "rm", "-rf", command, (char *)NULL);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(damage_is_a_miss),
        cmocka_unit_test(a_folder_of_others_is_refused),
        cmocka_unit_test(the_bound_holds),
        cmocka_unit_test(leftovers_are_cleared),
        cmocka_unit_test(processes_share_it),
    };
    if (!mkdtemp(root)) return 1;
    return cmocka_run_group_tests(tests, NULL, remove_root);
}
