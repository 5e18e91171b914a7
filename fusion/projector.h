#ifndef SN_FUSION_PROJECTOR_H
#define SN_FUSION_PROJECTOR_H
/* From an encoder's features to the decoder's space: what stands between the two in the file that
 * holds both ("mmproj"). */

#include "base/diag.h"
#include "base/media.h"
#include "compute/device.h"

struct sn_gguf;
struct sn_projector;

enum sn_sense { SN_SENSE_SIGHT, SN_SENSE_HEARING };

/* Reads and checks the projector for one of the file's towers. The device must outlive it; the file
 * may be closed. -SN_EUNSUPPORTED: a kind that nothing here knows (the text lists those known). */
int sn_projector_open(struct sn_device *dev, const struct sn_gguf *file, enum sn_sense sense,
                      struct sn_projector **out, struct sn_diag *d);
/* Of a file's projector for sound: how many rows become one, and its kind; nothing is loaded. */
int sn_projector_file_stack(const struct sn_gguf *file, uint32_t *n_rows, const char **kind,
                            struct sn_diag *d);
void sn_projector_free(struct sn_projector **pp);

/* The kind of the file's projector, without loading it: what estimates need. NULL: none that is known. */
const char *sn_projector_file_kind(const struct sn_gguf *file, enum sn_sense sense);
const char *sn_projector_kind(const struct sn_projector *p);  /* "mlp", "idefics3", ... */
uint32_t sn_projector_width_in(const struct sn_projector *p); /* columns that it takes */
uint32_t sn_projector_width(const struct sn_projector *p);    /* columns that it gives: the decoder's */
/* The rows that views of these rows become. -SN_EFORMAT: a grid that its step does not divide. */
int sn_projector_views(const struct sn_projector *p, const struct sn_views *in, struct sn_views *out,
                       struct sn_diag *d);
/* in: view after view, rows in raster order, as sn_views says; *out, which the caller ends, likewise. */
int sn_projector_run(struct sn_projector *p, const struct sn_features *in, const struct sn_views *views,
                     struct sn_features *out, struct sn_views *out_views, struct sn_diag *d);

#endif
