#include "config.h"
#include "model/chat_formats.h"

#include <stddef.h>

/* What the families publish, with a system message in its place wherever the format has one (or
 * before the first user's text where it has none). Control tokens that a vocabulary may spell in
 * its own way come from bos_token and eos_token. */

#define GENERATION(text) "{% if add_generation_prompt %}{{ '" text "' }}{% endif %}"

/* Sets `system` and `rest`. */
#define SPLIT_SYSTEM                                                                          \
    "{% if messages and messages[0].role == 'system' %}"                                      \
    "{% set system = messages[0].content %}{% set rest = messages[1:] %}"                     \
    "{% else %}{% set system = none %}{% set rest = messages %}{% endif %}"

static const char chatml[] =
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{% endfor %}" GENERATION("<|im_start|>assistant\\n");

static const char smollm2[] =
    "{% for m in messages %}"
    "{% if loop.first and m.role != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
    "Face<|im_end|>\\n' }}{% endif %}"
    "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{% endfor %}" GENERATION("<|im_start|>assistant\\n");

static const char llama2[] =
    SPLIT_SYSTEM
    "{% for m in rest %}"
    "{% if m.role == 'user' %}"
    "{{ bos_token + '[INST] ' }}"
    "{% if loop.first and system %}{{ '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' }}{% endif %}"
    "{{ m.content.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}"
    "{% endfor %}";

static const char llama3[] =
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content|trim + '<|eot_id|>' }}"
    "{% endfor %}" GENERATION("<|start_header_id|>assistant<|end_header_id|>\\n\\n");

static const char gemma[] =
    SPLIT_SYSTEM
    "{{ bos_token }}{% for m in rest %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' }}"
    "{% if loop.first and system %}{{ system + '\\n\\n' }}{% endif %}"
    "{{ m.content|trim + '<end_of_turn>\\n' }}"
    "{% endfor %}" GENERATION("<start_of_turn>model\\n");

static const char mistral[] =
    SPLIT_SYSTEM
    "{{ bos_token }}{% for m in rest %}"
    "{% if m.role == 'user' %}{{ '[INST] ' }}"
    "{% if system and loop.last %}{{ system + '\\n\\n' }}{% endif %}"
    "{{ m.content + '[/INST]' }}"
    "{% else %}{{ ' ' + m.content|trim + eos_token }}{% endif %}"
    "{% endfor %}";

static const char deepseek[] =
    SPLIT_SYSTEM
    "{{ bos_token }}{% if system %}{{ system }}{% endif %}{% for m in rest %}"
    "{% if m.role == 'user' %}{{ '<\uFF5CUser\uFF5C>' + m.content }}"
    "{% else %}{{ '<\uFF5CAssistant\uFF5C>' + m.content + eos_token }}{% endif %}"
    "{% endfor %}" GENERATION("<\uFF5C""Assistant\uFF5C>");

static const char vicuna[] =
    SPLIT_SYSTEM
    "{{ system or 'A chat between a curious user and an artificial intelligence assistant. The "
    "assistant gives helpful, detailed, and polite answers to the user\\'s questions.' }}"
    "{% for m in rest %}"
    "{% if m.role == 'user' %}{{ ' USER: ' + m.content|trim }}"
    "{% else %}{{ ' ASSISTANT: ' + m.content|trim + eos_token }}{% endif %}"
    "{% endfor %}" GENERATION(" ASSISTANT:");

static const char phi3[] =
    "{% for m in messages %}"
    "{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}"
    "{% endfor %}" GENERATION("<|assistant|>\\n");

static const char zephyr[] =
    "{% for m in messages %}"
    "{{ '<|' + m.role + '|>\\n' + m.content + eos_token + '\\n' }}"
    "{% endfor %}" GENERATION("<|assistant|>\\n");

static const char raw[] = "{% for m in messages %}{{ m.content }}{% endfor %}";

const struct sn_chat_format sn_chat_formats[] = {
    {"chatml", chatml},     {"deepseek", deepseek}, {"gemma", gemma},     {"llama2", llama2},
    {"llama3", llama3},     {"mistral", mistral},   {"phi3", phi3},       {"raw", raw},
    {"smollm2", smollm2},   {"vicuna", vicuna},     {"zephyr", zephyr},   {NULL, NULL},
};
