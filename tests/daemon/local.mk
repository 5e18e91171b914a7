# tests of the daemon, whole; tests/daemon/program.py is what they share
EXTRA_DIST += tests/daemon/program.py
dist_check_SCRIPTS += tests/daemon/kills.py tests/daemon/faults.py tests/daemon/jobs.py
TESTS += tests/daemon/kills.py tests/daemon/faults.py tests/daemon/jobs.py
