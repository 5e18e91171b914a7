#include "config.h"
#define MEL_POWER sn_mel_power_plain
#include "encoders/mel_tmpl.h"
