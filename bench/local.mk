# The load of bench/queue.py
noinst_PROGRAMS += bench/queue_load
bench_queue_load_SOURCES = bench/queue_load.c
bench_queue_load_CFLAGS = $(AM_CFLAGS) $(ZMQ_CFLAGS)
bench_queue_load_LDADD = $(ZMQ_LIBS)
EXTRA_DIST += bench/queue.py bench/soak.py bench/captions.py bench/peer_captions.py bench/tokens.py

# The desk beside one answer at a time
noinst_PROGRAMS += bench/desk
bench_desk_SOURCES = bench/desk.c
bench_desk_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
bench_desk_LDADD = $(LIBPIPELINE) $(LIBMEDIA)
