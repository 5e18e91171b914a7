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

check_PROGRAMS += tests/queue/test_client
TESTS += tests/queue/test_client
tests_queue_test_client_SOURCES = tests/queue/test_client.c tests/test.h
tests_queue_test_client_CFLAGS = $(TEST_CFLAGS) $(ZMQ_CFLAGS) $(JANSSON_CFLAGS)
tests_queue_test_client_LDADD = $(LIBQUEUE) $(TEST_LIBS)
# A daemon without models, which scripts drive.
check_PROGRAMS += tests/queue/front_tool
tests_queue_front_tool_SOURCES = tests/queue/front_tool.c
tests_queue_front_tool_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(ZMQ_CFLAGS)
tests_queue_front_tool_LDADD = $(LIBQUEUE)
dist_check_SCRIPTS += tests/queue/front.py
TESTS += tests/queue/front.py
QUEUE_RIG = tests/queue/rig.c tests/queue/rig.h tests/test.h
QUEUE_TESTS = tests/queue/test_schedule tests/queue/test_jobs tests/queue/test_events \
  tests/queue/test_spool tests/queue/test_kill tests/queue/test_full
check_PROGRAMS += $(QUEUE_TESTS)
TESTS += $(QUEUE_TESTS)
tests_queue_test_schedule_SOURCES = tests/queue/test_schedule.c tests/test.h
tests_queue_test_schedule_CFLAGS = $(TEST_CFLAGS)
tests_queue_test_schedule_LDADD = $(LIBQUEUE) $(TEST_LIBS)
tests_queue_test_jobs_SOURCES = tests/queue/test_jobs.c $(QUEUE_RIG)
tests_queue_test_jobs_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS) $(SQLITE_CFLAGS)
tests_queue_test_jobs_LDADD = $(LIBQUEUE) $(TEST_LIBS)
tests_queue_test_events_SOURCES = tests/queue/test_events.c $(QUEUE_RIG)
tests_queue_test_events_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS) $(SQLITE_CFLAGS)
tests_queue_test_events_LDADD = $(LIBQUEUE) $(TEST_LIBS)
tests_queue_test_spool_SOURCES = tests/queue/test_spool.c $(QUEUE_RIG)
tests_queue_test_spool_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS) $(SQLITE_CFLAGS)
tests_queue_test_spool_LDADD = $(LIBQUEUE) $(TEST_LIBS)
tests_queue_test_kill_SOURCES = tests/queue/test_kill.c $(QUEUE_RIG)
tests_queue_test_kill_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS) $(SQLITE_CFLAGS)
tests_queue_test_kill_LDADD = $(LIBQUEUE) $(TEST_LIBS)
tests_queue_test_full_SOURCES = tests/queue/test_full.c $(QUEUE_RIG)
tests_queue_test_full_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS) $(SQLITE_CFLAGS)
tests_queue_test_full_LDADD = $(LIBQUEUE) $(TEST_LIBS)
