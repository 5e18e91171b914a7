#ifndef SN_CLI_CMD_QUANTIZE_H
#define SN_CLI_CMD_QUANTIZE_H
/* 'sensorium quantize': argv[0] is "quantize"; returns the exit status. */

int cmd_quantize(int argc, char **argv);

#endif
