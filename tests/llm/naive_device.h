#ifndef SN_TESTS_LLM_NAIVE_DEVICE_H
#define SN_TESTS_LLM_NAIVE_DEVICE_H
/* A device that does everything the plainest way: weights as floats, sums in double, a cache of
 * floats. Slow, and sharing nothing with the real devices, which is what it is for: a pass that is
 * right here is right, and a device that differs from it is not. */

#include "compute/device.h"

struct sn_device *naive_device_new(void); /* NULL when memory ran out */

#endif
