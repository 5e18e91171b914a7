#include "tests/fuzz/fuzz.h"

#include "base/mem.h"
#include "model/template.h"

#include <string.h>

/* A template, a zero byte, and JSON for its variables (a fixed conversation when there is none).
 * Whatever they are, rendering ends and every byte has an origin. */

static const char fixed[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"\\u4e16 <b>\"},"
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":"
    "{\"a\":[1,2.5,true]}}}]}],\"tools\":[{\"name\":\"f\"}],\"bos_token\":\"<s>\",\"eos_token\":\"</s>\","
    "\"add_generation_prompt\":true}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *source = (const char *)data;
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    const size_t n = end ? (size_t)(end - data) : size;
    struct sn_template *t = NULL;
    struct sn_rendered r = {0};
    struct sn_diag d;
    json_error_t e;
    if (n > 4096 || sn_template_new("fuzz", source, n, &t, &d) < 0)
        return 0;
    json_t *vars = NULL;
    if (end && size - n > 1)
        vars = json_loadb(source + n + 1, size - n - 1, 0, &e);
    if (!json_is_object(vars)) {
        json_decref(vars);
        vars = json_loads(fixed, 0, &e);
    }
    if (vars && sn_template_render(t, vars, &r, &d) == 0) {
        fuzz_use(fuzz_touch(r.text, r.n + 1));
        for (size_t i = 0; i < r.n; i++)
            fuzz_check(r.from_data[i] <= 1);
    }
    sn_rendered_fini(&r);
    json_decref(vars);
    sn_template_free(&t);
    return 0;
}
