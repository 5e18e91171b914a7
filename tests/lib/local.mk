dist_check_SCRIPTS += tests/lib/sample.sh
TESTS += tests/lib/sample.sh
EXTRA_DIST += samples/generate.c

# Jobs for sensoriumd: needs pyzmq for the fake daemon of tests/clients.
check_PROGRAMS += tests/lib/client_tool
tests_lib_client_tool_SOURCES = tests/lib/client_tool.c
tests_lib_client_tool_LDADD = lib/libsensorium.a $(ZMQ_LIBS) $(LIBMODEL)
dist_check_SCRIPTS += tests/lib/client.py
TESTS += tests/lib/client.py
EXTRA_DIST += samples/submit.c
