# queue/: see README.md
EXTRA_DIST += queue/README.md
noinst_LIBRARIES += queue/libqueue.a
queue_libqueue_a_CFLAGS = $(AM_CFLAGS) $(ZMQ_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS) $(CRYPTO_CFLAGS)
queue_libqueue_a_SOURCES = \
  queue/client.c queue/client.h queue/client_impl.h queue/client_link.c queue/client_watch.c \
  queue/endpoint.c queue/endpoint.h \
  queue/keys.c queue/keys.h \
  queue/front.h \
  queue/job.h \
  queue/queue.h \
  queue/state.c \
  queue/wire.h
LIBQUEUE = queue/libqueue.a $(ZMQ_LIBS) $(SQLITE_LIBS) $(JANSSON_LIBS) $(LIBBASE)
