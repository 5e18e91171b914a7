#ifndef SN_LLM_HISTORY_H
#define SN_LLM_HISTORY_H
/* The last tokens, counted: what penalties go by. Adding one is O(1) and the distinct ones can be
 * walked. */

#include "base/diag.h"

#include <stddef.h>
#include <stdint.h>

struct sn_history {      /* zero-initialise, set `window` */
    size_t window;       /* how many tokens count; SIZE_MAX: all */
    int32_t *tokens;     /* all of them, or a ring of `window` */
    size_t n, cap;
    uint32_t *count;     /* (n_ids) by id */
    uint32_t *where;     /* (n_ids) its place in distinct, while count > 0 */
    int32_t *distinct;   /* (n_distinct), in no order */
    size_t n_ids, n_distinct;
};
void sn_history_fini(struct sn_history *h);
int sn_history_add(struct sn_history *h, int32_t id, struct sn_diag *d);

#endif
