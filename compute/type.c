#include "compute/type.h"

#include <strings.h>

static const struct sn_type_info types[SN_TYPE_COUNT] = {
    [SN_F32] = {"F32", 1, 4},         [SN_F16] = {"F16", 1, 2},
    [SN_Q4_0] = {"Q4_0", 32, 18},     [SN_Q4_1] = {"Q4_1", 32, 20},
    [SN_Q5_0] = {"Q5_0", 32, 22},     [SN_Q5_1] = {"Q5_1", 32, 24},
    [SN_Q8_0] = {"Q8_0", 32, 34},     [SN_Q8_1] = {"Q8_1", 32, 36},
    [SN_Q2_K] = {"Q2_K", 256, 84},    [SN_Q3_K] = {"Q3_K", 256, 110},
    [SN_Q4_K] = {"Q4_K", 256, 144},   [SN_Q5_K] = {"Q5_K", 256, 176},
    [SN_Q6_K] = {"Q6_K", 256, 210},   [SN_Q8_K] = {"Q8_K", 256, 292},
    [SN_IQ2_XXS] = {"IQ2_XXS", 256, 66}, [SN_IQ2_XS] = {"IQ2_XS", 256, 74},
    [SN_IQ3_XXS] = {"IQ3_XXS", 256, 98}, [SN_IQ1_S] = {"IQ1_S", 256, 50},
    [SN_IQ4_NL] = {"IQ4_NL", 32, 18}, [SN_IQ3_S] = {"IQ3_S", 256, 110},
    [SN_IQ2_S] = {"IQ2_S", 256, 82},  [SN_IQ4_XS] = {"IQ4_XS", 256, 136},
    [SN_I8] = {"I8", 1, 1},           [SN_I16] = {"I16", 1, 2},
    [SN_I32] = {"I32", 1, 4},         [SN_I64] = {"I64", 1, 8},
    [SN_F64] = {"F64", 1, 8},         [SN_IQ1_M] = {"IQ1_M", 256, 56},
    [SN_BF16] = {"BF16", 1, 2},       [SN_TQ1_0] = {"TQ1_0", 256, 54},
    [SN_TQ2_0] = {"TQ2_0", 256, 66},  [SN_MXFP4] = {"MXFP4", 32, 17},
    [SN_NVFP4] = {"NVFP4", 64, 36},   [SN_Q1_0] = {"Q1_0", 128, 18},
    [SN_Q2_0] = {"Q2_0", 64, 18},
};

const struct sn_type_info *sn_type_info(uint32_t type)
{
    return type < SN_TYPE_COUNT && types[type].name ? &types[type] : NULL;
}

int sn_type_by_name(const char *name)
{
    for (int i = 0; i < SN_TYPE_COUNT; i++)
        if (types[i].name && strcasecmp(types[i].name, name) == 0)
            return i;
    return -1;
}
