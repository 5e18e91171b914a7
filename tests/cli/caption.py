#!/usr/bin/env python3
"""sensorium caption, whole runs against tests/cli/caption_daemon.py: whose words are whose, nothing twice,
nothing lost when it is killed, failures, tables, pages, watching."""

import csv
import hashlib
import html.parser
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
import xml.etree.ElementTree as xml
import zlib

from program import HERE, PROGRAM, check, main

try:
    import zmq  # noqa: F401  the stand-in for the daemon wants it
except ImportError:
    print("skip: pyzmq is not there")
    sys.exit(77)

PROMPT = "Describe this picture in one or two sentences."
QUICK = bool(os.environ.get("SN_TEST_QUICK") or os.environ.get("SN_TEST_SANITIZED"))


def said(data, prompt=PROMPT):
    return f"{prompt}: {hashlib.sha256(data).hexdigest()[:12]}"


class Place:
    """A folder with media, a cache, a log of the jobs that were run."""

    def __init__(self, tmp, name):
        self.top = tmp / name
        self.media = self.top / "media"
        self.media.mkdir(parents=True)
        self.log = self.top / "jobs.log"
        self.daemon = self.top / "sensoriumd"
        self.daemon.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE}/caption_daemon.py" "$@"\n')
        self.daemon.chmod(0o755)
        for model in ("eyes.gguf", "whisper.gguf"):
            (self.top / model).write_text("")
        self.env = {**os.environ, "SENSORIUMD": str(self.daemon), "SENSORIUM_CACHE": str(self.top / "cache"),
                    "XDG_RUNTIME_DIR": str(self.top), "FAKE_LOG": str(self.log)}
        for name in ("SENSORIUM_ENDPOINT", "FAKE_DELAY", "FAKE_REJECT", "FAKE_CRASH", "FAKE_FORBID"):
            self.env.pop(name, None)

    def put(self, name, data):
        path = self.media / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def text(self, name):
        path = self.media / name
        return path.read_text() if path.exists() else None

    def jobs(self):
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    def command(self, *args, own=True):
        models = ["-m", self.top / "eyes.gguf", "--audio-model", self.top / "whisper.gguf"] if own else []
        return [PROGRAM, "caption", *map(str, models), *map(str, args), str(self.media)]

    def ledger(self, table):
        return table.parent / ".sensorium" / f"{table.name}.ledger"

    def run(self, *args, want=0, own=True, **env):
        """The summary."""
        done = subprocess.run(self.command("--json", *args, own=own), capture_output=True, timeout=120, check=False,
                              env={**self.env, **env})
        err = done.stderr.decode(errors="replace")
        check(done.returncode == want, f"{self.top.name} {args}: exit status {done.returncode}, not {want}: {err[-400:]}")
        self.err = err
        try:
            return json.loads(done.stdout)
        except ValueError:
            return {"skipped": {}}

    def start(self, *args, own=True, **env):
        return subprocess.Popen(self.command(*args, own=own), env={**self.env, **env}, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE)


def equal(is_, want, what):
    check(is_ == want, f"{what}: {is_!r}, not {want!r}")


def wait_for(condition, what, seconds=20):
    until = time.time() + seconds
    while not condition():
        if time.time() > until:
            return check(False, f"{what}: not within {seconds} s")
        time.sleep(0.05)
    return True


def no_litter(p):
    left = [str(x) for x in p.top.rglob("*part-*")]
    check(not left, f"files are left over: {left}")


# --- runs ---

