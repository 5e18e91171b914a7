check_PROGRAMS += tests/queue/test_job
TESTS += tests/queue/test_job
tests_queue_test_job_SOURCES = tests/queue/test_job.c tests/test.h
tests_queue_test_job_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_queue_test_job_LDADD = $(LIBQUEUE) $(TEST_LIBS)
EXTRA_DIST += tests/queue/headers.json

check_PROGRAMS += tests/queue/test_wire
TESTS += tests/queue/test_wire
tests_queue_test_wire_SOURCES = tests/queue/test_wire.c tests/test.h
tests_queue_test_wire_CFLAGS = $(TEST_CFLAGS) $(ZMQ_CFLAGS)
tests_queue_test_wire_LDADD = $(LIBQUEUE) $(TEST_LIBS)

check_PROGRAMS += tests/queue/job_tool
tests_queue_job_tool_SOURCES = tests/queue/job_tool.c
tests_queue_job_tool_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_queue_job_tool_LDADD = $(LIBQUEUE)
dist_check_SCRIPTS += tests/queue/schemas.py
TESTS += tests/queue/schemas.py
EXTRA_DIST += docs/schemas/job.json docs/schemas/result.json docs/schemas/stats.json

# A daemon without models, which scripts drive.
check_PROGRAMS += tests/queue/front_tool
tests_queue_front_tool_SOURCES = tests/queue/front_tool.c
tests_queue_front_tool_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(ZMQ_CFLAGS)
tests_queue_front_tool_LDADD = $(LIBQUEUE)
dist_check_SCRIPTS += tests/queue/front.py
TESTS += tests/queue/front.py
