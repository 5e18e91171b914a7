/* What became of media, for people and for programs. */
#include "config.h"
#include "cli/pictures.h"

#include <stdio.h>
#include <string.h>

#include "cli/json.h"
#include "cli/videos.h"

const char *cli_recalled_name(enum sn_recalled r)
{
    return r == SN_RECALLED_MEMORY ? "memory" : r == SN_RECALLED_DISK ? "disk" : NULL;
}

static void report_recalled(enum sn_recalled r)
{
    if (r != SN_RECALLED_NOT)
        fprintf(stderr, "; from the cache (%s)", cli_recalled_name(r));
    putc('\n', stderr);
}

static void report_cache(struct sn_feature_cache *c)
{
    struct sn_feature_cache_stats s;
    sn_feature_cache_stats(c, &s);
    if (s.n_damaged)
        fprintf(stderr, "feature cache: %zu damaged file%s removed\n", s.n_damaged,
                s.n_damaged == 1 ? "" : "s");
    if (s.unwritten.code)
        fprintf(stderr, "feature cache: not kept: %s\n", s.unwritten.text);
}

static void report_seen(const char *path, const struct sn_seen *s, bool looked_at)
{
    fprintf(stderr, "%s: %u x %u as %u x %u, %zu views, %zu %s; prepare %.3f s, encode %.3f s, "
            "project %.3f s", path, s->plan.in.w, s->plan.in.h, s->plan.scaled.w, s->plan.scaled.h,
            s->plan.n_views, s->rows.n_rows, looked_at ? "rows to look at" : "tokens", s->prepare_s,
            s->encode_s, s->project_s);
    report_recalled(s->recalled);
}

static void report_heard(const char *path, const struct sn_heard *h)
{
    fprintf(stderr, "%s: %.2f s of sound, %zu windows, %zu tokens; listen %.3f s, encode %.3f s, "
            "project %.3f s", path, h->seconds, h->n_windows, h->rows.n_rows, h->listen_s, h->encode_s,
            h->project_s);
    report_recalled(h->recalled);
}

static void report_watched(const char *path, const struct sn_watched *w, enum cli_track track)
{
    cli_video_print(stderr, path, &w->plan);
    fprintf(stderr, "; decode %.3f s, prepare %.3f s, encode %.3f s, project %.3f s", w->decode_s, w->prepare_s,
            w->encode_s, w->project_s);
    fprintf(stderr, track ? "; its sound: %s\n" : "; no sound\n", cli_track_name(track));
}

void cli_pictures_report(const struct cli_picture_opts *o, const struct cli_pictures *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const char *path = o->files[i].path;
        if (o->files[i].kind == CLI_PICTURE)
            report_seen(path, &p->seen[i],
                        sn_fuse_remembers(sn_projector_kind(sn_sight_projector(p->sight))));
        else if (o->files[i].kind == CLI_VIDEO)
            report_watched(path, &p->watched[i], p->tracks[i]);
        if (p->heard[i].n_windows)
            report_heard(path, &p->heard[i]);
    }
    if (p->cache)
        report_cache(p->cache);
}

/* How each file reached the model. */
json_t *cli_pictures_json(const struct cli_picture_opts *o, const struct cli_pictures *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->n; i++) {
        const struct cli_medium *m = &o->files[i];
        const char *as = m->kind == CLI_PICTURE ? "picture" : m->kind == CLI_VIDEO ? "video"
                         : p->hearing ? "sound" : "transcript";
        json_t *j = json_object();
        cli_json_set(j, "file", sn_json_text(m->path, strlen(m->path)));
        cli_json_set(j, "as", json_string(as));
        if (m->kind == CLI_VIDEO) {
            cli_video_json(j, &p->watched[i].plan);
            cli_json_set(j, "sound", json_string(cli_track_name(p->tracks[i])));
        }
        const char *cached = cli_recalled_name(m->kind == CLI_PICTURE ? p->seen[i].recalled
                                                                      : p->heard[i].recalled);
        if (cached)
            cli_json_set(j, "cached", json_string(cached));
        json_array_append_new(list, j);
    }
    return list;
}