def what_is_done_is_not_done_again(tmp):
    p = Place(tmp, "again")
    for i in range(4):
        p.put(f"{i}.jpg", f"picture {i}")
    p.put("copy of 1.JPG", "picture 1")
    p.put("talk.mp3", "talk")
    p.put("sub/film.mp4", "film")
    p.put("bad.png", "broken")
    p.put("no ending", b"\x89PNG\r\n\x1a\n")
    p.put("notes.txt", "mine")
    p.put(".hidden.jpg", "hidden")
    s = p.run("--dry-run")
    equal((s["captioned"], s["reused"]), (8, 1), "dry run")
    check(not (p.media / ".sensorium").exists() and not (p.media / "0.jpg.txt").exists(), "a dry run leaves files")
    equal(p.jobs(), 0, "jobs of a dry run")
    s = p.run(want=3)
    equal((s["files"], s["captioned"], s["reused"], s["failed"]), (9, 7, 1, 1), "first run")
    equal(s["failures"][0]["code"], "media_broken", "code")
    check("bad.png: it is broken" in p.err, f"failures are told: {p.err}")
    equal(p.text("0.jpg.txt"), said(b"picture 0") + "\n", "a caption")
    equal(p.text("copy of 1.JPG.txt"), p.text("1.jpg.txt"), "an equal file's")
    equal(p.text("sub/film.mp4.txt"), said(b"film") + "\n", "a video's")
    equal(p.text("talk.mp3.txt"), said(b"talk", "said") + "\n", "a transcript")
    check(p.text("no ending.txt") and p.text(".hidden.jpg.txt") is None, "what is a picture")
    errors = (p.media / ".sensorium/errors.jsonl").read_text().splitlines()
    equal([json.loads(e)["code"] for e in errors], ["media_broken"], "errors.jsonl")
    equal(p.jobs(), 8, "jobs")
    (p.media / "bad.png").unlink()
    s = p.run()
    equal((s["captioned"], s["skipped"]["done"], p.jobs()), (0, 8, 8), "second run")
    check(not (p.media / ".sensorium/errors.jsonl").exists(), "errors of an earlier run are gone")
    p.put("0.jpg", "picture 0, retouched")
    os.utime(p.media / "1.jpg")
    s = p.run()
    equal((s["captioned"], s["skipped"]["done"], p.jobs()), (1, 7, 9), "a changed file, and one that was touched")
    equal(p.text("0.jpg.txt"), said(b"picture 0, retouched") + "\n", "its caption")
    (p.media / "2.jpg").rename(p.media / "renamed.jpg")
    (p.media / "3.jpg").rename(p.media / "moved.jpg")
    (p.media / "3.jpg.txt").rename(p.media / "moved.jpg.txt")
    s = p.run()
    equal((s["captioned"], s["reused"], s["skipped"]["done"], p.jobs()), (0, 1, 7, 9), "renamed files")
    equal(p.text("renamed.jpg.txt"), said(b"picture 2") + "\n", "a renamed file's caption")
    s = p.run("--existing", "replace")
    equal((s["captioned"], s["skipped"]["done"]), (0, 8), "and they are known afterwards")
    check(not list((p.top / "cache/caption").glob("*/jobs.jsonl")), "the daemon's folder is gone after a whole run")
    no_litter(p)


def persons_words_stand(tmp):
    p = Place(tmp, "person")
    for i in range(5):
        p.put(f"{i}.jpg", f"picture {i}")
    p.put("0.jpg.txt", "my words")
    s = p.run()
    equal((s["captioned"], s["skipped"]["person"]), (4, 1), "keep")
    equal(p.text("0.jpg.txt"), "my words", "a person's words")
    p.put("1.jpg.txt", "edited")
    (p.media / "2.jpg.txt").unlink()
    s = p.run("--existing", "replace")
    equal((s["captioned"], s["skipped"]["edited"], s["skipped"]["deleted"], s["skipped"]["done"]), (0, 1, 1, 2),
          "edited, deleted")
    s = p.run("--prompt", "Else?")
    equal((s["captioned"], s["skipped"]["other_settings"]), (0, 2), "another prompt, keep")
    s = p.run("--prompt", "Else?", "--existing", "replace")
    equal((s["captioned"], s["skipped"]["person"], s["skipped"]["edited"]), (3, 1, 1), "another prompt, replace")
    equal(p.text("3.jpg.txt"), said(b"picture 3", "Else?") + "\n", "our own is replaced")
    equal((p.text("0.jpg.txt"), p.text("1.jpg.txt")), ("my words", "edited"), "a person's are not")
    (p.media / "2.jpg.txt").unlink()
    s = p.run("--prompt", "Else?", "--redo")
    equal((s["captioned"], s["skipped"]["person"], s["skipped"]["edited"]), (3, 1, 1), "redo")
    equal((p.text("0.jpg.txt"), p.text("1.jpg.txt")), ("my words", "edited"), "redo leaves a person's words")
    check(p.text("2.jpg.txt"), "redo writes what was deleted")
    s = p.run("--prompt", "Else?", "--existing", "append")
    text = p.text("0.jpg.txt")
    check(text.startswith("my words\n\n--- sensorium: eyes, ") and text.endswith(said(b"picture 0", "Else?") + "\n"),
          f"append: {text!r}")
    check(p.text("1.jpg.txt").startswith("edited\n\n--- sensorium: "), "another prompt's, below what a person made of ours")
    p.put("0.jpg.txt", "my words, better\n" + text[len("my words\n"):])
    s = p.run("--prompt", "Third?", "--existing", "append")
    text = p.text("0.jpg.txt")
    check(text.startswith("my words, better\n\n--- sensorium: ") and text.count("--- sensorium: ") == 1 and
          text.endswith(said(b"picture 0", "Third?") + "\n"), f"append again: {text!r}")
    before = text
    p.run("--prompt", "Third?", "--existing", "append")
    equal(p.text("0.jpg.txt"), before, "append, a second run")
    (p.media / "link.jpg").write_bytes(b"linked")
    target = p.top / "precious"
    target.write_text("precious")
    (p.media / "link.jpg.txt").symlink_to(target)
    p.run("--existing", "append", "--prompt", "Third?", want=3)
    equal(target.read_text(), "precious", "what a link points to")
    no_litter(p)


