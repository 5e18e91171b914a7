#ifndef SN_MODEL_TOWER_H
#define SN_MODEL_TOWER_H
/* Where a file says what it says of its tower for pictures: in a file for that alone ("mmproj",
 * architecture "clip") under clip.vision, in one that holds the language model as well under ARCH.vision. */

#include <stdbool.h>
#include <stddef.h>

struct sn_gguf;

enum { SN_TOWER_KEY = 128 }; /* bytes of a key */

/* The file holds a language model and a tower for pictures. */
bool sn_tower_within(const struct sn_gguf *g);
/* The full key of `name`, in `out`. */
const char *sn_tower_key(const struct sn_gguf *g, const char *name, char out[SN_TOWER_KEY]);

/* The file that sees and hears for the language model of this file: that one itself, where it can see, or
 * NAME.mmproj.gguf beside NAME.gguf. The caller frees it; NULL when memory ran out. */
char *sn_tower_path(const struct sn_gguf *g);

#endif
