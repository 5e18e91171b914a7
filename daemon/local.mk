# daemon/: see README.md. All but main() is a library, so that tests can link pieces of it.
EXTRA_DIST += daemon/README.md
noinst_LIBRARIES += daemon/libdaemon.a
daemon_libdaemon_a_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(ZMQ_CFLAGS) $(MHD_CFLAGS) $(SYSTEMD_CFLAGS) \
  $(INIH_CFLAGS)
daemon_libdaemon_a_SOURCES = \
  daemon/http.c daemon/http.h \
  daemon/link.c daemon/link.h \
  daemon/log.c daemon/log.h \
  daemon/metrics.c daemon/metrics.h \
  daemon/service.c daemon/service.h \
  daemon/settings.c daemon/settings.h \
  daemon/supervisor.c daemon/supervisor.h \
  daemon/worker.c daemon/worker.h
LIBDAEMON = daemon/libdaemon.a $(LIBQUEUE) $(LIBPIPELINE) $(LIBMEDIA) $(MHD_LIBS) $(SYSTEMD_LIBS) $(INIH_LIBS)

bin_PROGRAMS += sensoriumd
sensoriumd_SOURCES = daemon/main.c
sensoriumd_LDADD = $(LIBDAEMON)

# The unit goes where systemd looks, under the prefix; sed fills in folders that configure left as variables.
systemdunitdir = $(prefix)/lib/systemd/system
nodist_systemdunit_DATA = deploy/sensoriumd.service
CLEANFILES += deploy/sensoriumd.service
EXTRA_DIST += deploy/sensoriumd.service.in deploy/sensoriumd.conf
deploy/sensoriumd.service: $(top_srcdir)/deploy/sensoriumd.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) deploy && sed -e 's|@bindir[@]|$(bindir)|; s|@sysconfdir[@]|$(sysconfdir)|' \
	  $(top_srcdir)/deploy/sensoriumd.service.in >$@.tmp && mv -f $@.tmp $@