def forms_and_tables(tmp):
    p = Place(tmp, "forms")
    hostile = 'a <b> & "c".jpg'
    p.put(hostile, "one")
    p.put(b"\xff bad utf-8.jpg".decode(errors="surrogateescape"), "two")
    p.put("=1+1.jpg", "three")
    p.put("talk.wav", "talk")
    p.put("cut.jpg", "a long one")
    p.put("silent.mp3", "empty")
    s = p.run("--to", "xmp", "--prompt", "<&>")
    equal((s["captioned"], s["cut"], s["no_speech"]), (6, 1, 1), "xmp")
    tree = xml.parse(p.media / f"{hostile}.xmp")
    texts = [e.text for e in tree.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li")]
    equal(texts, [said(b"one", "<&>")], "dc:description")
    names = {k for e in tree.iter() for k in e.attrib}
    check({"{urn:sensorium:caption:1#}model", "{urn:sensorium:caption:1#}promptSHA256"} <= names, f"origin: {names}")
    before = p.jobs()
    s = p.run("--to", "json", "--prompt", "<&>")
    equal((s["captioned"], s["reused"], p.jobs()), (0, 6, before), "another form wants no jobs")
    o = json.loads(p.text("talk.wav.json"))
    equal((o["caption"], o["language"], o["segments"][0]["text"]), (said(b"talk", "said"), "en", "said"), "json")
    equal(o["origin"]["file_sha256"], hashlib.sha256(b"talk").hexdigest(), "json: the file's digest")

    for form, table in (("jsonl", p.media / "metadata.jsonl"), ("csv", p.top / "all.csv")):
        s = p.run("--to", form, "--output", table)
        equal(s["captioned"] + s["reused"], 6, form)
        whole = table.read_bytes()
        s = p.run("--to", form, "--output", table)
        equal((s["skipped"]["done"], table.read_bytes() == whole), (6, True), f"{form}: a second run")
        ledger = p.ledger(table)  # as a kill leaves them
        ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-1]))
        table.write_bytes(whole[:-7])
        before = p.jobs()
        s = p.run("--to", form, "--output", table)
        equal(table.read_bytes(), whole, f"{form}: its last line is mended")
        equal(p.jobs(), before, f"{form}: without a job")
        p.put("cut.jpg", f"another one for {form}")
        s = p.run("--to", form, "--output", table)
        equal((s["captioned"], s["skipped"]["done"]), (1, 5), f"{form}: a changed file")
        equal(table.read_bytes().count(b"\n"), whole.count(b"\n"), f"{form}: the old line is gone")
    rows = [json.loads(line) for line in (p.media / "metadata.jsonl").read_text().splitlines()]
    equal({r["file_name"] for r in rows} >= {hostile, "=1+1.jpg", "talk.wav"}, True, "jsonl: names")
    equal([r["file_name_hex"] for r in rows if "file_name_hex" in r], [b"\xff bad utf-8.jpg".hex()], "jsonl: bytes")
    with open(p.top / "all.csv", newline="", encoding="utf-8", errors="surrogateescape") as f:
        rows = list(csv.DictReader(f))
    check(f"media/{hostile}" in {r["file_name"] for r in rows}, "csv: names")
    check(said(b"three") in {r["text"] for r in rows}, "csv: texts")

    before = p.jobs()
    s = p.run("--to", "xmp", "--stem", "--prompt", "<&>")
    equal(p.text("talk.xmp") is not None, True, "--stem")
    p.put("talk.jpg", "another")
    p.run("--to", "xmp", "--stem", want=2)
    check("talk.jpg and " in p.err and p.text("talk.xmp"), f"two files of one stem: {p.err}")


