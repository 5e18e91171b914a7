noinst_LIBRARIES += fusion/libfusion.a
fusion_libfusion_a_SOURCES = \
  fusion/fuse.c fusion/fuse.h fusion/fuse_impl.h \
  fusion/marks.c \
  fusion/projector.c fusion/projector.h fusion/projector_impl.h \
  fusion/projector_kinds.c \
  fusion/resampler.c fusion/resampler.h
fusion_libfusion_a_CFLAGS = $(AM_CFLAGS)
LIBFUSION = fusion/libfusion.a $(LIBMODEL)
EXTRA_DIST += fusion/README.md
