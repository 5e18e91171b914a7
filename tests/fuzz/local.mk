# Fuzz targets. Each has a corpus in tests/fuzz/corpus/<name>; an input that broke something goes to
# tests/fuzz/regressions/<name> with its fix. `make check` replays both; `make fuzz` looks for more.
check_PROGRAMS += tests/fuzz/replay_gguf tests/fuzz/replay_safetensors tests/fuzz/replay_template
tests_fuzz_replay_gguf_SOURCES = tests/fuzz/fuzz_gguf.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_gguf_LDADD = $(LIBMODEL)
tests_fuzz_replay_safetensors_SOURCES = tests/fuzz/fuzz_safetensors.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_safetensors_LDADD = $(LIBMODEL)
tests_fuzz_replay_template_SOURCES = tests/fuzz/fuzz_template.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_template_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_fuzz_replay_template_LDADD = $(LIBMODEL)
check_PROGRAMS += tests/fuzz/replay_convert
tests_fuzz_replay_convert_SOURCES = tests/fuzz/fuzz_convert.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_convert_LDADD = $(LIBMODEL)
EXTRA_DIST += tests/fuzz/corpus/convert/mistral tests/fuzz/corpus/convert/mllama tests/fuzz/corpus/convert/qwen2vl
check_PROGRAMS += tests/fuzz/replay_whisper_ct2 tests/fuzz/replay_whisper_ggml
tests_fuzz_replay_whisper_ct2_SOURCES = tests/fuzz/fuzz_whisper_ct2.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_whisper_ct2_LDADD = $(LIBMODEL)
tests_fuzz_replay_whisper_ggml_SOURCES = tests/fuzz/fuzz_whisper_ggml.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_whisper_ggml_LDADD = $(LIBMODEL)
EXTRA_DIST += tests/fuzz/corpus/whisper_ct2/tiny tests/fuzz/corpus/whisper_ggml/tiny
dist_check_SCRIPTS += tests/fuzz/replay.sh
TESTS += tests/fuzz/replay.sh
EXTRA_DIST += \
  tests/fuzz/make_seeds.py \
  tests/fuzz/corpus/gguf/arrays.gguf \
  tests/fuzz/corpus/gguf/kinds.gguf \
  tests/fuzz/corpus/gguf/tensors.gguf \
  tests/fuzz/corpus/safetensors/empty.safetensors \
  tests/fuzz/corpus/safetensors/header \
  tests/fuzz/corpus/safetensors/header2 \
  tests/fuzz/corpus/safetensors/one.safetensors \
  tests/fuzz/corpus/template/blocks \
  tests/fuzz/corpus/template/deepseek-r1 \
  tests/fuzz/corpus/template/gemma3 \
  tests/fuzz/corpus/template/qwen2.5 \
  tests/fuzz/corpus/template/smollm2 \
  tests/fuzz/corpus/template/vars \
  tests/fuzz/safetensors.dict \
  tests/fuzz/regressions/template/concat-of-empty \
  tests/fuzz/template.dict

check_PROGRAMS += tests/fuzz/replay_image
tests_fuzz_replay_image_SOURCES = tests/fuzz/fuzz_image.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_image_LDADD = $(LIBMEDIA)
EXTRA_DIST += tests/fuzz/image.dict tests/fuzz/corpus/image

LDFLAGS_FUZZ = $(AM_LDFLAGS) -fsanitize=fuzzer
FUZZ_TARGETS = tests/fuzz/fuzz_gguf tests/fuzz/fuzz_safetensors tests/fuzz/fuzz_template \
  tests/fuzz/fuzz_tokenizer tests/fuzz/fuzz_image
FUZZ_TARGETS += tests/fuzz/fuzz_convert
tests_fuzz_fuzz_convert_SOURCES = tests/fuzz/fuzz_convert.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_convert_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_convert_LDADD = $(LIBMODEL)
FUZZ_TARGETS += tests/fuzz/fuzz_whisper_ct2 tests/fuzz/fuzz_whisper_ggml
FUZZ_SECONDS = 60
EXTRA_PROGRAMS = $(FUZZ_TARGETS)
tests_fuzz_fuzz_gguf_SOURCES = tests/fuzz/fuzz_gguf.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_gguf_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_gguf_LDADD = $(LIBMODEL)
tests_fuzz_fuzz_safetensors_SOURCES = tests/fuzz/fuzz_safetensors.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_safetensors_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_safetensors_LDADD = $(LIBMODEL)
tests_fuzz_fuzz_template_SOURCES = tests/fuzz/fuzz_template.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_template_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_fuzz_fuzz_template_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_template_LDADD = $(LIBMODEL)
tests_fuzz_fuzz_tokenizer_SOURCES = tests/fuzz/fuzz_tokenizer.c tests/model/vocab.h
tests_fuzz_fuzz_tokenizer_LDADD = $(LIBMODEL)
tests_fuzz_fuzz_tokenizer_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_image_SOURCES = tests/fuzz/fuzz_image.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_image_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_image_LDADD = $(LIBMEDIA)

