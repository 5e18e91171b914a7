#ifndef SN_CLI_CAPTION_WATCH_H
#define SN_CLI_CAPTION_WATCH_H
/* Folders that are watched for new and changed files (inotify(7)). A file counts when nothing happened to it
 * for a while, a second after it was closed or moved there. */

#include "cli/caption_walk.h"

struct caption_watch;

int caption_watch_new(struct caption_watch **out, struct sn_diag *d);
void caption_watch_free(struct caption_watch **wp);
/* A folder that is walked; once is enough. -SN_ELIMIT: the kernel's limit; the text says how to raise it. */
int caption_watch_add(struct caption_watch *w, const struct caption_place *place, struct sn_diag *d);

enum caption_news_kind {
    CAPTION_NEWS_NONE,           /* interrupted */
    CAPTION_NEWS_FILES,          /* appended to *to; may be none after all */
    CAPTION_NEWS_ALL,            /* folders came, or more than could be followed: all is to be walked anew */
};
/* Waits. */
int caption_watch_wait(struct caption_watch *w, struct caption_files *to, const struct caption_filter *f,
                       enum caption_news_kind *news, struct sn_diag *d);

#endif
