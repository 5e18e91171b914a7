#ifndef SN_MODEL_CONVERT_HF_H
#define SN_MODEL_CONVERT_HF_H
/* Hugging Face folders (config.json, safetensors, tokenizer.json, ...) written down as GGUF: the
 * language model as one file and, where it sees, encoder and projector as another (the "mmproj"
 * file). Keys and tensor names are those that llama.cpp's converter gives; Whisper becomes one file
 * as model/whisper_file.h describes it.
 *
 * Everything in a folder is a stranger's: each field's type and range is checked, each tensor's shape
 * compared with what the configuration demands, and a tensor that no table knows is an error. Weights
 * are read from the map and written one tensor at a time. */

#include "base/diag.h"

#include <stdbool.h>
#include <stdint.h>

struct sn_convert_cfg {
    const char *dir;    /* the folder */
    const char *out;    /* the language model's file, replaced in one step */
    const char *mmproj; /* encoder and projector's file, or NULL: left out */
    int type;           /* of matrices: SN_F32, SN_F16, SN_BF16; -1: each keeps its own. Vectors, tables of
                           positions, routers and convolutions are F32. */
    const char *pre;    /* the pre-tokenizer's name where it cannot be recognised, or NULL */
};

/* -SN_ENOENT: a file, field or tensor is missing; -SN_EFORMAT: it is not what it should be;
 * -SN_ELIMIT: a number out of any reason, or a weight that F16 cannot hold; -SN_EUNSUPPORTED: an
 * architecture, scaling or tokenizer that nothing here knows. No file is left or changed then, but
 * `out` may stand when only `mmproj` failed to be written. */
int sn_convert_hf(const struct sn_convert_cfg *cfg, struct sn_diag *d);

/* Whether a folder is of this kind (it has config.json and weights in safetensors). */
bool sn_convert_is_hf(const char *dir);
/* Whether the model of the folder sees: there is something to put into a mmproj file. */
int sn_convert_sees(const char *dir, bool *sees, struct sn_diag *d);

#endif