# Sound and video
check_PROGRAMS += tests/fuzz/replay_sound
tests_fuzz_replay_sound_SOURCES = tests/fuzz/fuzz_sound.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_sound_LDADD = $(LIBMEDIA)
FUZZ_TARGETS += tests/fuzz/fuzz_sound
tests_fuzz_fuzz_sound_SOURCES = tests/fuzz/fuzz_sound.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_sound_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_sound_LDADD = $(LIBMEDIA)
EXTRA_DIST += \
  tests/fuzz/corpus/sound/aac.mkv \
  tests/fuzz/corpus/sound/adpcm-cut.wav \
  tests/fuzz/corpus/sound/amr-nb.amr-nb \
  tests/fuzz/corpus/sound/clip-cut.ts \
  tests/fuzz/corpus/sound/clip-mute.mp4 \
  tests/fuzz/corpus/sound/clip-streamed.mkv \
  tests/fuzz/corpus/sound/clip.webm \
  tests/fuzz/corpus/sound/flac-cut.ogg \
  tests/fuzz/corpus/sound/mp2.mp2 \
  tests/fuzz/corpus/sound/mp3-cut.avi \
  tests/fuzz/corpus/sound/mp3.mp3 \
  tests/fuzz/corpus/sound/mulaw.wav \
  tests/fuzz/corpus/sound/opus.opus \
  tests/fuzz/corpus/sound/speex.ogg \
  tests/fuzz/corpus/sound/wmav2-cut.wma
tests_fuzz_fuzz_whisper_ct2_SOURCES = tests/fuzz/fuzz_whisper_ct2.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_whisper_ct2_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_whisper_ct2_LDADD = $(LIBMODEL)
tests_fuzz_fuzz_whisper_ggml_SOURCES = tests/fuzz/fuzz_whisper_ggml.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_whisper_ggml_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_whisper_ggml_LDADD = $(LIBMODEL)

# Headers of jobs
check_PROGRAMS += tests/fuzz/replay_job
tests_fuzz_replay_job_SOURCES = tests/fuzz/fuzz_job.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_job_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_fuzz_replay_job_LDADD = $(LIBQUEUE)
FUZZ_TARGETS += tests/fuzz/fuzz_job
tests_fuzz_fuzz_job_SOURCES = tests/fuzz/fuzz_job.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_job_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_fuzz_fuzz_job_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_job_LDADD = $(LIBQUEUE)
EXTRA_DIST += tests/fuzz/job.dict tests/fuzz/corpus/job

# Messages of many frames
check_PROGRAMS += tests/fuzz/replay_wire
tests_fuzz_replay_wire_SOURCES = tests/fuzz/fuzz_wire.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_wire_CFLAGS = $(AM_CFLAGS) $(ZMQ_CFLAGS)
tests_fuzz_replay_wire_LDADD = $(LIBQUEUE)
FUZZ_TARGETS += tests/fuzz/fuzz_wire
tests_fuzz_fuzz_wire_SOURCES = tests/fuzz/fuzz_wire.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_wire_CFLAGS = $(AM_CFLAGS) $(ZMQ_CFLAGS)
tests_fuzz_fuzz_wire_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_wire_LDADD = $(LIBQUEUE)
EXTRA_DIST += tests/fuzz/corpus/wire

.PHONY: fuzz
if FUZZERS
# What is found grows tests/fuzz/found in the build folder; a crash leaves its input there.
fuzz: $(FUZZ_TARGETS)
	@for program in $(FUZZ_TARGETS); do \
	  name=$${program##*/fuzz_}; mkdir -p tests/fuzz/found/$$name; \
	  dict=$(srcdir)/tests/fuzz/$$name.dict; test -f $$dict && dict=-dict=$$dict || dict=; \
	  old=; for d in corpus regressions; do \
	    d=$(srcdir)/tests/fuzz/$$d/$$name; test ! -d $$d || old="$$old $$d"; done; \
	  echo "== $$name, $(FUZZ_SECONDS) s"; \
	  srcdir=$(srcdir) $$program -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 $$dict \
	    -artifact_prefix=tests/fuzz/found/$$name- tests/fuzz/found/$$name $$old \
	    2>tests/fuzz/found/$$name.log || \
	    { tail -40 tests/fuzz/found/$$name.log; exit 1; }; \
	  grep -e '^stat::' -e DONE tests/fuzz/found/$$name.log; done
else
fuzz:
	@echo 'fuzz targets are not built: configure --enable-fuzzers --enable-sanitizers CC=clang' >&2; exit 1
endif

# What sensorium caption reads back
check_PROGRAMS += tests/fuzz/replay_captions
tests_fuzz_replay_captions_SOURCES = tests/fuzz/fuzz_captions.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_captions_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_fuzz_replay_captions_LDADD = $(LIBCLI)
FUZZ_TARGETS += tests/fuzz/fuzz_captions
tests_fuzz_fuzz_captions_SOURCES = tests/fuzz/fuzz_captions.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_captions_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_fuzz_fuzz_captions_LDFLAGS = $(LDFLAGS_FUZZ)
tests_fuzz_fuzz_captions_LDADD = $(LIBCLI)
EXTRA_DIST += tests/fuzz/corpus/captions/csv tests/fuzz/corpus/captions/jsonl \
  tests/fuzz/corpus/captions/ledger tests/fuzz/corpus/captions/sidecar
