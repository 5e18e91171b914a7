# The load of bench/queue.py
noinst_PROGRAMS += bench/queue_load
bench_queue_load_SOURCES = bench/queue_load.c
bench_queue_load_CFLAGS = $(AM_CFLAGS) $(ZMQ_CFLAGS)
bench_queue_load_LDADD = $(ZMQ_LIBS)
EXTRA_DIST += bench/queue.py bench/soak.py bench/captions.py bench/peer_captions.py bench/tokens.py
