#ifndef SN_CLI_JSON_H
#define SN_CLI_JSON_H
/* What --json prints: one object on one line. */

#include "base/diag.h"
#include "cli/text.h"

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

json_t *cli_json_ids(const int32_t *ids, size_t n);
/* json_object_set_new() that can be given NULL; NULL values make cli_json_print() fail. */
void cli_json_set(json_t *object, const char *key, json_t *value);
/* Prints and releases it; -SN_ENOMEM when it is NULL or cannot be written out. */
int cli_json_print(json_t *object, struct sn_diag *d);

#endif
