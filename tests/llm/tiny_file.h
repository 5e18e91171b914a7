#ifndef SN_TESTS_LLM_TINY_FILE_H
#define SN_TESTS_LLM_TINY_FILE_H
/* Writes a tiny model of any family, right in everything but for what a test spoils. */

#include <stddef.h>
#include <stdint.h>

struct tiny_spoil {
    const char *key;     /* a hyper-parameter ("block_count") ... */
    double value;        /* ... gets this value; NAN: is left out */
    const char *text;    /* ... or this one */
    const char *tensor;  /* a tensor ... */
    uint64_t ne[3];      /* ... gets this shape; {0}: is left out */
    const char *extra;   /* a tensor that nobody knows */
    uint32_t type;       /* of matrices whose rows are whole blocks of it; else float */
};
/* A file in the current folder; the caller unlinks it. */
void tiny_write(const char *path, const char *arch, const struct tiny_spoil *spoil);

#endif
