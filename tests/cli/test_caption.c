/* The parts of 'sensorium caption' that need no daemon: names, forms, escapes with hostile texts, the ledger,
 * tables, sidecars and whose they are. tests/cli/caption.py runs the command itself. */
#include "tests/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/caption_format.h"
#include "cli/caption_ledger.h"
#include "cli/caption_output.h"
#include "cli/caption_page.h"
#include "cli/caption_plan.h"
#include "cli/caption_table.h"
#include "cli/caption_text.h"
#include "cli/caption_walk.h"
#include "media/image.h"
#include "media/jpeg_write.h"

static char folder[64];

static char *in_folder(const char *name)
{
    static char paths[8][256];
    static unsigned i;
    char *path = paths[i++ % 8];
    snprintf(path, 256, "%s/%s", folder, name);
    return path;
}

static void write_text(const char *name, const char *text)
{
    struct sn_diag d;
    assert_int_equal(sn_file_write(in_folder(name), text, strlen(text), &d), 0);
}

static void assert_text(const char *name, const char *want)
{
    struct sn_diag d;
    char *text;
    size_t n;
    assert_int_equal(sn_file_read(in_folder(name), 1 << 20, &text, &n, &d), 0);
    assert_string_equal(text, want);
    sn_free(text);
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/sensorium-caption-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[100];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* --- texts --- */

typedef void put_fn(struct sn_strbuf *to, const char *s, size_t n);

static void assert_put(put_fn *put, const char *s, const char *want)
{
    struct sn_strbuf b = {0};
    put(&b, s, strlen(s));
    assert_false(b.failed);
    assert_string_equal(b.data ? b.data : "", want);
    sn_strbuf_fini(&b);
}

static void put_path(struct sn_strbuf *to, const char *s, size_t n)
{
    (void)n;
    caption_put_href(to, s);
}

static void put_bytes(struct sn_strbuf *to, const char *s, size_t n)
{
    caption_put_base64(to, (const unsigned char *)s, n);
}

static void hostile_texts_stay_texts(void **state)
{
    (void)state;
    static const struct { put_fn *put; const char *in, *want; } cases[] = {
        {caption_put_xml, "a cat", "a cat"},
        {caption_put_xml, "<script>&\"'", "&lt;script&gt;&amp;&quot;&#39;"},
        {caption_put_xml, "]]>\r\n\t", "]]&gt;&#13;\n\t"},
        {caption_put_xml, "bell\x07 nul-like\x01", "bell\xef\xbf\xbd nul-like\xef\xbf\xbd"},
        {caption_put_xml, "\xff\xc3(", "\xef\xbf\xbd\xef\xbf\xbd("},
        {caption_put_xml, "\xef\xbf\xbf", "\xef\xbf\xbd"},             /* U+FFFF is no character of XML */
        {caption_put_xml, "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
        {caption_put_xml, "\xf0\x9f\x90\x88", "\xf0\x9f\x90\x88"},
        {caption_put_csv, "plain", "\"plain\""},
        {caption_put_csv, "a,\"b\"\nc", "\"a,\"\"b\"\"\nc\""},
        {caption_put_csv, "=HYPERLINK(1)", "\"'=HYPERLINK(1)\""},
        {caption_put_csv, "@SUM", "\"'@SUM\""},
        {caption_put_csv, "", "\"\""},
        {put_path, "a b/c#d?.jpg", "./a%20b/c%23d%3F.jpg"},
        {put_path, "javascript:alert(1)", "./javascript%3Aalert%281%29"},
        {put_path, "/x/\"><b>.jpg", "/x/%22%3E%3Cb%3E.jpg"},
        {put_bytes, "", ""},
        {put_bytes, "f", "Zg=="},
        {put_bytes, "fo", "Zm8="},
        {put_bytes, "foobar", "Zm9vYmFy"},
    };
    for (size_t i = 0; i < SN_COUNT(cases); i++)
        assert_put(cases[i].put, cases[i].in, cases[i].want);
}

static void names_survive_json(void **state)
{
    (void)state;
    static const char *const names[] = {"photo.jpg", "\xff\xfe.jpg", "a\nb", "\xc3\xa4"};
    for (size_t i = 0; i < SN_COUNT(names); i++) {
        json_t *o = json_object();
        assert_true(caption_json_set_name(o, "file", names[i]));
        char *line = json_dumps(o, JSON_COMPACT);
        assert_non_null(line);
        json_decref(o);
        o = json_loads(line, 0, NULL);
        char *back = caption_json_name(o, "file");
        assert_string_equal(back, names[i]);
        sn_free(back);
        json_decref(o);
        free(line);
    }
    json_t *bad = json_pack("{s:s, s:s}", "file_hex", "6100", "a_hex", "6");
    assert_null(caption_json_name(bad, "file"));
    assert_null(caption_json_name(bad, "a"));
    json_decref(bad);
}

/* --- names of sidecars, patterns, kinds --- */

static void sidecars_have_names(void **state)
{
    (void)state;
    static const struct { const char *file; enum caption_form form; bool stem; const char *want; } cases[] = {
        {"a/photo.jpg", CAPTION_TXT, false, "a/photo.jpg.txt"},
        {"a/photo.jpg", CAPTION_XMP, true, "a/photo.xmp"},
        {"a.b/photo", CAPTION_JSON, true, "a.b/photo.json"},
        {"a/.jpg", CAPTION_TXT, true, "a/.jpg.txt"},
        {"x.tar.gz", CAPTION_TXT, true, "x.tar.txt"},
    };
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        char *name = caption_sidecar_name(cases[i].file, cases[i].form, cases[i].stem);
        assert_string_equal(name, cases[i].want);
        sn_free(name);
    }
}

static void patterns_choose(void **state)
{
    (void)state;
    static const char *const globs[] = {"*.jpg", "2024/*.png"}, *const excludes[] = {"thumbs", "private/*"};
    const struct caption_filter f = {globs, 2, excludes, 2, false}, all = {0}, flat = {.flat = true};
    assert_true(caption_filter_file(&f, "a/b.JPG"));
    assert_true(caption_filter_file(&f, "2024/x.png"));
    assert_false(caption_filter_file(&f, "x.png"));
    assert_false(caption_filter_file(&f, "private/x.jpg"));
    assert_false(caption_filter_folder(&f, "a/thumbs"));
    assert_true(caption_filter_folder(&f, "a"));
    assert_true(caption_filter_file(&all, "anything"));
    assert_false(caption_filter_folder(&flat, "a"));
}

static void kinds_are_known(void **state)
{
    (void)state;
    static const struct { const char *name, *bytes; int want; } cases[] = {
        {"a.jpg", "not looked at", SN_MEDIUM_IMAGE}, {"a.MP3", "", SN_MEDIUM_AUDIO},
        {"a.mkv", "", SN_MEDIUM_VIDEO},              {"a.txt", "\xff\xd8\xff", -1},
        {"picture", "\xff\xd8\xff\xe0", SN_MEDIUM_IMAGE}, {"sound.x", "ID3\x03", SN_MEDIUM_AUDIO},
        {"video.x", "\x1a\x45\xdf\xa3", SN_MEDIUM_VIDEO}, {"text.x", "hello", -1}, {"empty.x", "", -1},
    };
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        enum sn_medium_kind kind;
        write_text(cases[i].name, cases[i].bytes);
        const bool is = caption_kind(in_folder(cases[i].name), &kind);
        assert_int_equal(is ? (int)kind : -1, cases[i].want);
    }
}

