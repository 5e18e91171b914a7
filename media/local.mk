noinst_LIBRARIES += media/libmedia.a
media_libmedia_a_CFLAGS = $(AM_CFLAGS) $(MEDIA_CFLAGS)
MEDIA_CFLAGS = $(SECCOMP_CFLAGS) $(JPEG_CFLAGS) $(PNG_CFLAGS) $(WEBP_CFLAGS) $(TIFF_CFLAGS) \
  $(LCMS_CFLAGS) $(HEIF_CFLAGS)
LIBMEDIA = media/libmedia.a $(LIBBASE) $(SECCOMP_LIBS) $(JPEG_LIBS) $(PNG_LIBS) $(WEBP_LIBS) \
  $(GIF_LIBS) $(TIFF_LIBS) $(LCMS_LIBS) $(HEIF_LIBS)
EXTRA_DIST += media/README.md

# Sources, and decoding in processes that can do no harm
media_libmedia_a_SOURCES = \
  media/sandbox.c media/sandbox.h media/sandbox_impl.h \
  media/sandbox_child.c \
  media/sandbox_filter.c \
  media/sandbox_keeper.c \
  media/sandbox_packet.c \
  media/source.c media/source.h

# Pictures
media_libmedia_a_SOURCES += \
  media/canvas.c \
  media/colour.c \
  media/exif.c \
  media/image.c media/image.h media/image_impl.h \
  media/image_bmp.c \
  media/image_gif.c \
  media/image_jpeg.c \
  media/image_png.c \
  media/image_tiff.c \
  media/image_webp.c \
  media/jpeg_write.c media/jpeg_write.h \
  media/probe.c media/probe.h
if HAVE_HEIF
media_libmedia_a_SOURCES += media/image_heif.c
else
EXTRA_DIST += media/image_heif.c
endif

# Sound and video, through FFmpeg
media_libmedia_a_SOURCES += \
  media/sound.c media/sound.h \
  media/sound_container.c media/sound_container.h \
  media/sound_decode.c media/sound_decode.h \
  media/sound_input.c \
  media/sound_tail.c \
  media/video.c media/video.h media/video_impl.h \
  media/video_decode.c \
  media/video_draw.c
MEDIA_CFLAGS += $(FFMPEG_CFLAGS)
LIBMEDIA += $(FFMPEG_LIBS)
