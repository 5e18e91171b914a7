#ifndef SN_CLI_CAPTION_PAGE_H
#define SN_CLI_CAPTION_PAGE_H
/* A contact sheet: one HTML file with everything in it, small pictures, captions, a box to filter them. */

#include "cli/caption_output.h"
#include "cli/caption_thumb.h"
#include "cli/progress.h"

/* Replaces `path` when the page is whole. A file without a caption is shown as such. */
int caption_page_write(const char *path, const struct caption_files *files, struct caption_output *output,
                       struct caption_thumbs *thumbs, struct sn_progress *progress, struct sn_diag *d);

/* A file's name as a relative or absolute reference in HTML (RFC 3986, percent-encoded). */
void caption_put_href(struct sn_strbuf *to, const char *path);

#endif