static void the_walk_ends(void **state)
{
    (void)state;
    struct caption_files files = {0};
    struct sn_diag d;
    assert_int_equal(mkdir(in_folder("w"), 0777), 0);
    assert_int_equal(mkdir(in_folder("w/b"), 0777), 0);
    assert_int_equal(mkdir(in_folder("w/.hidden"), 0777), 0);
    assert_int_equal(symlink("..", in_folder("w/b/up")), 0); /* a loop */
    assert_int_equal(symlink("nowhere", in_folder("w/b/dangling.jpg")), 0);
    write_text("w/z.jpg", "1");
    write_text("w/a.png", "2");
    write_text("w/b/x.mp4", "3");
    write_text("w/.hidden/y.jpg", "4");
    write_text("w/a.png.txt", "words");
    assert_int_equal(caption_walk(&files, in_folder("w"), &(struct caption_filter){0}, &d), 0);
    assert_int_equal(caption_walk(&files, in_folder("w/b"), &(struct caption_filter){0}, &d), 0);
    assert_int_equal(caption_walk(&files, in_folder("w/z.jpg"), &(struct caption_filter){0}, &d), 0);
    assert_int_equal(files.n, 3);
    assert_string_equal(caption_below(files.items[0].home, files.items[0].path), "a.png");
    assert_string_equal(caption_below(files.items[0].home, files.items[1].path), "b/x.mp4");
    assert_string_equal(caption_below(files.items[0].home, files.items[2].path), "z.jpg");
    assert_int_equal(files.n_other, 1);
    caption_files_fini(&files);
    assert_int_equal(caption_walk(&files, in_folder("gone"), &(struct caption_filter){0}, &d), -SN_ENOENT);
    caption_files_fini(&files);
}

