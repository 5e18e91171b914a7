check_PROGRAMS += tests/cli/test_quantize
TESTS += tests/cli/test_quantize
tests_cli_test_quantize_SOURCES = tests/cli/test_quantize.c tests/test.h
tests_cli_test_quantize_CFLAGS = $(TEST_CFLAGS)
tests_cli_test_quantize_LDADD = $(LIBCLI) $(TEST_LIBS)

dist_check_SCRIPTS += tests/cli/quantize.py
TESTS += tests/cli/quantize.py

# tests/cli/program.py is what they share.
dist_check_SCRIPTS += tests/cli/usage.py tests/cli/commands.py tests/cli/smollm2.py
TESTS += tests/cli/usage.py tests/cli/commands.py tests/cli/smollm2.py
EXTRA_DIST += tests/cli/program.py

dist_check_SCRIPTS += tests/cli/inspect.py
TESTS += tests/cli/inspect.py

dist_check_SCRIPTS += tests/cli/transcribe.py
TESTS += tests/cli/transcribe.py
EXTRA_DIST += samples/inaugural.mp3

dist_check_SCRIPTS += tests/cli/convert.py
TESTS += tests/cli/convert.py

check_PROGRAMS += tests/cli/test_caption
TESTS += tests/cli/test_caption
tests_cli_test_caption_SOURCES = tests/cli/test_caption.c tests/test.h
tests_cli_test_caption_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_cli_test_caption_LDADD = $(LIBCLI) $(TEST_LIBS)

dist_check_SCRIPTS += tests/cli/caption.py
TESTS += tests/cli/caption.py
EXTRA_DIST += tests/cli/caption_daemon.py
dist_check_SCRIPTS += tests/cli/jobs.py
TESTS += tests/cli/jobs.py
