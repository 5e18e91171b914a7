#ifndef SN_CLI_TERMINAL_H
#define SN_CLI_TERMINAL_H
/* The terminal: colours (only on one, and never with NO_COLOR set: no-color.org), Ctrl-C, and
 * whether the output arrived. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

/* "sensorium: ", in red on a terminal, to standard error. */
void cli_begin_error(void);
bool cli_colours(FILE *f);

/* The first Ctrl-C (or SIGTERM) raises a flag, the second ends the process. */
void cli_catch_interrupt(void);
/* For sn_engine_step(); true once interrupted. */
extern const atomic_bool *const cli_interrupted;
/* Lowers the flag and catches the next one again. */
void cli_forget_interrupt(void);

/* Waits until fd has something to read (or its end); false once interrupted, which cannot slip in
 * unseen between a look at the flag and the wait. */
bool cli_wait_input(int fd);

/* Flushes and closes standard output; false and an error text when it could not be written. */
bool cli_close_stdout(void);

#endif
