#include "config.h"
#include "cli/caption_page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/caption_text.h"
#include "cli/terminal.h"

/* Sides of the small pictures: a page of thousands has to be opened, too. */
enum { SIDE = 400, SIDE_MANY = 220, MANY = 1000, WRITE_BYTES = 1 << 20 };

static const char head[] =
"<!DOCTYPE html>\n"
"<html lang=\"en\">\n"
"<head>\n"
"<meta charset=\"utf-8\">\n"
"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
"<meta name=\"generator\" content=\"sensorium " PACKAGE_VERSION "\">\n"
/* Nothing is fetched from anywhere, whatever a caption says. */
"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
"style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
"<style>\n"
":root { color-scheme: light dark; --page: #f4f4f1; --card: #fff; --ink: #1d1f21; --faint: #6d7278;\n"
"  --line: #e2e2dc; --well: #e9e9e4; --accent: #0b6bcb; }\n"
"@media (prefers-color-scheme: dark) { :root { --page: #131517; --card: #1c1f22; --ink: #e9eaec;\n"
"  --faint: #979ca3; --line: #2b2f34; --well: #0d0f10; --accent: #6cb2ff; } }\n"
"* { box-sizing: border-box; }\n"
"body { margin: 0; background: var(--page); color: var(--ink);\n"
"  font: 15px/1.5 system-ui, -apple-system, \"Segoe UI\", Roboto, \"DejaVu Sans\", sans-serif; }\n"
"header { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .6rem 1.2rem;\n"
"  align-items: center; padding: .9rem 1.4rem; background: var(--page);\n"
"  border-bottom: 1px solid var(--line); }\n"
"h1 { margin: 0; font-size: 1.15rem; font-weight: 650; letter-spacing: -.01em; }\n"
"h1 small { margin-left: .6rem; font-size: .85rem; font-weight: 400; color: var(--faint); }\n"
"input { flex: 1 1 14rem; max-width: 26rem; margin-left: auto; padding: .5rem .8rem; font: inherit;\n"
"  color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }\n"
"input:focus-visible, a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }\n"
"main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr));\n"
"  gap: 1.1rem; padding: 1.4rem; max-width: 110rem; margin: 0 auto; }\n"
"figure { margin: 0; display: flex; flex-direction: column; background: var(--card);\n"
"  border: 1px solid var(--line); border-radius: .8rem; overflow: hidden;\n"
"  content-visibility: auto; contain-intrinsic-size: auto 22rem; }\n"
"figure[hidden] { display: none; }\n"
"figure > a { position: relative; display: grid; place-items: center; aspect-ratio: 4 / 3;\n"
"  background: var(--well); color: var(--faint); }\n"
"img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: cover; }\n"
"img.whole { object-fit: contain; }\n"
"svg { width: 3.4rem; height: 3.4rem; }\n"
"figcaption { padding: .8rem 1rem 1rem; display: flex; flex-direction: column; gap: .45rem; flex: 1; }\n"
"p { margin: 0; white-space: pre-line; overflow-wrap: anywhere; }\n"
"p.none { color: var(--faint); font-style: italic; }\n"
".name { margin-top: auto; font-size: .8rem; color: var(--faint); overflow-wrap: anywhere; }\n"
".name b { font-weight: 500; color: var(--accent); }\n"
"#nothing { padding: 3rem; text-align: center; color: var(--faint); }\n"
"@media print { :root { --page: #fff; --card: #fff; --ink: #000; --faint: #444; --line: #bbb;\n"
"    --well: #fff; }\n"
"  header { position: static; } input { display: none; } body { font-size: 9pt; }\n"
"  main { grid-template-columns: repeat(3, 1fr); gap: 5mm; padding: 5mm 0; }\n"
"  figure { break-inside: avoid; content-visibility: visible; } }\n"
"</style>\n";

static const char script[] =
"<script>\n"
"const box = document.getElementById('filter'), cards = [...document.querySelectorAll('figure')],\n"
"  count = document.getElementById('count'), all = count.textContent;\n"
"box.addEventListener('input', () => {\n"
"  const words = box.value.toLowerCase().split(/\\s+/).filter(Boolean);\n"
"  let shown = 0;\n"
"  for (const card of cards) {\n"
"    const text = card.textContent.toLowerCase();\n"
"    card.hidden = !words.every(w => text.includes(w));\n"
"    shown += !card.hidden;\n"
"  }\n"
"  count.textContent = words.length ? shown + ' of ' + all : all;\n"
"  document.getElementById('nothing').hidden = shown > 0;\n"
"});\n"
"</script>\n";

