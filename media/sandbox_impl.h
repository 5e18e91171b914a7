#ifndef SN_MEDIA_SANDBOX_IMPL_H
#define SN_MEDIA_SANDBOX_IMPL_H
/* Between the parent, the keeper and the children. Every message is one packet.
 *
 *   parent --control--> keeper     "a child, please": its ends of two socket pairs
 *   parent <---life---> keeper     the child's pid, later its wait status; our end closed or shut
 *                                  down: the keeper kills the child
 *   parent <----job---> child      the task and its descriptors; then chunks, acknowledgements and
 *                                  the outcome
 */

#include "media/sandbox.h"

#include <sys/types.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SN_SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) ||                         \
    __has_feature(thread_sanitizer)
#define SN_SANDBOX_SANITIZED 1
#endif
#endif
#ifndef SN_SANDBOX_SANITIZED
#define SN_SANDBOX_SANITIZED 0
#endif

enum { SN_SANDBOX_JOB_FD = 3 }; /* of a child, its only descriptor but 0 to 2 (/dev/null) */

/* keeper to parent, on the life socket */
struct sn_life_message {
    enum { SN_LIFE_STARTED, SN_LIFE_REFUSED, SN_LIFE_EXITED } what;
    int value; /* pid; errno; wait status */
};

/* parent to child, with two descriptors: source, slots */
struct sn_job_message {
    uint32_t kind;
    uint32_t n_params;
    uint64_t n_in;
    uint64_t slot_bytes;
    uint64_t memory_bytes;
    uint32_t n_slots;
    uint32_t cpu_s;
    uint32_t threads;
    _Alignas(16) uint8_t params[SN_SANDBOX_PARAMS_MAX];
};

/* child to parent */
struct sn_reply_message {
    enum { SN_REPLY_CHUNK, SN_REPLY_DONE } what;
    uint32_t slot;
    uint64_t n;
    int32_t code; /* an enum sn_err */
    uint8_t head[SN_SANDBOX_HEAD_MAX];
    char text[sizeof ((struct sn_diag *)0)->text];
};

/* The keeper's whole life; descriptor `control` is all it keeps. */
_Noreturn void sn_keeper_main(int control, const struct sn_sandbox_kind *const *kinds);

/* A child's whole life; everything but `job` is closed. */
_Noreturn void sn_child_main(int job, const struct sn_sandbox_kind *const *kinds);

/* Forbids the calling process all system calls but the few that decoders need. 0 or -errno. */
int sn_filter_install(bool threads);

/* Makes `fd` descriptor `to` and closes all from to + 1 on. */
void sn_keep_only(int fd, int to);

/* One packet with up to n_fds descriptors; -1 and errno on failure, 0 at the end. *n_fds becomes
 * what came. */
ssize_t sn_send_packet(int socket, const void *bytes, size_t n, const int *fds, size_t n_fds);
ssize_t sn_recv_packet(int socket, void *bytes, size_t n, int *fds, size_t *n_fds);

#endif
