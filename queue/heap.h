#ifndef SN_QUEUE_HEAP_H
#define SN_QUEUE_HEAP_H
/* Who is first: a pairing heap (Fredman et al. 1986) whose nodes are the user's, so that nothing that is
 * put in can fail. The smallest key is on top; of equal keys the smaller tie. */

#include <stdint.h>

struct sn_heap_node {
    struct sn_heap_node *child, *next, *prev; /* prev: the left sibling, or the parent of a first child */
    int64_t key;
    uint64_t tie;
};
struct sn_heap {
    struct sn_heap_node *top; /* NULL: empty. A zeroed heap is an empty one */
};
void sn_heap_push(struct sn_heap *h, struct sn_heap_node *n); /* key and tie are set */
void sn_heap_remove(struct sn_heap *h, struct sn_heap_node *n); /* which is in there */

#endif
