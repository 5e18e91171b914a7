#ifndef SN_TESTS_ENCODERS_PICTURES_H
#define SN_TESTS_ENCODERS_PICTURES_H
/* Pictures and sounds by integer formulas, the same as make_preprocess_golden.py draws, and how
 * golden lines are read and compared. */

#include "base/media.h"

#include <stdio.h>

/* kind: "noise" or "smooth" (gradients with hard edges) */
struct sn_image picture(const char *kind, uint32_t w, uint32_t h);
/* kind: "noise", "tone", "sweep", "bursts", "quiet", "silence"; freed with free() */
float *sound(const char *kind, size_t n);

uint32_t mix(uint64_t i, uint32_t seed);
uint64_t fnv(const uint8_t *p, size_t n);
FILE *open_golden(const char *name); /* tests/encoders/golden/NAME */

#endif
