/* What stands around and between the rows of a medium, family by family. */
#include "config.h"
#include "fusion/fuse_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* --- layouts --- */

static int lay_views(struct sn_fusing *w, const struct sn_medium *m)
{
    int rc = 0;
    for (size_t i = 0; i < sn_views_count(&m->views) && rc == 0; i++) rc = sn_fusing_view(w, i);
    return rc;
}

/* Idefics3: each tile after a token that says its row and column, lines of tiles ended by a newline,
 * the overview last. */
static int lay_idefics3(struct sn_fusing *w, const struct sn_medium *m)
{
    static const char fake[] = "<fake_token_around_image>";
    char tag[64];
    size_t i = 0;
    int rc = 0;
    for (uint32_t r = 1; r <= m->views.rows && rc == 0; r++) {
        for (uint32_t c = 1; c <= m->views.cols && rc == 0; c++) {
            snprintf(tag, sizeof tag, "%s<row_%u_col_%u>", fake, r, c);
            rc = sn_fusing_text(w, tag);
            if (rc == 0) rc = sn_fusing_view(w, i++);
        }
        if (rc == 0) rc = sn_fusing_text(w, "\n");
    }
    snprintf(tag, sizeof tag, "%s%s<global-img>", i ? "\n" : "", fake);
    if (rc == 0) rc = sn_fusing_text(w, tag);
    if (rc == 0) rc = sn_fusing_view(w, i);
    return rc < 0 ? rc : sn_fusing_text(w, fake);
}

/* Pixtral: lines of patches. */
static int lay_pixtral(struct sn_fusing *w, const struct sn_medium *m)
{
    const struct sn_grid g = sn_views_grid(&m->views, 0), line = {g.w, 1};
    int rc = 0;
    for (uint32_t y = 0; y < g.h && rc == 0; y++) {
        rc = sn_fusing_rows(w, &line, g.w);
        if (rc == 0) rc = sn_fusing_text(w, y + 1 < g.h ? "[IMG_BREAK]" : "[IMG_END]");
    }
    return rc;
}

/* Idefics2: neighbouring pictures share the token between them; a word does not touch the last. */
static int lay_idefics2(struct sn_fusing *w, const struct sn_medium *m)
{
    static const char fake[] = "<fake_token_around_image>";
    const size_t n = sizeof fake - 1;
    const bool shared = w->text.len >= n && !memcmp(w->text.data + w->text.len - n, fake, n);
    int rc = shared ? 0 : sn_fusing_text(w, fake);
    if (rc == 0) rc = lay_views(w, m);
    if (rc == 0) rc = sn_fusing_text(w, fake);
    w->apart = true;
    return rc;
}

/* Llama 3.2 Vision: one token, whatever the picture. */
static int lay_mllama(struct sn_fusing *w, const struct sn_medium *m)
{
    (void)m;
    return sn_fusing_look(w, "<|image|>");
}

static const struct sn_marks marks[] = {
    {.kind = "mlp", .placeholder = "<image>", .lay = lay_views},
    {.kind = "idefics3", .placeholder = "<image>", .lay = lay_idefics3},
    {.kind = "gemma3", .placeholder = "<start_of_image>", .before = "\n\n<start_of_image>",
     .after = "<end_of_image>\n\n", .lay = lay_views, .spans = true},
    {.kind = "qwen2vl_merger", .placeholder = "<|vision_start|><|image_pad|><|vision_end|>",
     .before = "<|vision_start|>", .after = "<|vision_end|>", .lay = lay_views, .sections = true},
    {.kind = "qwen2.5vl_merger", .placeholder = "<|vision_start|><|image_pad|><|vision_end|>",
     .before = "<|vision_start|>", .after = "<|vision_end|>", .lay = lay_views, .sections = true},
    {.kind = "pixtral", .placeholder = "[IMG]", .lay = lay_pixtral},
    {.kind = "internvl", .placeholder = "<IMG_CONTEXT>", .before = "<img>", .after = "</img>",
     .lay = lay_views},
    {.kind = "idefics2", .placeholder = "<image>", .lay = lay_idefics2},
    {.kind = "mllama", .placeholder = "<|image|>", .lay = lay_mllama, .remembered = true},
    {.kind = "ultravox", .placeholder = "<|audio|>", .lay = lay_views},
    {.kind = "qwen2a", .placeholder = "<|audio_bos|><|AUDIO|><|audio_eos|>",
     .before = "<|audio_bos|>", .after = "<|audio_eos|>", .lay = lay_views},
};

const struct sn_marks *sn_marks_find(const char *kind)
{
    for (size_t i = 0; i < SN_COUNT(marks); i++)
        if (!strcmp(marks[i].kind, kind)) return &marks[i];
    return NULL;
}

const char *sn_fuse_placeholder(const char *kind)
{
    const struct sn_marks *m = sn_marks_find(kind);
    return m ? m->placeholder : NULL;
}

bool sn_fuse_remembers(const char *kind)
{
    const struct sn_marks *m = sn_marks_find(kind);
    return m && m->remembered;
}