static void names_that_collide_are_named(void **state)
{
    (void)state;
    struct caption_file items[] = {{.path = "/p/a.jpg", .shown = "p/a.jpg"},
                                   {.path = "/p/b.jpg", .shown = "p/b.jpg"},
                                   {.path = "/p/a.png", .shown = "p/a.png"}};
    const struct caption_files files = {.items = items, .n = 3};
    struct caption_opts o = {.stem = true};
    struct sn_diag d;
    assert_int_equal(caption_output_collisions(&o, &files, &d), -SN_EINVAL);
    assert_non_null(strstr(d.text, "p/a.jpg and p/a.png"));
    o.stem = false;
    assert_int_equal(caption_output_collisions(&o, &files, &d), 0);
}

/* --- forms --- */

static json_t *result_of(const char *text)
{
    return json_pack("{s:s, s:s, s:{s:s, s:s}}", "text", text, "finish", "stop", "model", "name", "eyes<1>",
                     "sha256", "abc");
}

static char *printed(enum caption_form form, const char *file, const char *text)
{
    json_t *result = result_of(text);
    struct sn_strbuf b = {0};
    const struct caption_record r = {.file = file, .kind = SN_MEDIUM_IMAGE, .prompt = "what?",
                                     .result = result, .created_s = 1700000000};
    caption_print(&b, form, &r);
    json_decref(result);
    return sn_strbuf_take(&b);
}

static void forms_hold_what_was_said(void **state)
{
    (void)state;
    static const struct { enum caption_form form; const char *part; } cases[] = {
        {CAPTION_TXT, "A \"cat\", <b>bold</b> & more\n"},
        {CAPTION_JSON, "\"caption\": \"A \\\"cat\\\", <b>bold</b> & more\""},
        {CAPTION_JSON, "\"model\": \"eyes<1>\""},
        {CAPTION_JSON, "\"created_at\": \"2023-11-14T22:13:20Z\""},
        {CAPTION_XMP, ">A &quot;cat&quot;, &lt;b&gt;bold&lt;/b&gt; &amp; more</rdf:li>"},
        {CAPTION_XMP, "sensorium:model=\"eyes&lt;1&gt;\""},
        {CAPTION_JSONL, "{\"file_name\":\"=a.jpg\",\"text\":\"A \\\"cat\\\", <b>bold</b> & more\""},
        {CAPTION_CSV, "\"'=a.jpg\",\"A \"\"cat\"\", <b>bold</b> & more\",\"image\",\"eyes<1>\",\"abc\","},
    };
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        char *text = printed(cases[i].form, "=a.jpg", "  A \"cat\", <b>bold</b> & more\n\n");
        assert_non_null(strstr(text, cases[i].part));
        assert_int_equal(text[strlen(text) - 1], '\n');
        sn_free(text);
    }
}

