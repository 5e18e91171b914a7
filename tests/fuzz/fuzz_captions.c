/* Files that `sensorium caption` reads back, as a kill or a person may have left them: the ledger, tables of
 * both forms, text sidecars with a part of ours. Whatever is there, what is put afterwards is found. The
 * first byte says which. */

#include "tests/fuzz/fuzz.h"

#include "base/file.h"
#include "base/mem.h"
#include "cli/caption_ledger.h"
#include "cli/caption_sidecar.h"
#include "cli/caption_table.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[128];

static void clean_up(void)
{
    static const char *const names[] = {"table", ".sensorium/x.jsonl", ".sensorium/x.jsonl.lock", ".sensorium",
                                        ""};
    for (size_t i = 0; i < SN_COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        remove(path);
    }
}

/* In $TMPDIR, which may be in memory: what is tested syncs a lot. */
static void write_input(const char *name, const uint8_t *data, size_t size)
{
    if (!folder[0]) {
        const char *tmp = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%.40s/fuzz-XXXXXX", tmp ? tmp : "/tmp");
        fuzz_check(mkdtemp(folder) != NULL);
        snprintf(path, sizeof path, "%s/.sensorium", folder);
        fuzz_check(mkdir(path, 0700) == 0 && atexit(clean_up) == 0);
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    fuzz_check(fd >= 0 && sn_write_all(fd, data, size));
    close(fd);
}

static void read_ledger(const uint8_t *data, size_t size)
{
    struct caption_ledger *l = NULL;
    struct sn_diag d;
    json_t *result = json_pack("{s:s}", "text", "words");
    const struct caption_entry e = {.name = (char *)(uintptr_t)"a\xff.jpg", .target = (char *)(uintptr_t)"a.txt",
                                    .sha256.b = {1}, .settings.b = {2}, .wrote.b = {3}, .result = result};
    write_input(".sensorium/x.jsonl", data, size);
    fuzz_check(caption_ledger_open(folder, "x.jsonl", true, &l, &d) == 0);
    fuzz_check(caption_ledger_put(l, &e, &d) == 0);
    caption_ledger_close(&l);
    fuzz_check(caption_ledger_open(folder, "x.jsonl", false, &l, &d) == 0);
    fuzz_check(caption_ledger_find(l, e.name, e.target) != NULL);
    fuzz_check(caption_ledger_result(l, &e.sha256, &e.settings) != NULL);
    caption_ledger_close(&l);
    json_decref(result);
}

static void read_table(enum caption_form form, const uint8_t *data, size_t size)
{
    static const char *const lines[] = {[CAPTION_JSONL] = "{\"file_name\":\"=a.jpg\",\"text\":\"b\"}\n",
                                        [CAPTION_CSV] = "\"'=a.jpg\",\"b\",\"\",\"\",\"\",\"\",\"\",\"\"\n"};
    struct caption_table *t = NULL;
    struct caption_entry e = {0};
    struct sn_diag d;
    enum caption_found found;
    bool synced;
    char *line = sn_strdup(lines[form]);
    const struct sn_strbuf b = {.data = line, .len = strlen(line)};
    write_input("table", data, size);
    if (caption_table_open(path, form, true, &t, &d) == 0) {
        fuzz_check(sn_sha256_bytes(line, b.len, &e.wrote, &d) == 0);
        fuzz_check(caption_table_put(t, "=a.jpg", &b, &synced, &d) == 0);
        fuzz_check(caption_table_close(&t, &d) == 0);
        fuzz_check(caption_table_open(path, form, false, &t, &d) == 0);
        caption_table_look(t, "=a.jpg", &e, &found);
        char *text = caption_table_text(t, "=a.jpg");
        fuzz_check(found == CAPTION_OURS && text && strcmp(text, "b") == 0);
        sn_free(text);
        fuzz_check(caption_table_close(&t, &d) == 0);
    }
    sn_free(line);
}

/* Twice below a person's words is once. */
static void read_sidecar(const char *text, size_t size)
{
    char *ours = sn_strdup("--- sensorium: eyes, then ---\nours\n");
    const struct sn_strbuf b = {.data = ours, .len = strlen(ours)};
    struct sn_strbuf once = {0}, twice = {0};
    struct caption_entry e = {.appended = true};
    struct sn_diag d;
    fuzz_check(sn_sha256_bytes(ours, b.len, &e.wrote, &d) == 0);
    caption_sidecar_join(&once, text, size, NULL, &b);
    caption_sidecar_join(&twice, once.data, once.len, &e, &b);
    fuzz_check(once.len >= size && memcmp(once.data, text, size) == 0);
    fuzz_check(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
    sn_strbuf_fini(&once);
    sn_strbuf_fini(&twice);
    sn_free(ours);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    switch (data[0]) {
    case 'L': read_ledger(data + 1, size - 1); break;
    case 'J': read_table(CAPTION_JSONL, data + 1, size - 1); break;
    case 'C': read_table(CAPTION_CSV, data + 1, size - 1); break;
    case 'S': read_sidecar((const char *)data + 1, size - 1); break;
    }
    return 0;
}
