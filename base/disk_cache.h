#ifndef SN_BASE_DISK_CACHE_H
#define SN_BASE_DISK_CACHE_H
/* Bytes kept on disk under keys, for as long as there is room: one file a key in a folder that is the
 * user's alone. Any number of processes may share it. Nothing in it is believed: what is damaged, cut short
 * or somebody else's is a miss, and is removed. */

#include "base/diag.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sn_disk_cache;

/* Makes the folder if need be (mode 0700). -SN_EINVAL: it is another user's, or others may write there.
 * bytes_max: of all files; past it those go that were not used for the longest time. With several
 * processes at work it may be passed by a sixteenth for each. */
int sn_disk_cache_open(const char *folder, uint64_t bytes_max, struct sn_disk_cache **out,
                       struct sn_diag *d);
void sn_disk_cache_close(struct sn_disk_cache **cp);

/* Any thread. Exactly n bytes; false: there is nothing under this key (`bytes` may be overwritten). */
bool sn_disk_cache_read(struct sn_disk_cache *c, const struct sn_digest *key, void *bytes, size_t n);
/* Whole or not at all. More than fits is -SN_ELIMIT. Not synced: what a power cut leaves is found damaged. */
int sn_disk_cache_write(struct sn_disk_cache *c, const struct sn_digest *key, const void *bytes, size_t n,
                        struct sn_diag *d);
size_t sn_disk_cache_n_damaged(struct sn_disk_cache *c); /* files found so, and removed */

#endif
