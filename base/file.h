#ifndef SN_BASE_FILE_H
#define SN_BASE_FILE_H
/* Files: read-only maps, whole-file reads with a bound, durable replacement, cache folders. */

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which file, and in which state: another content has another of these, unless it was written within the
 * clock's grain of the one before. */
struct sn_file_id {
    uint64_t device, inode, size;
    int64_t modified_ns, changed_ns; /* since 1970 */
};

bool sn_file_id_equal(const struct sn_file_id *a, const struct sn_file_id *b);
int sn_file_id_of(int fd, struct sn_file_id *out, struct sn_diag *d);

/* A file mapped read-only. */
struct sn_map {
    const uint8_t *data; /* `size` bytes; NULL when size is 0 */
    size_t size;
    struct sn_file_id id;
};
int sn_map_open(const char *path, struct sn_map *out, struct sn_diag *d);
void sn_map_close(struct sn_map *m); /* safe on {0} and twice */

/* The whole file and a NUL behind it (not counted); -SN_ELIMIT over max_bytes. "-" is standard
 * input. The caller frees *out with sn_free(). */
int sn_file_read(const char *path, size_t max_bytes, char **out, size_t *n_bytes,
                 struct sn_diag *d);

/* Replaces `path` in one step: written beside it, fsynced, renamed, the folder fsynced. */
int sn_file_write(const char *path, const void *bytes, size_t n_bytes, struct sn_diag *d);

/* What was made, renamed or removed in a folder is on disk. */
int sn_folder_sync(const char *path, struct sn_diag *d);

/* All n bytes to a file descriptor; false with errno set. */
bool sn_write_all(int fd, const void *bytes, size_t n);

/* Makes a folder and its missing parents (mode 0777 less umask); fine if it is there. */
int sn_mkdirs(const char *path, struct sn_diag *d);

/* $XDG_CACHE_HOME/sensorium, else ~/.cache/sensorium, joined with `name` (NULL: the folder
 * itself). SENSORIUM_CACHE overrides all. The caller frees *out. */
int sn_cache_path(const char *name, char **out, struct sn_diag *d);

/* "dir/name", the caller frees it; NULL when memory ran out. */
char *sn_path_join(const char *dir, const char *name);

#endif
