#include "config.h"
#include "cli/json.h"

#include <stdbool.h>
#include <stdio.h>

json_t *cli_json_ids(const int32_t *ids, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n && list; i++)
        if (json_array_append_new(list, json_integer(ids[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

void cli_json_set(json_t *object, const char *key, json_t *value)
{
    /* A missing value shows as a missing key with a mark beside it, seen by cli_json_print(). */
    if (!value || json_object_set_new(object, key, value) != 0)
        json_object_set_new(object, "", json_false());
}

int cli_json_print(json_t *object, struct sn_diag *d)
{
    const bool whole = object && !json_object_get(object, "");
    const bool done = whole &&
                      json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0;
    json_decref(object);
    if (!done)
        return sn_fail(d, SN_ENOMEM, "the JSON output");
    putchar('\n');
    return 0;
}
