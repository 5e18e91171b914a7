#ifndef SN_QUEUE_ENDPOINT_H
#define SN_QUEUE_ENDPOINT_H
/* Where the daemon is when nobody says otherwise. */

#include <stdbool.h>

enum { SN_ENDPOINT_MAX = 256 };

/* For clients: $SENSORIUM_ENDPOINT; else ipc://$XDG_RUNTIME_DIR/sensorium/sensoriumd.sock when that is
 * there; else ipc:///run/sensorium/sensoriumd.sock. */
void sn_endpoint_default(char endpoint[SN_ENDPOINT_MAX]);

/* For the daemon: the same, but $XDG_RUNTIME_DIR counts when it is set and this is not the superuser; its
 * folder "sensorium" may have to be made. */
void sn_endpoint_listen(char endpoint[SN_ENDPOINT_MAX]);

#endif
