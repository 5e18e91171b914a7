dist_check_SCRIPTS += tests/lib/sample.sh
TESTS += tests/lib/sample.sh
EXTRA_DIST += samples/generate.c
