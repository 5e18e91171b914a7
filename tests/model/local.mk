check_PROGRAMS += tests/model/test_gguf
TESTS += tests/model/test_gguf
tests_model_test_gguf_SOURCES = tests/model/test_gguf.c tests/test.h
tests_model_test_gguf_CFLAGS = $(TEST_CFLAGS)
tests_model_test_gguf_LDADD = $(LIBMODEL) $(TEST_LIBS)

check_PROGRAMS += tests/model/test_safetensors
TESTS += tests/model/test_safetensors
tests_model_test_safetensors_SOURCES = tests/model/test_safetensors.c tests/test.h
tests_model_test_safetensors_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_model_test_safetensors_LDADD = $(LIBMODEL) $(TEST_LIBS)

# Ids of texts read from stdin; tests/reference/tokenizer_golden.py drives it.
check_PROGRAMS += tests/model/tokenize_lines
tests_model_tokenize_lines_SOURCES = tests/model/tokenize_lines.c
tests_model_tokenize_lines_LDADD = $(LIBMODEL)
TESTS += tests/model/tokenizer-hf.sh
dist_check_SCRIPTS += tests/model/tokenizer-hf.sh
EXTRA_DIST += tests/reference/tokenizer_families.py tests/reference/tokenizer_golden.py \
  tests/reference/tokenizer_texts.py

check_PROGRAMS += tests/model/test_tokenizer
TESTS += tests/model/test_tokenizer
tests_model_test_tokenizer_SOURCES = tests/model/test_tokenizer.c tests/model/vocab.h tests/test.h
tests_model_test_tokenizer_CFLAGS = $(TEST_CFLAGS)
tests_model_test_tokenizer_LDADD = $(LIBMODEL) $(TEST_LIBS)

check_PROGRAMS += tests/model/test_whisper_file
TESTS += tests/model/test_whisper_file
tests_model_test_whisper_file_SOURCES = tests/model/test_whisper_file.c tests/test.h
tests_model_test_whisper_file_CFLAGS = $(TEST_CFLAGS)
tests_model_test_whisper_file_LDADD = $(LIBMODEL) $(TEST_LIBS)

check_PROGRAMS += tests/model/gguf_tool
tests_model_gguf_tool_SOURCES = tests/model/gguf_tool.c
tests_model_gguf_tool_LDADD = $(LIBMODEL)
dist_check_SCRIPTS += tests/model/gguf-py.py
TESTS += tests/model/gguf-py.py

check_PROGRAMS += tests/model/pull_tool
tests_model_pull_tool_SOURCES = tests/model/pull_tool.c
tests_model_pull_tool_LDADD = $(LIBMODEL)
dist_check_SCRIPTS += tests/model/pull-http.py
TESTS += tests/model/pull-http.py
dist_check_SCRIPTS += tests/model/pull-pypi.py
TESTS += tests/model/pull-pypi.py

check_PROGRAMS += tests/model/test_source
TESTS += tests/model/test_source
tests_model_test_source_SOURCES = tests/model/test_source.c tests/test.h
tests_model_test_source_CFLAGS = $(TEST_CFLAGS)
tests_model_test_source_LDADD = $(LIBMODEL) $(TEST_LIBS)

# Chat templates: against expectations, and against Jinja2 through render_template
check_PROGRAMS += tests/model/test_template
TESTS += tests/model/test_template
tests_model_test_template_SOURCES = tests/model/test_template.c tests/test.h
tests_model_test_template_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_model_test_template_LDADD = $(LIBMODEL) $(TEST_LIBS)

check_PROGRAMS += tests/model/test_chat
TESTS += tests/model/test_chat
tests_model_test_chat_SOURCES = tests/model/test_chat.c tests/model/vocab.h tests/test.h
tests_model_test_chat_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_model_test_chat_LDADD = $(LIBMODEL) $(TEST_LIBS)

check_PROGRAMS += tests/model/render_template
tests_model_render_template_SOURCES = tests/model/render_template.c
tests_model_render_template_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_model_render_template_LDADD = $(LIBMODEL)
dist_check_SCRIPTS += tests/model/template-jinja2.py
TESTS += tests/model/template-jinja2.py
EXTRA_DIST += \
  tests/reference/templates/blocks.jinja \
  tests/reference/templates/command-r.jinja \
  tests/reference/templates/deepseek-r1.jinja \
  tests/reference/templates/deepseek-v2.jinja \
  tests/reference/templates/gemma2.jinja \
  tests/reference/templates/gemma3.jinja \
  tests/reference/templates/llama2.jinja \
  tests/reference/templates/llama3.1.jinja \
  tests/reference/templates/llama3.jinja \
  tests/reference/templates/mistral-v0.3.jinja \
  tests/reference/templates/mixtral.jinja \
  tests/reference/templates/phi3.jinja \
  tests/reference/templates/phi4-mini.jinja \
  tests/reference/templates/qwen2.5.jinja \
  tests/reference/templates/qwen3.jinja \
  tests/reference/templates/smollm2.jinja \
  tests/reference/templates/smolvlm.jinja \
  tests/reference/templates/vicuna.jinja \
  tests/reference/templates/zephyr.jinja

check_PROGRAMS += tests/model/test_convert
TESTS += tests/model/test_convert
tests_model_test_convert_SOURCES = tests/model/test_convert.c tests/test.h
tests_model_test_convert_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_model_test_convert_LDADD = $(LIBMODEL) $(TEST_LIBS)
