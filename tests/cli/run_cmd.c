/* Runs one command as the program would: run_cmd COMMAND ARGUMENT... The scripts here use it. */

#include "cli/cmd.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "inspect") == 0)
        return cmd_inspect(argc - 1, argv + 1);
    if (argc >= 2 && strcmp(argv[1], "pull") == 0)
        return cmd_pull(argc - 1, argv + 1);
    fputs("usage: run_cmd inspect|pull ARGUMENT...\n", stderr);
    return 99;
}
