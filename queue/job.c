/* What jobs are called, and how requests are refused. */
#include "config.h"
#include "queue/job_impl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void sn_job_id_text(struct sn_job_id id, char text[SN_JOB_ID_TEXT])
{
    snprintf(text, SN_JOB_ID_TEXT, "%" PRIu64 "-%016" PRIx64, id.n, id.tag);
}

bool sn_job_id_parse(const char *text, struct sn_job_id *out)
{
    struct sn_job_id id;
    char again[SN_JOB_ID_TEXT];
    int end = 0;
    if (strlen(text) >= SN_JOB_ID_TEXT ||
        sscanf(text, "%20" SCNu64 "-%16" SCNx64 "%n", &id.n, &id.tag, &end) != 2)
        return false;
    /* One id has one text: no signs, blanks, capitals or leading zeros. */
    sn_job_id_text(id, again);
    if (strcmp(text, again) != 0 || id.n == 0 || id.n > INT64_MAX) /* what a journal can count to */
        return false;
    *out = id;
    return true;
}

const char *const sn_task_names[SN_TASKS + 1] = {"generate", "transcribe", "noop", NULL};
const char *const sn_medium_kind_names[] = {"image", "audio", "video", NULL};

const char *sn_task_name(enum sn_task t)
{
    return sn_task_names[t];
}

const char *sn_medium_kind_name(enum sn_medium_kind k)
{
    return sn_medium_kind_names[k];
}

size_t sn_utf8_length(const char *text, size_t n_text)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80)
        return 1;
    const size_t n = s[0] >= 0xC2 && s[0] < 0xE0 ? 2 : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
                     : s[0] >= 0xF0 && s[0] < 0xF5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if (i >= n_text || (s[i] & 0xC0) != 0x80)
            return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF0 && s[1] < 0x90) ||
        (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
}

/* As much of `from` as fits, in whole characters. */
static void put_clean(char *to, size_t cap, const char *from)
{
    size_t n = 0;
    while (*from) {
        const size_t len = sn_utf8_length(from, SIZE_MAX);
        if (n + (len ? len : 1) >= cap)
            break;
        if (len > 1)
            memcpy(to + n, from, len);
        else
            to[n] = len == 0 || (unsigned char)*from < 0x20 || *from == 0x7F ? '?' : *from;
        n += len ? len : 1;
        from += len ? len : 1;
    }
    to[n] = '\0';
}

bool sn_refuse(struct sn_refusal *r, const char *code, const char *field, const char *fmt, ...)
{
    char text[sizeof r->message + 128];
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(text, sizeof text, fmt, ap) < 0)
        text[0] = '\0';
    va_end(ap);
    *r = (struct sn_refusal){.code = code};
    put_clean(r->field, sizeof r->field, field ? field : "");
    put_clean(r->message, sizeof r->message, text);
    return false;
}
