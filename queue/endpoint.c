#include "config.h"
#include "queue/endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYSTEM_SOCKET "/run/sensorium/sensoriumd.sock"

static bool from_environment(char endpoint[SN_ENDPOINT_MAX])
{
    const char *set = getenv("SENSORIUM_ENDPOINT");
    return set && set[0] && (size_t)snprintf(endpoint, SN_ENDPOINT_MAX, "%s", set) < SN_ENDPOINT_MAX;
}

static bool of_user(char endpoint[SN_ENDPOINT_MAX])
{
    const char *folder = getenv("XDG_RUNTIME_DIR");
    return folder && folder[0] == '/' &&
           (size_t)snprintf(endpoint, SN_ENDPOINT_MAX, "ipc://%s/sensorium/sensoriumd.sock", folder) <
               SN_ENDPOINT_MAX;
}

static void of_system(char endpoint[SN_ENDPOINT_MAX])
{
    snprintf(endpoint, SN_ENDPOINT_MAX, "ipc://" SYSTEM_SOCKET);
}

void sn_endpoint_default(char endpoint[SN_ENDPOINT_MAX])
{
    if (from_environment(endpoint))
        return;
    if (!of_user(endpoint) || access(endpoint + strlen("ipc://"), F_OK) != 0)
        of_system(endpoint);
}

void sn_endpoint_listen(char endpoint[SN_ENDPOINT_MAX])
{
    if (!from_environment(endpoint) && (geteuid() == 0 || !of_user(endpoint)))
        of_system(endpoint);
}
