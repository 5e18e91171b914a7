# queue/: see README.md
EXTRA_DIST += queue/README.md
noinst_LIBRARIES += queue/libqueue.a
queue_libqueue_a_CFLAGS = $(AM_CFLAGS) $(ZMQ_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS) $(CRYPTO_CFLAGS)
queue_libqueue_a_SOURCES = \
  queue/client.c queue/client.h queue/client_impl.h queue/client_link.c queue/client_watch.c \
  queue/endpoint.c queue/endpoint.h \
  queue/keys.c queue/keys.h \
  queue/job.c queue/job.h \
  queue/job_fields.c queue/job_impl.h \
  queue/job_json.c \
  queue/job_media.c \
  queue/job_read.c \
  queue/state.c \
  queue/wire.c queue/wire.h
# The core
queue_libqueue_a_SOURCES += \
  queue/ask.c \
  queue/attempt.c \
  queue/commit.c queue/commit.h \
  queue/core.h \
  queue/entry.c \
  queue/heap.c queue/heap.h \
  queue/journal.h queue/journal_sqlite.h \
  queue/journal_sqlite.c queue/journal_sqlite_read.c queue/journal_sqlite_write.c \
  queue/live.c \
  queue/queue.c queue/queue.h \
  queue/result.c \
  queue/schedule.c queue/schedule.h \
  queue/spool.c queue/spool.h \
  queue/submit.c \
  queue/table.c queue/table.h \
  queue/write.c
# The front end
queue_libqueue_a_SOURCES += \
  queue/auth.c queue/auth.h \
  queue/front.c queue/front.h queue/front_impl.h \
  queue/front_bind.c queue/front_client.c queue/front_json.c queue/front_paths.c queue/front_request.c \
  queue/front_submit.c queue/front_verbs.c queue/front_watch.c
LIBQUEUE = queue/libqueue.a $(ZMQ_LIBS) $(SQLITE_LIBS) $(JANSSON_LIBS) $(LIBBASE)

# The queue without its front end, timed: bench/queue_core FOLDER
noinst_PROGRAMS += bench/queue_core
bench_queue_core_SOURCES = bench/queue_core.c
bench_queue_core_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
bench_queue_core_LDADD = $(LIBQUEUE)
