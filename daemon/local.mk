# daemon/: see README.md
EXTRA_DIST += daemon/README.md