static const char sound_icon[] =
"<svg viewBox=\"0 0 24 24\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.4\" "
"stroke-linecap=\"round\" role=\"img\" aria-label=\"recording\">"
"<path d=\"M2.5 12h0M6 9.5v5M9.3 6v12M12.6 3.5v17M15.9 7.5v9M19.2 10v4"
"M21.8 12h0\"/></svg>";
static const char broken_icon[] =
"<svg viewBox=\"0 0 24 24\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.4\" "
"stroke-linecap=\"round\" stroke-linejoin=\"round\" role=\"img\" aria-label=\"no picture\">"
"<rect x=\"3\" y=\"5\" width=\"18\" height=\"14\" rx=\"2\"/><path d=\"M3 16l5-5 4 4 3-3 6 5M4 3l16 18\"/></svg>";

void caption_put_href(struct sn_strbuf *to, const char *path)
{
    if (path[0] != '/') /* "a:b" would be a scheme */
        sn_strbuf_puts(to, "./");
    for (const unsigned char *s = (const unsigned char *)path; *s; s++)
        if ((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
            strchr("-._~/", *s))
            sn_strbuf_putc(to, (char)*s);
        else
            sn_strbuf_printf(to, "%%%02X", *s);
}

struct page {
    int fd;
    const char *path;            /* of the page */
    char *folder;                /* it will lie in, resolved */
    struct sn_strbuf text;       /* not written yet */
    uint32_t side;
    struct caption_output *output;
    struct caption_thumbs *thumbs;
};

static int flush(struct page *p, size_t at_least, struct sn_diag *d)
{
    if (p->text.failed)
        return sn_fail(d, SN_ENOMEM, "%s: no memory for the page", p->path);
    if (p->text.len < at_least)
        return 0;
    if (!sn_write_all(p->fd, p->text.data, p->text.len))
        return sn_fail(d, SN_EIO, "%s: cannot write: %s", p->path, strerror(errno));
    sn_strbuf_clear(&p->text);
    return 0;
}

static void put_text(struct page *p, const char *s) { caption_put_xml(&p->text, s, strlen(s)); }

static void put_picture(struct page *p, const struct caption_file *f, const char *alt)
{
    struct sn_strbuf jpeg = {0};
    uint32_t w = 0, h = 0;
    struct sn_diag d;
    if (f->kind == SN_MEDIUM_AUDIO) {
        sn_strbuf_puts(&p->text, sound_icon);
    } else if (caption_thumb(p->thumbs, f, p->side, &jpeg, &w, &h, &d) < 0) {
        sn_strbuf_puts(&p->text, broken_icon);
    } else {
        /* A little is cut off a photograph; what is tall or long is shown whole. */
        const bool cut = w > h && w <= 2 * h;
        sn_strbuf_printf(&p->text, "<img%s width=\"%u\" height=\"%u\" alt=\"", cut ? "" : " class=\"whole\"",
                         w, h);
        put_text(p, alt);
        sn_strbuf_puts(&p->text, "\" src=\"data:image/jpeg;base64,");
        caption_put_base64(&p->text, (const unsigned char *)jpeg.data, jpeg.len);
        sn_strbuf_puts(&p->text, "\">");
    }
    sn_strbuf_fini(&jpeg);
}

static void put_card(struct page *p, const struct caption_file *f)
{
    static const char *const badges[CAPTION_FOUNDS] = {[CAPTION_FOREIGN] = "a person's words"};
    static const char *const kinds[] = {
        [SN_MEDIUM_IMAGE] = NULL, [SN_MEDIUM_AUDIO] = "recording", [SN_MEDIUM_VIDEO] = "video"};
    enum caption_found found;
    char *text = caption_output_text(p->output, f, &found);
    const char *const badge = badges[found], *const kind = kinds[f->kind];
    sn_strbuf_puts(&p->text, "<figure>\n<a href=\"");
    caption_put_href(&p->text, caption_below(p->folder, f->path));
    sn_strbuf_puts(&p->text, "\">");
    put_picture(p, f, text ? text : f->shown);
    sn_strbuf_printf(&p->text, "</a>\n<figcaption><p%s>", text && *text ? "" : " class=\"none\"");
    put_text(p, text && *text ? text : text ? "no speech" : "no caption");
    sn_strbuf_puts(&p->text, "</p><div class=\"name\">");
    put_text(p, caption_below(p->folder, f->path));
    if (kind)
        sn_strbuf_printf(&p->text, " &middot; %s", kind);
    if (badge)
        sn_strbuf_printf(&p->text, " &middot; <b>%s</b>", badge);
    sn_strbuf_puts(&p->text, "</div></figcaption>\n</figure>\n");
    sn_free(text);
}

static void put_head(struct page *p, const struct caption_files *files)
{
    const char *title = files->n ? files->items[0].home : "captions", *slash = strrchr(title, '/');
    title = slash && slash[1] ? slash + 1 : title;
    sn_strbuf_puts(&p->text, head);
    sn_strbuf_puts(&p->text, "<title>");
    put_text(p, title);
    sn_strbuf_puts(&p->text, "</title>\n</head>\n<body>\n<header><h1>");
    put_text(p, title);
    sn_strbuf_printf(&p->text, "<small id=\"count\" aria-live=\"polite\">%zu file%s</small></h1>\n", files->n,
                     files->n == 1 ? "" : "s");
    sn_strbuf_puts(&p->text, "<input id=\"filter\" type=\"search\" placeholder=\"Filter by words\" "
                             "aria-label=\"Filter by words\" autocomplete=\"off\">\n</header>\n<main>\n");
}

static int write_cards(struct page *p, const struct caption_files *files, struct sn_progress *progress,
                       struct sn_diag *d)
{
    int rc = 0;
    put_head(p, files);
    for (size_t i = 0; rc == 0 && i < files->n; i++) {
        sn_progress_set(progress, "page", i, files->n);
        put_card(p, &files->items[i]);
        rc = *cli_interrupted ? sn_fail(d, SN_ECANCELLED, "%s: interrupted", p->path)
                              : flush(p, WRITE_BYTES, d);
    }
    sn_strbuf_puts(&p->text, "</main>\n<div id=\"nothing\" hidden>Nothing has all these words.</div>\n");
    sn_strbuf_puts(&p->text, script);
    sn_strbuf_puts(&p->text, "</body>\n</html>\n");
    sn_progress_clear(progress);
    return rc == 0 ? flush(p, 1, d) : rc;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? sn_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : sn_strdup(".");
    char *real = folder ? realpath(folder, NULL) : NULL, *own = real ? sn_strdup(real) : NULL;
    sn_free(folder);
    free(real);
    return own;
}

int caption_page_write(const char *path, const struct caption_files *files, struct caption_output *output,
                       struct caption_thumbs *thumbs, struct sn_progress *progress, struct sn_diag *d)
{
    struct page p = {.fd = -1, .path = path, .folder = folder_of(path), .output = output, .thumbs = thumbs,
                     .side = files->n > MANY ? SIDE_MANY : SIDE};
    struct sn_strbuf part = {0};
    sn_strbuf_printf(&part, "%s.part-XXXXXX", path);
    int rc = !p.folder ? sn_fail(d, SN_ENOENT, "%s: its folder: %s", path, strerror(errno))
                       : part.failed ? sn_fail(d, SN_ENOMEM, "%s: no memory", path) : 0;
    if (rc == 0) {
        p.fd = mkostemp(part.data, O_CLOEXEC);
        rc = p.fd >= 0 ? write_cards(&p, files, progress, d)
                       : sn_fail(d, SN_EIO, "%s: cannot make it: %s", path, strerror(errno));
    }
    const mode_t mask = umask(0);
    umask(mask);
    if (rc == 0 && (fchmod(p.fd, 0666 & ~mask) != 0 || fsync(p.fd) != 0 || rename(part.data, path) != 0))
        rc = sn_fail(d, SN_EIO, "%s: cannot write it: %s", path, strerror(errno));
    if (p.fd >= 0) {
        close(p.fd);
        if (rc < 0)
            unlink(part.data);
    }
    sn_strbuf_fini(&part);
    sn_strbuf_fini(&p.text);
    sn_free(p.folder);
    return rc;
}
