#ifndef SN_CLI_CMD_H
#define SN_CLI_CMD_H
/* The commands. argv[0] is the command's name; the return value is the exit status: 0 done, 1 it
 * failed (a line on standard error says why), 2 wrong usage. */

int cmd_inspect(int argc, char **argv);
int cmd_pull(int argc, char **argv);

#endif
