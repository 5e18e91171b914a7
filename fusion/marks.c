/* What stands around and between the rows of a medium, family by family. */
#include "config.h"
#include "fusion/fuse_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"

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

/* --- videos --- */

/* Qwen: frames stand one behind the other at the same place, each later than the one before. Times are
 * rounded down in float, as in the models' own code. */
static int lay_in_time(struct sn_fusing *w, const struct sn_medium *m)
{
    const float ticks = sn_marks_find(m->kind)->ticks;
    const float step = ticks > 0 ? ticks * (float)m->moments->step : 1;
    const struct sn_grid g = sn_views_grid(&m->views, 0);
    int rc = 0;
    w->stays = true;
    for (size_t i = 0; i < sn_views_count(&m->views) && rc == 0; i++) {
        w->later = (int32_t)((float)i * step);
        rc = sn_fusing_view(w, i);
    }
    w->stays = false;
    w->later = 0;
    w->next += (int32_t)(g.w > g.h ? g.w : g.h);
    return rc;
}

static const char *const below_twenty[] = {
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
static const char *const tens[] = {"", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty",
                                   "ninety"};

/* In words, below a million: "one thousand, two hundred and thirty-four". */
static void put_number(struct sn_strbuf *b, unsigned n)
{
    if (n >= 1000) {
        put_number(b, n / 1000);
        sn_strbuf_puts(b, n % 1000 >= 100 ? " thousand, " : n % 1000 ? " thousand and " : " thousand");
        n %= 1000;
        if (!n) return;
    }
    if (n >= 100) {
        sn_strbuf_printf(b, "%s hundred%s", below_twenty[n / 100], n % 100 ? " and " : "");
        n %= 100;
        if (!n) return;
    }
    if (n < 20)
        sn_strbuf_puts(b, below_twenty[n]);
    else
        sn_strbuf_printf(b, n % 10 ? "%s-%s" : "%s", tens[n / 10], below_twenty[n % 10]);
}

static unsigned whole(double seconds) { return seconds > 0 && seconds < 1e9 ? (unsigned)seconds : 0; }

/* SmolVLM: what is coming, then each frame as a picture of one view behind its time. */
static int lay_smolvlm_video(struct sn_fusing *w, const struct sn_medium *m)
{
    static const char fake[] = "<fake_token_around_image>";
    const size_t n = sn_views_count(&m->views);
    const unsigned s = whole(m->moments->seconds);
    struct sn_strbuf b = {0};
    sn_strbuf_puts(&b, "You are provided the following series of ");
    put_number(&b, (unsigned)sn_min(n, 999999));
    sn_strbuf_printf(&b, " frames from a %u:%02u:%02u [H:MM:SS] video.\n", s / 3600, s / 60 % 60, s % 60);
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        const unsigned at = whole(m->moments->at[i]);
        sn_strbuf_printf(&b, "\nFrame from %02u:%02u:%s<global-img>", at / 60, at % 60, fake);
        rc = b.failed ? sn_fail(w->d, SN_ENOMEM, "fusion: a video's text") : sn_fusing_text(w, b.data);
        if (rc == 0) rc = sn_fusing_view(w, i);
        if (rc == 0) rc = sn_fusing_text(w, fake);
        sn_strbuf_clear(&b);
    }
    sn_strbuf_fini(&b);
    return rc < 0 ? rc : sn_fusing_text(w, "\n\n");
}

/* Llama 3.2 Vision: one token, whatever the picture. */
static int lay_mllama(struct sn_fusing *w, const struct sn_medium *m)
{
    (void)m;
    return sn_fusing_look(w, "<|image|>");
}

static const struct sn_marks marks[] = {
    {.kind = "mlp", .placeholder = "<image>", .lay = lay_views},
    {.kind = "idefics3", .placeholder = "<image>", .lay = lay_idefics3, .lay_video = lay_smolvlm_video},
    {.kind = "gemma3", .placeholder = "<start_of_image>", .before = "\n\n<start_of_image>",
     .after = "<end_of_image>\n\n", .lay = lay_views, .spans = true},
    {.kind = "qwen2vl_merger", .placeholder = "<|vision_start|><|image_pad|><|vision_end|>",
     .before = "<|vision_start|>", .after = "<|vision_end|>", .lay = lay_views, .lay_video = lay_in_time,
     .sections = true},
    {.kind = "qwen2.5vl_merger", .placeholder = "<|vision_start|><|image_pad|><|vision_end|>",
     .before = "<|vision_start|>", .after = "<|vision_end|>", .lay = lay_views, .lay_video = lay_in_time,
     .ticks = 2, .sections = true},
    {.kind = "pixtral", .placeholder = "[IMG]", .lay = lay_pixtral},
    {.kind = "internvl", .placeholder = "<IMG_CONTEXT>", .before = "<img>", .after = "</img>",
     .lay = lay_views},
    {.kind = "idefics2", .placeholder = "<image>", .lay = lay_idefics2},
    {.kind = "mllama", .placeholder = "<|image|>", .lay = lay_mllama, .remembered = true},
    {.kind = "ultravox", .placeholder = "<|audio|>", .lay = lay_views},
    {.kind = "voxtral", .placeholder = "[BEGIN_AUDIO][AUDIO]", .before = "[BEGIN_AUDIO]", .lay = lay_views},
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

bool sn_fuse_takes_video(const char *kind)
{
    const struct sn_marks *m = sn_marks_find(kind);
    return m && m->lay_video;
}

bool sn_fuse_remembers(const char *kind)
{
    const struct sn_marks *m = sn_marks_find(kind);
    return m && m->remembered;
}
