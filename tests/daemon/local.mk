# tests of the daemon, whole; program.py is what they share, jobs.py and tests/queue/front.py run conformance.py
EXTRA_DIST += tests/daemon/program.py tests/daemon/conformance.py
dist_check_SCRIPTS += tests/daemon/kills.py tests/daemon/faults.py tests/daemon/jobs.py
TESTS += tests/daemon/kills.py tests/daemon/faults.py tests/daemon/jobs.py

check_PROGRAMS += tests/daemon/test_settings
TESTS += tests/daemon/test_settings
tests_daemon_test_settings_SOURCES = tests/daemon/test_settings.c
tests_daemon_test_settings_CFLAGS = $(TEST_CFLAGS)
tests_daemon_test_settings_LDADD = $(LIBDAEMON) $(TEST_LIBS)