static void small_pictures_are_read_back(void **state)
{
    (void)state;
    struct sn_image in = {0}, out = {0};
    struct sn_strbuf jpeg = {0};
    struct sn_diag d;
    assert_int_equal(sn_jpeg_write(&in, 80, &jpeg, &d), -SN_EINVAL);
    assert_true(sn_image_init(&in, 37, 21));
    for (size_t i = 0; i < 37 * 21 * 3; i++)
        in.rgb[i] = (uint8_t)(i % 3 == 0 ? 40 + i / 3 % 37 * 4 : 90);
    assert_int_equal(sn_jpeg_write(&in, 95, &jpeg, &d), 0);
    const struct sn_image_options o = {0};
    assert_int_equal(sn_image_decode((const uint8_t *)jpeg.data, jpeg.len, &o, &out, NULL, &d), 0);
    assert_int_equal(out.width, 37);
    assert_int_equal(out.height, 21);
    for (size_t i = 0; i < 37 * 21 * 3; i++)
        assert_in_range(in.rgb[i] + 12 - out.rgb[i], 0, 24);
    sn_image_fini(&in);
    sn_image_fini(&out);
    sn_strbuf_fini(&jpeg);
}

/* --- the ledger --- */

static struct caption_entry entry(const char *name, uint8_t contents, json_t *result)
{
    return (struct caption_entry){.name = (char *)(uintptr_t)name, .target = "t", .size = 5, .inode = 6,
                                  .modified_ns = 7, .sha256.b = {contents}, .settings.b = {9},
                                  .wrote.b = {contents, 1}, .writing = true, .created_s = 8,
                                  .result = result};
}

static void a_ledger_remembers(void **state)
{
    (void)state;
    struct caption_ledger *l = NULL, *other = NULL;
    struct caption_ledger_stats stats;
    struct sn_diag d;
    json_t *result = result_of("words");
    const struct caption_entry a = entry("a\xff.jpg", 1, result), b = entry("b.jpg", 2, result);
    assert_int_equal(caption_ledger_open(folder, "x.jsonl", false, &l, &d), 0);
    assert_int_equal(caption_ledger_put(l, &a, &d), -SN_EINVAL); /* read only */
    caption_ledger_close(&l);
    assert_int_equal(caption_ledger_open(folder, "x.jsonl", true, &l, &d), 0);
    assert_int_equal(caption_ledger_open(folder, "x.jsonl", true, &other, &d), -SN_EFULL);
    assert_int_equal(caption_ledger_put(l, &a, &d), 0);
    assert_int_equal(caption_ledger_put(l, &b, &d), 0);
    assert_int_equal(caption_ledger_done(l, b.name, "t", &d), 0);
    caption_ledger_close(&l);

    /* a kill in the middle of a line, and one that is none */
    const int fd = open(in_folder(".sensorium/x.jsonl"), O_WRONLY | O_APPEND);
    assert_true(sn_write_all(fd, "nonsense\n{\"file\":\"c.jpg\",\"sta", 30));
    close(fd);
    assert_int_equal(caption_ledger_open(folder, "x.jsonl", true, &l, &d), 0);
    caption_ledger_stats(l, &stats);
    assert_int_equal(stats.n_entries, 2);
    assert_int_equal(stats.n_bad, 1);
    const struct caption_entry *e = caption_ledger_find(l, "a\xff.jpg", "t");
    assert_non_null(e);
    assert_true(e->writing);
    assert_int_equal(e->modified_ns, 7);
    assert_false(caption_ledger_find(l, "b.jpg", "t")->writing);
    assert_null(caption_ledger_find(l, "b.jp", "gt"));
    assert_ptr_equal(caption_ledger_result(l, &b.sha256, &b.settings), caption_ledger_find(l, "b.jpg", "t"));
    assert_ptr_equal(caption_ledger_wrote(l, &a.wrote), e);
    assert_int_equal(caption_ledger_put(l, &(struct caption_entry){
        .name = "c.jpg", .target = "t", .result = result}, &d), 0);
    caption_ledger_close(&l);

    assert_int_equal(caption_ledger_open(folder, "x.jsonl", true, &l, &d), 0);
    caption_ledger_stats(l, &stats);
    assert_int_equal(stats.n_entries, 3);
    assert_int_equal(stats.n_bad, 1);
    caption_ledger_close(&l);
    json_decref(result);
}

