#ifndef SN_CLI_JOB_PRINT_H
#define SN_CLI_JOB_PRINT_H
/* What the commands about jobs print: names, states in their colours, results; and what their exit status
 * is. */

#include "cli/options.h"

#include <jansson.h>
#include <stdio.h>

/* "" when it is not there, or no text; 0 when it is no number. */
const char *cli_job_text(const json_t *of, const char *name);
json_int_t cli_job_number(const json_t *of, const char *name);


/* The state in at least `width` columns, coloured where f is a terminal. */
void cli_print_state(FILE *f, const char *state, int width);
/* "1.2 s", "3:04", "2 h 5 min", "3 d" */
void cli_format_age(char *to, unsigned size, double seconds);
/* "generate 3/17", "" */
void cli_format_stage(char *to, unsigned size, const json_t *row);

/* One object on one line; it stays the caller's. */
int cli_print_line(const json_t *object, struct sn_diag *d);
/* The result's text, with a newline at its end; what went wrong on standard error. */
void cli_print_result(const json_t *result);
void cli_print_trouble(const json_t *result); /* that alone */

/* CLI_OK: done; CLI_SOME: partial; CLI_FAILED: the other final states. */
int cli_state_status(const char *state);

#endif