def patterns(tmp):
    p = Place(tmp, "patterns")
    for name in ("a.jpg", "b.png", "private/c.jpg", "deep/er/d.jpg"):
        p.put(name, name)
    equal(p.run("--glob", "*.jpg", "--exclude", "private", "--dry-run")["captioned"], 2, "--glob, --exclude")
    equal(p.run("--no-recursive", "--dry-run")["captioned"], 2, "--no-recursive")
    (p.media / "deep/er/loop").symlink_to(p.media)
    equal(p.run("--dry-run")["captioned"], 4, "a loop of links")
    # a ledger is found from below and from above
    p.run()
    sub = subprocess.run([*p.command("--json")[:-1], str(p.media / "deep/er")], capture_output=True, env=p.env,
                         check=False)
    equal(json.loads(sub.stdout)["skipped"]["done"], 1, "a folder of the folder")


# --- faults ---

def a_kill_at_any_moment(tmp):
    p = Place(tmp, "kill")
    rng = random.Random(5)
    n = 24
    for i in range(n):
        p.put(f"{i}.jpg", f"picture {i}")
    kills = 0
    for _ in range(4 if QUICK else 10):
        process = p.start("--jobs", "4", FAKE_DELAY="0.05")
        time.sleep(rng.uniform(0.1, 1.0))
        process.kill()
        process.wait()
        kills += 1
        if len(list(p.media.glob("*.txt"))) == n:
            break
    s = p.run()
    equal(s["captioned"] + s["reused"] + s["skipped"]["done"] + s["skipped"]["adopted"], n, f"after {kills} kills")
    for i in range(n):
        equal(p.text(f"{i}.jpg.txt"), said(f"picture {i}".encode()) + "\n", f"picture {i}")
    # The stand-in dies with the program, and may be at work on one just then.
    check(p.jobs() <= n + kills, f"{p.jobs()} jobs for {n} pictures after {kills} kills")
    equal(p.run("--existing", "replace")["skipped"]["done"], n, "all are known as ours")
    no_litter(p)


def an_interrupt_writes_what_came(tmp):
    p = Place(tmp, "interrupt")
    for i in range(12):
        p.put(f"{i}.jpg", f"picture {i}")
    process = p.start("--jobs", "2", FAKE_DELAY="0.2")
    wait_for(lambda: (p.media / "0.jpg.txt").exists(), "a first caption")
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=30)[1].decode()
    equal(process.returncode, 130, f"Ctrl-C: {err}")
    n = len(list(p.media.glob("*.txt")))
    check(0 < n < 12, f"{n} captions when it was interrupted")
    s = p.run()
    equal(s["captioned"] + s["reused"], 12 - n, "the rest")


def a_busy_daemon_that_falls_over(tmp):
    p = Place(tmp, "trouble")
    for i in range(10):
        p.put(f"{i}.jpg", f"picture {i}")
    s = p.run(FAKE_REJECT="3", FAKE_CRASH="4", FAKE_DELAY="0.02")
    equal(s["captioned"], 10, "all are done")
    check("the stand-in falls over" in p.err, f"and it is told: {p.err}")
    p.put("new.jpg", "new")
    p.env["SENSORIUMD"] = str(p.top / "fails")
    (p.top / "fails").write_text("#!/bin/sh\necho 'it cannot be' >&2\nexit 1\n")
    (p.top / "fails").chmod(0o755)
    p.run(want=1)
    check("it cannot be" in p.err, f"why it did not start: {p.err}")
    p.env["SENSORIUMD"] = str(p.top / "nowhere")
    p.run(want=1)
    check("nowhere" in p.err, f"what was not there: {p.err}")


