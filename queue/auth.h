#ifndef SN_QUEUE_AUTH_H
#define SN_QUEUE_AUTH_H
/* Who a client is: CURVE (RFC 26) with ZAP (RFC 27), and certificates of clients in a folder. One thread. */

#include "base/diag.h"

#include <stdbool.h>

enum sn_role { SN_ROLE_READ, SN_ROLE_SUBMIT, SN_ROLE_ADMIN }; /* each may do what those before it may */
const char *sn_role_name(enum sn_role r);

enum { SN_TENANT_MAX = 63 };
struct sn_identity {
    char tenant[SN_TENANT_MAX + 1];
    enum sn_role role;
};

struct sn_auth;
/* certificate: the daemon's own, whose secret part nobody else may be able to read (-SN_EINVAL); clients: a
 * folder of public certificates with `name` (letters, digits, ".", "_", "-") and `role` ("submit" when there
 * is none) in their metadata. Answers ZAP requests of the ZeroMQ context. */
int sn_auth_new(void *context, const char *certificate, const char *clients, struct sn_auth **out,
                struct sn_diag *d);
void sn_auth_free(struct sn_auth **ap);
/* What is bound to the socket from then on demands a known key. */
int sn_auth_secure(const struct sn_auth *a, void *socket, struct sn_diag *d);

void *sn_auth_socket(const struct sn_auth *a); /* when readable: */
void sn_auth_turn(struct sn_auth *a);
/* Whose key it is (what ZAP gave as User-Id); false: nobody's, or not any more. */
bool sn_auth_find(struct sn_auth *a, const char *key, struct sn_identity *out);
/* Certificates that were changed or removed since are seen. New ones always are. */
void sn_auth_reload(struct sn_auth *a);

#endif
