#ifndef SN_DAEMON_LOG_H
#define SN_DAEMON_LOG_H
/* The log: lines on standard error, text or JSON, a message and fields. Never prompts, media or answers. Any
 * thread. Levels: ERROR something is lost or stops; WARNING somebody should look; INFO life cycle, and what
 * happens to jobs that does not go well; DEBUG per job. */

#include <stdbool.h>
#include <stdint.h>

enum daemon_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

struct daemon_field {
    const char *name;
    bool is_number;
    const char *text;      /* NULL: "" */
    uint64_t number;
};
#define F_TEXT(n, t) ((struct daemon_field){.name = (n), .text = (t)})
#define F_NUMBER(n, v) ((struct daemon_field){.name = (n), .is_number = true, .number = (uint64_t)(v)})

/* Under systemd lines begin with their level and have no time: the journal has both. */
void daemon_log_open(bool json, enum daemon_level level);
enum daemon_level daemon_log_level(const char *name); /* INFO for what it does not know */
bool daemon_logs(enum daemon_level level);

void daemon_log_fields(enum daemon_level level, const char *message, const struct daemon_field *fields,
                       unsigned n);
/* LOG(LOG_INFO, "worker started", F_NUMBER("pid", pid)); */
#define LOG(level, ...) LOG_(level, __VA_ARGS__, F_TEXT(0, 0))
#define LOG_(level, message, ...)                                                                           \
    do {                                                                                                    \
        if (daemon_logs(level)) {                                                                           \
            const struct daemon_field fields_[] = {__VA_ARGS__};                                            \
            daemon_log_fields(level, message, fields_, sizeof fields_ / sizeof *fields_ - 1);               \
        }                                                                                                   \
    } while (0)

#endif
