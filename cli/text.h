#ifndef SN_CLI_TEXT_H
#define SN_CLI_TEXT_H
/* Bytes from files on their way to a terminal or into JSON. */

#include <stddef.h>
#include <stdio.h>

#include <jansson.h>

/* At most `max` characters of n bytes; what is not printable UTF-8 as \n, \t, \xNN. "..." stands
 * for what was cut off. */
void sn_print_text(FILE *to, const char *s, size_t n, size_t max);

/* A JSON string; bytes that are not UTF-8 become U+FFFD. NULL when memory ran out. */
json_t *sn_json_text(const char *s, size_t n);

#endif
