#include "config.h"
#include "queue/heap.h"

#include <stdbool.h>
#include <stddef.h>

static bool goes_before(const struct sn_heap_node *a, const struct sn_heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->tie < b->tie;
}

/* Of two trees one; either may be NULL. Neither has siblings. */
static struct sn_heap_node *meld(struct sn_heap_node *a, struct sn_heap_node *b)
{
    if (!a || !b) return a ? a : b;
    if (goes_before(b, a)) {
        struct sn_heap_node *t = a;
        a = b;
        b = t;
    }
    b->next = a->child;
    if (b->next) b->next->prev = b;
    b->prev = a;
    a->child = b;
    return a;
}

/* The children of a node that goes: in pairs from the left, then all of those from the right. */
static struct sn_heap_node *meld_siblings(struct sn_heap_node *first)
{
    struct sn_heap_node *pairs = NULL, *all = NULL;
    while (first) {
        struct sn_heap_node *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b) b->next = b->prev = NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        struct sn_heap_node *a = pairs;
        pairs = a->next;
        a->next = NULL;
        all = meld(all, a);
    }
    return all;
}

void sn_heap_push(struct sn_heap *h, struct sn_heap_node *n)
{
    n->child = n->next = n->prev = NULL;
    h->top = meld(h->top, n);
}

void sn_heap_remove(struct sn_heap *h, struct sn_heap_node *n)
{
    struct sn_heap_node *below = meld_siblings(n->child);
    if (n == h->top) {
        h->top = below;
    } else {
        if (n->prev->child == n)
            n->prev->child = n->next;
        else
            n->prev->next = n->next;
        if (n->next) n->next->prev = n->prev;
        h->top = meld(h->top, below);
    }
    n->child = n->next = n->prev = NULL;
}
