#include "cli/progress.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static void format_scaled(char *to, unsigned size, uint64_t n, const char *const *units,
                          size_t n_units)
{
    double x = (double)n;
    size_t u = 0;
    while (x >= 999.5 && u + 1 < n_units) {
        x /= 1000;
        u++;
    }
    snprintf(to, size, "%.*f%s", u == 0 ? 0 : x < 10 ? 2 : x < 100 ? 1 : 0, x, units[u]);
}

void sn_format_bytes(char *to, unsigned size, uint64_t n)
{
    static const char *const units[] = {" bytes", " kB", " MB", " GB", " TB", " PB", " EB"};
    format_scaled(to, size, n, units, SN_COUNT(units));
}

void sn_format_count(char *to, unsigned size, uint64_t n)
{
    static const char *const units[] = {"", " k", " M", " B", " T"};
    format_scaled(to, size, n, units, SN_COUNT(units));
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void sn_progress_start(struct sn_progress *p, bool bytes, bool quiet)
{
    *p = (struct sn_progress){.on = !quiet && isatty(STDERR_FILENO), .bytes = bytes};
}

static int columns(void)
{
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

/* Time left in the form 1:02:03 or 2:03; "" while a guess would be wild. */
static void format_left(char *to, unsigned size, double seconds)
{
    to[0] = '\0';
    if (!(seconds >= 0 && seconds < 360000))
        return;
    const unsigned s = (unsigned)(seconds + 0.5);
    if (s >= 3600)
        snprintf(to, size, "%u:%02u:%02u left", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(to, size, "%u:%02u left", s / 60, s % 60);
}

static void draw_bar(double share, int width)
{
    fputs(" [", stderr);
    for (int i = 0; i < width; i++)
        fputc(i < (int)(share * width + 0.5) ? '#' : '.', stderr);
    fputc(']', stderr);
}

static void draw(const struct sn_progress *p, uint64_t done, double t)
{
    char amount[24], all[24] = "", rate[24], left[32] = "";
    void (*format)(char *, unsigned, uint64_t) = p->bytes ? sn_format_bytes : sn_format_count;
    const double seconds = t - p->began;
    const double speed = seconds > 0.5 ? (double)(done - p->first) / seconds : 0;
    format(amount, sizeof amount, done);
    format(rate, sizeof rate, (uint64_t)speed);
    if (p->total) {
        format(all, sizeof all, p->total);
        if (speed > 0 && done <= p->total)
            format_left(left, sizeof left, (double)(p->total - done) / speed);
    }
    fprintf(stderr, "\r\033[K%-11s", p->stage);
    if (p->total) {
        const double share = done < p->total ? (double)done / (double)p->total : 1;
        fprintf(stderr, " %3.0f%%", 100 * share);
        const int room = columns() - 70;
        if (room >= 10)
            draw_bar(share, room < 30 ? room : 30);
    }
    fprintf(stderr, " %s%s%s", amount, p->total ? " of " : "", all);
    if (speed >= 1)
        fprintf(stderr, ", %s/s", rate);
    else if (speed > 0 && !p->bytes)
        fprintf(stderr, ", %.1f/min", 60 * speed);
    if (*left)
        fprintf(stderr, ", %s", left);
    fflush(stderr);
}

void sn_progress_set(struct sn_progress *p, const char *stage, uint64_t done, uint64_t total)
{
    if (!p->on)
        return;
    const double t = now();
    if (strncmp(p->stage, stage, sizeof p->stage - 1) != 0 || done < p->first) {
        snprintf(p->stage, sizeof p->stage, "%s", stage);
        p->began = t;
        p->first = done;
        p->drawn = 0;
    }
    p->total = total;
    if (t - p->drawn < 0.1)
        return;
    p->drawn = t;
    p->visible = true;
    draw(p, done, t);
}

void sn_progress_clear(struct sn_progress *p)
{
    if (p->visible)
        fputs("\r\033[K", stderr);
    p->visible = false;
    p->drawn = 0;
}