def somebody_elses_daemon(tmp):
    p = Place(tmp, "remote")
    for i in range(8):
        p.put(f"{i}.jpg", f"picture {i}")
    p.put("fail.jpg", "partial")
    endpoint = f"ipc://{p.top}/socket"

    def serve(**env):
        return subprocess.Popen([p.daemon, "--data", p.top / "data", "--endpoint", endpoint],
                                env={**p.env, **env})
    daemon = serve(FAKE_DELAY="0.3")
    try:
        wait_for(lambda: (p.top / "socket").exists(), "the daemon")
        p.run("--endpoint", endpoint, "-m", "ears", own=False, want=1)
        check("no model 'ears'" in p.err and "eyes" in p.err, f"a model it does not have: {p.err}")
        process = p.start("--endpoint", endpoint, "--jobs", "3", own=False)
        wait_for(lambda: list(p.media.glob("*.txt")), "a first caption")
        daemon.kill()
        daemon.wait()
        daemon = serve()
        err = process.communicate(timeout=60)[1].decode()
        equal(process.returncode, 3, f"a daemon that is started again: {err}")
        for i in range(8):
            equal(p.text(f"{i}.jpg.txt"), said(f"picture {i}".encode()) + "\n", f"picture {i}")
        equal(p.text("fail.jpg.txt"), said(b"partial") + "\n", "what there is of a part")
        check(p.jobs() <= 10, f"{p.jobs()} jobs for 9 files")
        shutil.rmtree(p.media / ".sensorium")
        for f in p.media.glob("*.txt"):
            f.unlink()
        before = p.jobs()
        p.run("--endpoint", endpoint, own=False, want=3)
        equal(p.jobs(), before, "what the daemon has done is not done again")
    finally:
        daemon.kill()
        daemon.wait()
    p.put("new.jpg", "new")
    p.run("--endpoint", endpoint, own=False, want=1)
    check(endpoint in p.err, f"nobody there: {p.err}")


def frames_where_paths_are_refused(tmp):
    p = Place(tmp, "frames")
    p.put("a.jpg", "a")
    equal(p.run(FAKE_FORBID="1")["captioned"], 1, "by frame")
    equal(p.text("a.jpg.txt"), said(b"a") + "\n", "its caption")


def one_at_a_time(tmp):
    p = Place(tmp, "lock")
    p.put("a.jpg", "a")
    process = p.start("--watch")
    wait_for(lambda: p.text("a.jpg.txt"), "the first one's caption")
    p.run(want=1)
    check("another 'sensorium caption'" in p.err, f"the second one: {p.err}")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    equal(process.returncode, 0, "the end of --watch")


def watching(tmp):
    p = Place(tmp, "watch")
    p.put("a.jpg", "a")
    page = p.top / "page.html"
    process = p.start("--watch", "--html", page)
    wait_for(lambda: p.text("a.jpg.txt"), "what was there")
    p.put("b.jpg", "b")
    wait_for(lambda: p.text("b.jpg.txt"), "a new file")
    p.put("sub/deep/c.jpg", "c")
    wait_for(lambda: p.text("sub/deep/c.jpg.txt"), "a file in a new folder")
    p.put("sub/deep/d.jpg", "d")
    wait_for(lambda: p.text("sub/deep/d.jpg.txt"), "a new file in a new folder")
    p.put("a.jpg", "changed")
    wait_for(lambda: p.text("a.jpg.txt") == said(b"changed") + "\n", "a changed file")
    (p.top / "e.jpg").write_text("broken")
    (p.top / "e.jpg").rename(p.media / "e.jpg")
    wait_for(lambda: (p.media / ".sensorium/errors.jsonl").exists(), "a broken file")
    wait_for(lambda: "sub/deep/d.jpg" in page.read_text(), "the page")
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=30)[1].decode()
    equal(process.returncode, 3, f"one had failed: {err}")


# --- the page ---

def png(width, height, rgb):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    row = b"\0" + bytes(rgb) * width
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(row * height)) + chunk(b"IEND", b""))


class Tags(html.parser.HTMLParser):
    """Every tag is closed, in order."""
    VOID = {"meta", "img", "input", "br", "link"}

    def __init__(self):
        super().__init__()
        self.open, self.images, self.links, self.wrong, self.text = [], [], [], [], ""

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        if tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        self.text += data


