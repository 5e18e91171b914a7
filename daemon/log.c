/* One write() a line, so that lines of several threads and processes do not mix. */
#include "config.h"
#include "daemon/log.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/strbuf.h"

static struct {
    bool json, journal; /* set before there are threads; */
    _Atomic int level;  /* this one may change */
} the_log = {.level = LOG_INFO};

static const struct {
    const char *name, *mark; /* sd-daemon(3) */
} levels[] = {[LOG_ERROR] = {"error", "<3>"}, [LOG_WARNING] = {"warning", "<4>"},
              [LOG_INFO] = {"info", "<6>"}, [LOG_DEBUG] = {"debug", "<7>"}};

void daemon_log_open(bool json, enum daemon_level level)
{
    the_log.json = json;
    the_log.journal = getenv("JOURNAL_STREAM") != NULL;
    the_log.level = (int)level;
}

enum daemon_level daemon_log_level(const char *name)
{
    for (enum daemon_level l = LOG_ERROR; l <= LOG_DEBUG; l++)
        if (strcmp(name, levels[l].name) == 0)
            return l;
    return LOG_INFO;
}

bool daemon_logs(enum daemon_level level)
{
    return (int)level <= the_log.level;
}

static void put_time(struct sn_strbuf *to)
{
    struct timespec t;
    struct tm tm;
    char text[32];
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    sn_strbuf_printf(to, "%s.%03ldZ", text, t.tv_nsec / 1000000);
}

/* Quoted where a blank, a quote or a control character would make the line ambiguous. */
static void put_text(struct sn_strbuf *to, const char *text)
{
    bool plain = text[0] != 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        plain = plain && *p > ' ' && *p != '"' && *p != '=' && *p != 127;
    if (plain) {
        sn_strbuf_puts(to, text);
        return;
    }
    sn_strbuf_putc(to, '"');
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\')
            sn_strbuf_putc(to, '\\');
        if (*p < ' ' || *p == 127)
            sn_strbuf_printf(to, "\\x%02x", *p);
        else
            sn_strbuf_putc(to, (char)*p);
    }
    sn_strbuf_putc(to, '"');
}

static void put_line(struct sn_strbuf *to, enum daemon_level level, const char *message,
                     const struct daemon_field *fields, unsigned n)
{
    if (the_log.journal) {
        sn_strbuf_puts(to, levels[level].mark);
    } else {
        put_time(to);
        sn_strbuf_printf(to, " %-7s ", levels[level].name);
    }
    sn_strbuf_puts(to, message);
    for (unsigned i = 0; i < n; i++) {
        sn_strbuf_printf(to, " %s=", fields[i].name);
        if (fields[i].is_number)
            sn_strbuf_printf(to, "%llu", (unsigned long long)fields[i].number);
        else
            put_text(to, fields[i].text ? fields[i].text : "");
    }
}

static void put_json(struct sn_strbuf *to, enum daemon_level level, const char *message,
                     const struct daemon_field *fields, unsigned n)
{
    struct sn_strbuf at = {0};
    json_t *o = json_object();
    put_time(&at);
    json_object_set_new(o, "time", json_string(at.data ? at.data : ""));
    json_object_set_new(o, "level", json_string(levels[level].name));
    json_object_set_new(o, "message", json_string(message));
    for (unsigned i = 0; i < n; i++)
        json_object_set_new(o, fields[i].name,
                            fields[i].is_number ? json_integer((json_int_t)fields[i].number)
                                                : json_string(fields[i].text ? fields[i].text : ""));
    char *line = json_dumps(o, JSON_COMPACT);
    if (the_log.journal)
        sn_strbuf_puts(to, levels[level].mark);
    sn_strbuf_puts(to, line ? line : "{}");
    free(line);
    json_decref(o);
    sn_strbuf_fini(&at);
}

void daemon_log_fields(enum daemon_level level, const char *message, const struct daemon_field *fields,
                       unsigned n)
{
    struct sn_strbuf line = {0};
    (the_log.json ? put_json : put_line)(&line, level, message, fields, n);
    sn_strbuf_putc(&line, '\n');
    if (!line.failed)
        (void)!sn_write_all(STDERR_FILENO, line.data, line.len); /* nobody reads it: no reason to stop */
    sn_strbuf_fini(&line);
}