static void a_ledger_of_old_lines_is_written_anew(void **state)
{
    (void)state;
    struct caption_ledger *l = NULL;
    struct caption_ledger_stats stats;
    struct sn_diag d;
    json_t *result = result_of("words");
    assert_int_equal(caption_ledger_open(folder, "old.jsonl", true, &l, &d), 0);
    for (unsigned i = 0; i < 1100; i++)
        assert_int_equal(caption_ledger_done(l, "none.jpg", "t", &d), 0);
    const struct caption_entry a = entry("a.jpg", 1, result);
    assert_int_equal(caption_ledger_put(l, &a, &d), 0);
    caption_ledger_close(&l);
    assert_int_equal(caption_ledger_open(folder, "old.jsonl", true, &l, &d), 0);
    caption_ledger_stats(l, &stats);
    assert_int_equal(stats.n_lines, 1);
    assert_non_null(caption_ledger_find(l, "a.jpg", "t"));
    caption_ledger_close(&l);
    json_decref(result);
}

/* --- tables --- */

static void put_row(struct caption_table *t, enum caption_form form, const char *file, const char *text,
                    struct caption_entry *e)
{
    struct sn_diag d;
    char *line = printed(form, file, text);
    struct sn_strbuf b = {.data = line, .len = strlen(line)};
    assert_int_equal(sn_sha256_bytes(line, b.len, &e->wrote, &d), 0);
    bool synced;
    assert_int_equal(caption_table_put(t, file, &b, &synced, &d), 0);
    sn_free(line);
}

static void assert_row(const struct caption_table *t, const char *file, const struct caption_entry *e,
                       enum caption_found want, const char *text)
{
    enum caption_found found;
    caption_table_look(t, file, e, &found);
    assert_int_equal(found, want);
    char *is = caption_table_text(t, file);
    if (text)
        assert_string_equal(is, text);
    else
        assert_null(is);
    sn_free(is);
}

static void tables_are_mended_and_go_on(void **state)
{
    (void)state;
    static const char *const torn[] = {[CAPTION_JSONL] = "{\"file_name\":\"c.jpg\",\"te",
                                       [CAPTION_CSV] = "\"c.jpg\",\"a caption\nthat is cu"};
    static const char *const person[] = {
        [CAPTION_JSONL] = "{\"file_name\":\"p.jpg\",\"text\":\"mine\"}",
        [CAPTION_CSV] = "\"p.jpg\",\"mine\",\"\",\"\",\"\",\"\",\"\",\"\""};
    for (enum caption_form form = CAPTION_JSONL; form <= CAPTION_CSV; form++) {
        struct caption_table *t = NULL;
        struct caption_entry a = {0}, b = {0};
        struct sn_diag d;
        char *path = in_folder(caption_form_name(form));
        assert_int_equal(caption_table_open(path, form, true, &t, &d), 0);
        put_row(t, form, "=a.jpg", "one\ntwo, \"three\"", &a);
        put_row(t, form, "b.jpg", "b", &b);
        assert_int_equal(caption_table_close(&t, &d), 0);
        int fd = open(path, O_WRONLY | O_APPEND);
        assert_true(sn_write_all(fd, torn[form], strlen(torn[form])));
        close(fd);
        assert_int_equal(caption_table_open(path, form, true, &t, &d), 0);
        assert_row(t, "=a.jpg", &a, CAPTION_OURS, "one\ntwo, \"three\"");
        assert_row(t, "b.jpg", &a, CAPTION_FOREIGN, "b");
        assert_row(t, "c.jpg", NULL, CAPTION_ABSENT, NULL);
        put_row(t, form, "b.jpg", "better", &b); /* in the place of the first */
        assert_int_equal(caption_table_close(&t, &d), 0);
        fd = open(path, O_WRONLY | O_APPEND);
        assert_true(sn_write_all(fd, person[form], strlen(person[form]))); /* whole but for the line feed */
        close(fd);
        assert_int_equal(caption_table_open(path, form, true, &t, &d), 0);
        assert_row(t, "b.jpg", &b, CAPTION_OURS, "better");
        assert_row(t, "p.jpg", NULL, CAPTION_FOREIGN, "mine");
        put_row(t, form, "d.jpg", "d", &b);
        assert_int_equal(caption_table_close(&t, &d), 0);
        char *text;
        size_t n;
        assert_int_equal(sn_file_read(path, 1 << 20, &text, &n, &d), 0);
        const char *first = strstr(text, "b.jpg");
        assert_true(first && !strstr(first + 1, "b.jpg")); /* the old line is gone */
        sn_free(text);
    }
    write_text("other.csv", "name,age\n");
    struct caption_table *t = NULL;
    struct sn_diag d;
    assert_int_equal(caption_table_open(in_folder("other.csv"), CAPTION_CSV, true, &t, &d), -SN_EFORMAT);
    assert_text("other.csv", "name,age\n");
}

