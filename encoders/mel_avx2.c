#include "config.h"
#define MEL_POWER sn_mel_power_avx2
#include "encoders/mel_tmpl.h"
