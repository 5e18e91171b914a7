check_PROGRAMS += tests/cli/run_cmd
tests_cli_run_cmd_SOURCES = tests/cli/run_cmd.c
tests_cli_run_cmd_LDADD = $(LIBCLI)
dist_check_SCRIPTS += tests/cli/inspect.py
TESTS += tests/cli/inspect.py