/* Each allocation fails once; what was put then is there, or the error says that it is not. */
static void memory_may_run_out(void **state)
{
    (void)state;
    json_t *result = result_of("words");
    int rc = -SN_ENOMEM;
    for (long n = 1; rc < 0 && n < 1000; n++) {
        struct caption_ledger *l = NULL;
        struct caption_table *t = NULL;
        struct caption_entry a = entry("a.jpg", 1, result);
        struct sn_strbuf line = {0};
        struct sn_diag d;
        bool synced;
        unlink(in_folder("m.csv"));
        sn_test_fail_alloc(n);
        const struct caption_record r = {.file = "a.jpg", .result = result};
        caption_print(&line, CAPTION_CSV, &r);
        rc = caption_ledger_open(folder, "m.jsonl", true, &l, &d);
        if (rc == 0)
            rc = caption_ledger_put(l, &a, &d);
        if (rc == 0)
            rc = caption_table_open(in_folder("m.csv"), CAPTION_CSV, true, &t, &d);
        if (rc == 0)
            rc = caption_table_put(t, "a.jpg", &line, &synced, &d);
        sn_test_fail_alloc(0);
        if (rc < 0)
            assert_int_equal(rc, -SN_ENOMEM);
        assert_int_equal(caption_table_close(&t, &d), 0);
        caption_ledger_close(&l);
        sn_strbuf_fini(&line);
    }
    assert_int_equal(rc, 0);
    json_decref(result);
}

/* --- sidecars, and whose they are --- */

static void assert_found(const char *name, const struct caption_entry *e, enum caption_found want)
{
    enum caption_found found;
    struct sn_diag d;
    assert_int_equal(caption_sidecar_look(in_folder(name), e, &found, NULL, &d), 0);
    assert_int_equal(found, want);
}

static void persons_words_are_told_from_ours(void **state)
{
    (void)state;
    struct caption_entry e = {0};
    struct sn_diag d;
    struct sn_strbuf ours = {0}, whole = {0};
    sn_strbuf_puts(&ours, "ours\n");
    assert_int_equal(sn_sha256_bytes("ours\n", 5, &e.wrote, &d), 0);
    assert_found("s.txt", &e, CAPTION_ABSENT);
    assert_int_equal(caption_sidecar_write(folder, in_folder("s.txt"), &ours, true, &d), 0);
    assert_found("s.txt", &e, CAPTION_OURS);
    assert_found("s.txt", NULL, CAPTION_FOREIGN);
    assert_int_equal(caption_sidecar_write(folder, in_folder("s.txt"), &ours, true, &d), -SN_EFULL);
    write_text("s.txt", "a person's");
    assert_found("s.txt", &e, CAPTION_FOREIGN);
    assert_int_equal(symlink("s.txt", in_folder("link.txt")), 0);
    assert_found("link.txt", &e, CAPTION_FOREIGN);

    e.appended = true;
    sn_strbuf_clear(&ours);
    sn_strbuf_puts(&ours, "--- sensorium: eyes, then ---\nours\n");
    assert_int_equal(sn_sha256_bytes(ours.data, ours.len, &e.wrote, &d), 0);
    caption_sidecar_join(&whole, "a person's", 10, NULL, &ours);
    assert_string_equal(whole.data, "a person's\n\n--- sensorium: eyes, then ---\nours\n");
    write_text("s.txt", whole.data);
    assert_found("s.txt", &e, CAPTION_OURS);
    const char *longer = "a person's, and more\n\n--- sensorium: eyes, then ---\nours\n";
    write_text("s.txt", longer);
    assert_found("s.txt", &e, CAPTION_OURS);
    struct sn_strbuf next = {0};
    sn_strbuf_puts(&next, "--- sensorium: eyes, later ---\nnew\n");
    sn_strbuf_clear(&whole);
    caption_sidecar_join(&whole, longer, strlen(longer), &e, &next);
    assert_string_equal(whole.data, "a person's, and more\n\n--- sensorium: eyes, later ---\nnew\n");
    write_text("s.txt", "a person's\n\n--- sensorium: eyes, then ---\nours, changed\n");
    assert_found("s.txt", &e, CAPTION_FOREIGN);
    sn_strbuf_fini(&ours);
    sn_strbuf_fini(&whole);
    sn_strbuf_fini(&next);
}

