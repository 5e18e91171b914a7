# libsensorium: everything but cli/, with the symbols of include/sensorium.h visible.
include_HEADERS += include/sensorium.h
noinst_LIBRARIES += lib/libapi.a
lib_libapi_a_SOURCES = lib/api.c lib/api.h lib/client.c lib/sensorium.c
lib_libapi_a_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)

# The major number changes when a program that was linked before would break.
SN_SONAME = libsensorium.so.0
# Of queue/ only the client's end is ever linked: the rest is the daemon's.
SN_ARCHIVES = lib/libapi.a queue/libqueue.a llm/libllm.a model/libmodel.a compute/libcompute.a $(LIBKERNELS) \
  base/libbase.a
libsensoriumdir = $(libdir)
libsensorium_DATA = lib/libsensorium.a lib/libsensorium.so.$(PACKAGE_VERSION)
CLEANFILES += $(libsensorium_DATA)

# Archives cannot hold archives: their members are put together into one.
lib/libsensorium.a: $(SN_ARCHIVES)
	$(AM_V_AR){ echo "create $@.tmp"; for a in $(SN_ARCHIVES); do echo "addlib $$a"; done; \
	  echo save; echo end; } | $(AR) -M && $(RANLIB) $@.tmp && mv -f $@.tmp $@
lib/libsensorium.so.$(PACKAGE_VERSION): $(SN_ARCHIVES)
	$(AM_V_CCLD)$(CC) -shared -Wl,-soname,$(SN_SONAME) $(SN_CFLAGS) $(CFLAGS) $(SN_LDFLAGS) \
	  $(LDFLAGS) -o $@ -Wl,--whole-archive lib/libapi.a -Wl,--no-whole-archive queue/libqueue.a \
	  $(LIBLLM) $(LIBMODEL) $(ZMQ_LIBS) $(LIBS)

pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = lib/sensorium.pc

install-data-hook:
	cd "$(DESTDIR)$(libdir)" && \
	  ln -sf libsensorium.so.$(PACKAGE_VERSION) $(SN_SONAME) && ln -sf $(SN_SONAME) libsensorium.so
uninstall-hook:
	cd "$(DESTDIR)$(libdir)" && rm -f $(SN_SONAME) libsensorium.so
