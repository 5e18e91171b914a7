# tests of the daemon, whole
EXTRA_DIST += tests/daemon/conformance.py
