#ifndef SN_MODEL_LIBRARIES_H
#define SN_MODEL_LIBRARIES_H
/* The outside libraries that this folder and those below it run with, for `doctor`. */

#include <stddef.h>

struct sn_library {
    const char *name;
    char version[48]; /* of the library that was loaded, not of its headers */
};
/* Writes at most n; returns how many there are. */
size_t sn_libraries(struct sn_library *list, size_t n);

#endif