static void verdicts_respect_people(void **state)
{
    (void)state;
    const enum caption_policy K = CAPTION_KEEP, R = CAPTION_REPLACE, A = CAPTION_APPEND;
    const struct {
        bool known, writing, same_contents, same_settings;
        enum caption_found found;
        enum caption_policy policy;
        bool redo;
        enum caption_verdict want;
    } cases[] = {
        {0, 0, 0, 0, CAPTION_ABSENT, K, 0, CAPTION_WRITE},
        {0, 0, 0, 0, CAPTION_FOREIGN, K, 0, CAPTION_PERSON},
        {0, 0, 0, 0, CAPTION_FOREIGN, R, 0, CAPTION_PERSON},
        {0, 0, 0, 0, CAPTION_FOREIGN, R, 1, CAPTION_PERSON},
        {0, 0, 0, 0, CAPTION_FOREIGN, A, 0, CAPTION_ADD},
        {1, 0, 1, 1, CAPTION_OURS, K, 0, CAPTION_DONE},
        {1, 0, 1, 1, CAPTION_OURS, K, 1, CAPTION_WRITE},
        {1, 0, 1, 1, CAPTION_ABSENT, R, 0, CAPTION_DELETED},
        {1, 0, 1, 1, CAPTION_ABSENT, K, 1, CAPTION_WRITE},
        {1, 0, 1, 1, CAPTION_FOREIGN, A, 0, CAPTION_EDITED},
        {1, 0, 1, 1, CAPTION_FOREIGN, K, 1, CAPTION_EDITED},
        {1, 0, 0, 1, CAPTION_OURS, K, 0, CAPTION_WRITE},   /* the file changed */
        {1, 0, 0, 1, CAPTION_FOREIGN, R, 0, CAPTION_EDITED},
        {1, 0, 0, 1, CAPTION_FOREIGN, A, 0, CAPTION_ADD},
        {1, 0, 1, 0, CAPTION_OURS, K, 0, CAPTION_OTHER_SETTINGS},
        {1, 0, 1, 0, CAPTION_OURS, R, 0, CAPTION_WRITE},
        {1, 0, 1, 0, CAPTION_FOREIGN, R, 0, CAPTION_EDITED},
        {1, 0, 1, 0, CAPTION_ABSENT, K, 0, CAPTION_DELETED},
        {1, 1, 1, 1, CAPTION_OURS, K, 0, CAPTION_ADOPT},   /* killed behind the rename, and before it: */
        {1, 1, 1, 1, CAPTION_ABSENT, K, 0, CAPTION_WRITE},
        {1, 1, 1, 1, CAPTION_STALE, K, 0, CAPTION_WRITE},
        {1, 1, 1, 1, CAPTION_FOREIGN, K, 0, CAPTION_PERSON},
    };
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        const struct caption_facts f = {cases[i].known, cases[i].writing, cases[i].same_contents,
                                        cases[i].same_settings, cases[i].found};
        const enum caption_verdict is = caption_judge(&f, cases[i].policy, cases[i].redo);
        if (is != cases[i].want)
            fail_msg("case %zu: %s", i, caption_verdict_text(is));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_texts_stay_texts),
        cmocka_unit_test(names_survive_json),
        cmocka_unit_test(sidecars_have_names),
        cmocka_unit_test(patterns_choose),
        cmocka_unit_test(kinds_are_known),
        cmocka_unit_test(the_walk_ends),
        cmocka_unit_test(names_that_collide_are_named),
        cmocka_unit_test(forms_hold_what_was_said),
        cmocka_unit_test(small_pictures_are_read_back),
        cmocka_unit_test(a_ledger_remembers),
        cmocka_unit_test(a_ledger_of_old_lines_is_written_anew),
        cmocka_unit_test(tables_are_mended_and_go_on),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(persons_words_are_told_from_ours),
        cmocka_unit_test(verdicts_respect_people),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
