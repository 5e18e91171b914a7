#ifndef SN_TESTS_MM_GOLDEN_H
#define SN_TESTS_MM_GOLDEN_H
/* The golden files of tiny multimodal models (tests/reference/README.md). What is read here fails the
 * test on any fault. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/media.h"
#include "base/prompt.h"
#include "compute/device.h"

/* A device for a group of tests: cmocka's setup and teardown. */
extern struct sn_device *mm_device;
int mm_setup(void **state);
int mm_teardown(void **state);

/* Families that have a language model, with pictures and with sounds, NULL at the end; those without
 * files are skipped. */
extern const char *const mm_families[], *const mm_hearing_families[];
extern const char *const mm_video_families[]; /* the same models, with a video */

/* An array in NumPy's format, as floats. */
struct mm_array {
    float *v;
    size_t shape[6], rank, n;
};
/* golden/<family>/<name>.npy, without a family golden/<name>.npy; false, and *out empty, when there is no
 * such file. */
bool mm_array_read(const char *family, const char *name, struct mm_array *out);
void mm_array_free(struct mm_array *a);

enum { MM_MEDIA_MAX = 4, MM_TOKENS_MAX = 4096, MM_SPANS_MAX = 256, MM_VIEWS_MAX = 16 };

struct mm_medium {
    char file[64];
    uint32_t rows, cols;    /* tiles; 0: one view */
    uint32_t grid[2];       /* patches: height, width; 0: not said */
    uint32_t aspect_id;     /* mllama; else 0 */
    size_t encoder[2], projector[2]; /* first row, number of rows */
    size_t n_views;         /* of a video; 0: it is none */
    double at[MM_VIEWS_MAX], seconds, step; /* times of views, its length, between views */
};
struct mm_span {
    size_t media, start, n, row; /* projector rows row.. stand at tokens start.. */
};
struct mm_golden {
    char model[64], mmproj[64], text[1024];
    struct mm_medium media[MM_MEDIA_MAX];
    size_t n_media;
    int32_t tokens[MM_TOKENS_MAX];
    size_t n_tokens;
    struct mm_span spans[MM_SPANS_MAX];
    size_t n_spans;
    int32_t greedy[64];
    float gaps[64];
    size_t n_greedy, last;
    float std, tolerance;
    struct sn_position at[MM_TOKENS_MAX]; /* where rope has three dimensions */
    bool has_positions;
    float mean[3], scale[3]; /* of the pixels' levels: image_mean, image_std; scale 0: not said */
};
struct mm_golden *mm_golden_read(const char *family);
/* A list of numbers in its prompt.json: how many; at most max. */
size_t mm_ids_read(const char *family, const char *key, int32_t *out, size_t max);
void mm_golden_free(struct mm_golden *g);
/* The path of tests/reference/<folder>/<name>. */
void mm_path(char *out, size_t size, const char *folder, const char *name);
bool mm_exists(const char *family);

/* The file that holds the tower: the mmproj, or the model's own. */
const char *mm_tower(const struct mm_golden *g);
/* How the encoder's rows of medium i lie. */
struct sn_views mm_views(const char *family, const struct mm_golden *g, size_t i);
bool mm_is_row(const struct mm_golden *g, size_t token);

/* The smallest cosine between rows of a and b, each (n_rows, n_cols). */
double mm_cosine(const float *a, const float *b, size_t n_rows, size_t n_cols);

#endif