def a_page(tmp):
    p = Place(tmp, "page")
    p.put("wide.png", png(900, 300, (200, 30, 30)))
    p.put("<script>alert(1)<.png", png(20, 40, (30, 200, 30)))
    p.put("person.png", png(30, 30, (0, 0, 0)))
    p.put("person.png.txt", '</p><script>alert("me")</script>')
    p.put("talk.mp3", "talk")
    p.put("not a video.mp4", "nothing")
    p.run("--html", p.top / "page.html")
    tags = Tags()
    text = (p.top / "page.html").read_text()
    tags.feed(text)
    equal((tags.open, tags.wrong), ([], []), "tags of the page")
    equal(text.count("<script>"), 1, "scripts are our own")
    equal(len(tags.images), 3, "pictures")
    equal(sorted((i["width"], i["height"]) for i in tags.images), [("20", "40"), ("30", "30"), ("400", "133")], "sizes")
    check(all(i["src"].startswith("data:image/jpeg;base64,/9j/") and i["alt"] for i in tags.images), "their data")
    check("./media/%3Cscript%3Ealert%281%29%3C.png" in tags.links, f"links: {tags.links}")
    check("a person's words" in tags.text and said(b"talk", "said") in tags.text, "captions")


def wrong_words(tmp):
    p = Place(tmp, "usage")
    for args, word in ((("--to", "doc"), "doc"), (("--to", "csv"), "--output"), (("--existing", "burn"), "burn"),
                       (("--existing", "append", "--to", "xmp"), "append"), (("--priority", "101"), "-100"),
                       (("--jobs", "0"), "0"), (("--watch", "--dry-run"), "--dry-run"), (("--cert", "x"), "--server-key")):
        p.run(*args, want=2)
        check(word in p.err, f"{args}: {p.err}")
    equal(p.run()["files"], 0, "an empty folder")
    p.put("a.jpg", "a")
    p.run(want=1, own=False)
    check("-m" in p.err, f"no model: {p.err}")
    done = subprocess.run([PROGRAM, "caption", str(p.top / "nowhere")], capture_output=True, env=p.env, check=False)
    equal(done.returncode, 1, "no such folder")
    if os.geteuid() != 0:
        p.media.chmod(0o555)
        p.run(want=1)
        check(".sensorium" in p.err, f"a folder that is read only: {p.err}")
        p.media.chmod(0o755)


# --- the daemon itself ---

def the_real_daemon(tmp):
    """A tiny model of random weights says something about every picture; what, is not the question here."""
    daemon = os.environ.get("SN_TEST_SENSORIUMD") or pathlib.Path(PROGRAM).with_name("sensoriumd")
    models = HERE.parent / "reference" / "models"
    if not os.access(daemon, os.X_OK):
        return
    p = Place(tmp, "real")
    p.env["SENSORIUMD"] = str(daemon)
    for i in range(6):
        p.put(f"{i}.png", png(40 + i, 30, (40 * i, 255 - 40 * i, 128)))
    p.put("bad.png", "no picture")

    def command(*args):
        return [PROGRAM, "caption", "-m", str(models / "idefics3.gguf"), "-n", "4", "--json", *args, str(p.media)]
    killed = subprocess.Popen(command("--jobs", "1"), env=p.env, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    wait_for(lambda: list(p.media.glob("*.txt")), "a first caption", 60)
    killed.kill()
    killed.wait()
    done = subprocess.run(command(), env=p.env, capture_output=True, timeout=120, check=False)
    s = json.loads(done.stdout)
    equal(done.returncode, 3, f"the real daemon, after a kill: {done.stderr.decode()[-400:]}")
    equal((s["captioned"] + s["skipped"]["done"] + s["skipped"]["adopted"], s["failed"]), (6, 1), "captions")
    equal([f["code"] for f in s["failures"]], ["media_broken"], "the broken one")
    before = {f.name: f.read_bytes() for f in p.media.glob("*.txt")}
    equal(len(before), 6, "sidecars")
    done = subprocess.run(command("--redo"), env=p.env, capture_output=True, timeout=120, check=False)
    equal(json.loads(done.stdout)["captioned"], 6, "--redo")
    equal({f.name: f.read_bytes() for f in p.media.glob("*.txt")}, before, "the same is said again")


# Quick runs are for compilers and tarballs: what depends on them is in few of these.
main([the_real_daemon, persons_words_stand, a_page] if os.environ.get("SN_TEST_QUICK") else
     [the_real_daemon, what_is_done_is_not_done_again, persons_words_stand, forms_and_tables, patterns, a_kill_at_any_moment,
      an_interrupt_writes_what_came, a_busy_daemon_that_falls_over, somebody_elses_daemon,
      frames_where_paths_are_refused, one_at_a_time, watching, a_page, wrong_words])
