#!/usr/bin/env python3
"""Our template interpreter against Jinja2 itself, set up as transformers sets it up: a large table
of expressions and statements, and real chat templates over a matrix of conversations. Whatever
Jinja2 refuses we must refuse too.

SN_TEST_PYTHON: another Python to run under. SN_TEST_TEMPLATES: a folder of further *.jinja.
SN_TEST_FULL: every case, not a sample."""

import datetime
import functools
import glob
import itertools
import json
import os
import re
import subprocess
import sys

other = os.environ.get("SN_TEST_PYTHON")
if other and os.path.exists(other) and os.path.abspath(other) != os.path.abspath(sys.executable):
    os.environ["SN_TEST_PYTHON"] = ""
    os.execv(other, [other] + sys.argv)
try:
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment
except ImportError:
    print("jinja2 is missing")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
TOOL = os.path.abspath("tests/model/render_template")


# --- the environment ------------------------------------------------------------------------

class Generation(Extension):
    """{% generation %}: its body is rendered as it is, in a scope of its own."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


class CheckedNamespace(jinja2.utils.Namespace):
    """Refuses names that begin with an underscore, as transformers' own does."""

    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        attrs = dict(*args, **kwargs)
        for name in attrs:
            CheckedNamespace.check(name)
        jinja2.utils.Namespace.__init__(self, attrs)

    def __setitem__(self, name, value):
        CheckedNamespace.check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def check(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(name)


def environment(base):
    env = base(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.filters["from_json"] = json.loads  # not Jinja's, but asked for by some templates
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda fmt: datetime.datetime.now().strftime(fmt)
    env.globals["namespace"] = CheckedNamespace
    return env


ENV = environment(ImmutableSandboxedEnvironment)
MUTABLE = environment(SandboxedEnvironment)


@functools.lru_cache(maxsize=4)
def compiled(source, env):
    return env.from_string(source)


def jinja(source, variables, env=ENV):
    """(text, None) or (None, error)."""
    try:
        fresh = json.loads(json.dumps(variables))
        return compiled(source, env).render(**fresh), None
    except RecursionError:
        return None, "recursion"
    except Exception as e:  # whatever Python raises, the template has failed
        return None, f"{type(e).__name__}: {e}"


class Ours:
    def __init__(self):
        self.p = subprocess.Popen([TOOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  encoding="utf-8")

    def render(self, source, variables):
        self.p.stdin.write(json.dumps({"template": source, "vars": variables}) + "\n")
        self.p.stdin.flush()
        line = self.p.stdout.readline()
        if not line:
            raise SystemExit(f"render_template died on {source!r}")
        a = json.loads(line)
        return a.get("text"), a.get("error")


OURS = Ours()
failures = compared = skipped = agreed_errors = 0


def check(what, source, variables, env=ENV, show=True):
    global failures, compared, skipped, agreed_errors
    want, want_error = jinja(source, variables, env)
    if want is not None and re.fullmatch(r"\(-?[0-9.e-]+[+-][0-9.e-]+j\)", want):
        skipped += 1  # a complex number
        return True
    if want is not None and re.search(r" (at|of) (0x|.* at 0x)[0-9a-f]+>", want):
        skipped += 1  # prints an address in memory
        return True
    got, error = OURS.render(source, variables)
    if error and "64 bits" in error and want_error is None:
        skipped += 1  # longer integers than ours: an error by design
        return True
    compared += 1
    if want_error and error:
        agreed_errors += 1
        if want_error.startswith("TemplateError: "):
            if want_error[len("TemplateError: "):].split("\n")[0] not in error:
                failures += 1
                print(f"FAIL {what}: {source!r}\n  jinja2: {want_error}\n  ours:   {error}")
        return True
    if want == got:
        return True
    failures += 1
    if show:
        print(f"FAIL {what}: {source if len(source) < 300 else source[:300]!r}")
        at = next((i for i, (a, b) in enumerate(zip(want or "", got or "")) if a != b), 0)
        at = max(at - 30, 0)
        print(f"  jinja2: {want_error or repr(want[at:at + 160])}")
        print(f"  ours:   {error or repr(got[at:at + 160])}")
    return False


# --- expressions ----------------------------------------------------------------------------

VALUES = ["none", "true", "false", "0", "1", "-7", "42", "2.5", "-0.5", "1e20", "3.0", "''",
          "'abc'", "'  Hello World  '", "'a,b,,c'", "'12'", "'-3.7'", "'\u00e9\u00df\u4e16\U0001f600 x'",
          "'it\\'s \"q\"\\n\\t\\\\'", "[]", "[3, 1, 2]", "['b', 'A', 'c', 'a']", "[1, 'x', none]",
          "[[1, 2], [3]]", "()", "(1,)", "(1, 'b')", "{}", "{'b': 1, 'A': 2}",
          "{'k': [1, {'z': none}], 'x': 'y'}", "{1: 'one', none: 2, true: 3}", "range(4)",
          "range(5, 0, -2)", "missing", "missing2|default(none)", "recs", "msg", "msg.items()",
          "msg.keys()", "namespace(a=1).a", "'<b>&\"'", "'one two  three\\nfour'", "[1.5, 2, true]",
          "'\u0391\u03a3'", "'x\\u200by\\x7f'", "[true, false, 1, 0]", "'ABC'", "'aXbXc'", "' 1_000 '"]

FILTERS = ["abs", "capitalize", "center", "center(20)", "count", "d", "default('D')",
           "default('D', true)", "default(boolean=true)", "dictsort", "dictsort(true)",
           "dictsort(by='value')", "dictsort(reverse=true)", "e", "first", "float", "float(7)",
           "format", "format(1)", "forceescape", "groupby(0)", "indent", "indent(2, true)",
           "indent(width='> ', blank=true)", "int", "int(5)", "int(default=9)", "int(0, 16)",
           "items|list", "join", "join(', ')", "join('-', 0)", "join(1)", "last", "length", "list",
           "lower", "map('string')|list", "map('upper')|join('|')", "map('length')|list",
           "map(attribute='a')|list", "map(attribute=0)|list", "map(attribute='a', default='?')|list",
           "max", "min", "max(case_sensitive=true)", "reject|list", "reject('none')|list",
           "select|list", "select('string')|list", "select('equalto', 1)|list",
           "select('in', [1, 'a'])|list", "selectattr('a')|list", "selectattr('a', 'defined')|list",
           "rejectattr('a')|list", "rejectattr('a', 'equalto', 1)|list", "replace('a', 'XX')",
           "replace('', '-')", "replace('b', '', 1)", "replace(1, 2)", "reverse|list", "reverse|join",
           "round", "round(1)", "round(method='ceil')", "round(1, 'floor')", "round(-1)", "safe",
           "sort", "sort(reverse=true)", "sort(case_sensitive=true)", "sort(attribute='a')",
           "string", "sum", "sum(start=10)", "sum(attribute='n')", "title", "tojson",
           "tojson(indent=2)", "tojson(true)", "tojson(sort_keys=true)",
           "tojson(separators=(',', ':'))", "tojson(indent=0)", "tojson(indent='\t')", "trim",
           "trim('ab ')", "truncate(5)", "truncate(5, true)", "truncate(7, false, '!', 0)",
           "unique|list", "upper", "urlencode", "wordcount", "batch(2)|list", "batch(2, 0)|list",
           "slice(2)|list", "slice(3, '-')|list", "attr('items')|string|length > 0", "attr('zz')",
           "map|list", "nosuchfilter", "trim|length", "string|length", "list|length",
           "items", "unique|join(',')", "map('int')|sum", "tojson|from_json"]

TESTS = ["defined", "undefined", "none", "boolean", "true", "false", "integer", "float", "number",
         "string", "mapping", "iterable", "sequence", "callable", "escaped", "odd", "even",
         "divisibleby 2", "divisibleby(0)", "eq 1", "equalto('abc')", "ne none", "lt 3", "le 1",
         "gt 'a'", "ge 2.5", "lessthan(2)", "greaterthan 0", "in [1, 'abc', none]", "in 'abcdef'",
         "in {'x': 1}", "sameas true", "sameas none", "lower", "upper", "filter", "test",
         "not defined", "not none", "nosuchtest"]

OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "in",
             "not in", "and", "or"]
OPERANDS = ["none", "true", "0", "3", "-2", "2.5", "-1.5", "'ab'", "'%s'", "'a'", "[1, 2]", "[]", "(1,)",
            "{'a': 1}", "missing", "1e308", "range(3)"]

METHODS = ["upper()", "lower()", "title()", "capitalize()", "swapcase()", "strip()", "strip('a ')",
           "lstrip()", "rstrip()", "lstrip(' H')", "rstrip('d ')", "split()", "split(',')",
           "split('b', 1)", "split(none, 1)", "split(' ')", "split(sep=',')", "rsplit(',', 1)",
           "rsplit()", "rsplit(none, 1)", "split('')", "splitlines()", "splitlines(true)",
           "startswith('a')", "startswith(('x', 'a'))", "endswith('c')", "endswith('')",
           "startswith('b', 1)", "replace('a', 'b')", "replace('', '.')", "replace('l', 'L', 2)",
           "find('b')", "find('zz')", "rfind('l')", "find('l', 5)", "index('b')", "rindex('l')",
           "count('a')", "count('')", "join(['x', 'y'])", "join([1])", "join('abc')",
           "partition(',')", "rpartition(',')", "removeprefix('a')", "removesuffix('c')",
           "center(11)", "center(12, '*')", "ljust(7)", "rjust(7, '.')", "zfill(6)", "isalpha()",
           "isdigit()", "isalnum()", "isspace()", "isupper()", "islower()", "isnumeric()",
           "isdecimal()", "isascii()", "format(1)", "casefold()", "nosuch()", "items()|list",
           "keys()|list", "values()|list", "get('b')", "get('zz')", "get('zz', 5)", "get([])",
           "copy()", "index(1)", "count(1)", "items", "upper|string|length > 0"]

SLICES = ["[0]", "[-1]", "[10]", "['a']", "[none]", "[1.0]", "[:]", "[1:]", "[:1]", "[-2:]", "[::-1]",
          "[::2]", "[5:1:-2]", "[-100:100]", "[::0]", "[1:none]", "['b':]", "[true]", ".a", ".b", ".0",
          ".items", "['items']|string|length > 0", "[0:2][0]", "[0, 1]", "[(1,)]", "[[]]", "._x",
          "['_x']"]

FORMATS = ["'%s|%r|%d' % ('a', 'b', 3)", "'%5s|%-5s|' % ('a', 'b')", "'%05d|%+d|% d' % (42, 42, 42)",
           "'%.2f|%8.3f|%-8.1f|' % (3.14159, 2.71828, 1.0)", "'%x|%X|%o|%#x' % (255, 255, 8, 255)",
           "'%e|%g|%G' % (12345.678, 0.00001, 1e20)", "'%%'  % ()", "'%s' % 'x'", "'%s' % [1]",
           "'%s' % none", "'%d' % 3.9", "'%d' % 'x'", "'%s %s' % 'x'", "'%s' % ('a', 'b')",
           "'%(a)s-%(b)d' % {'a': 'x', 'b': 2}", "'%c%c' % ('a', 66)", "'%s'|format('x')",
           "'%(k)s'|format(k=1)", "'%.3s|' % 'abcdef'", "'%*d' % (5, 42)", "'%d%%' % 5", "'%' % 1",
           "'%y' % 1", "'%i' % true", "'%05.1f' % -2.345", "'% f' % 1.5", "'%-05d|' % 3",
           "'{} {}'.format(1, 'a')", "'{0}{1}{0}'.format('a', 'b')", "'{a}-{b}'.format(a=1, b='x')",
           "'{:>5}|{:<5}|{:^5}|'.format('a', 'b', 'c')", "'{:*^9}'.format('mid')",
           "'{:05d} {:+} {:,}'.format(42, 7, 1234567)", "'{:.2f} {:8.3f}'.format(3.14159, 2.0)",
           "'{:x} {:#x} {:b} {:o} {:X}'.format(255, 255, 5, 8, 255)", "'{:%} {:.1%}'.format(0.5, 0.256)",
           "'{:e} {:g}'.format(12345.678, 0.5)", "'{!r} {!s}'.format('a', 'b')", "'{{}} {}'.format(1)",
           "'{}'.format()", "'{x}'.format()", "'{0.a}'.format({'a': 1})", "'{0[a]}'.format({'a': 1})",
           "'{[1]}'.format([1, 2])", "'{'.format(1)", "'}'.format(1)", "'{:d}'.format('x')",
           "'{:s}'.format('x')", "'{:10}|'.format(3)", "'{:10}|'.format(true)", "'{}'.format(none)",
           "'{:5}'.format(none)", "'{} {0}'.format(1)", "'{:.3}'.format('abcdef')",
           "'{:.3}'.format(3.14159)", "'{:_}'.format(1234567)", "'{:c}'.format(65)",
           "'{:,.2f}'.format(1234567.891)", "'{:=+8d}'.format(42)", "'{}'.format(missing)",
           "'{:<08.3f}|'.format(-3.5)", "'{:08.3f}|'.format(-3.5)", "'{:.0f} {:.0f}'.format(0.5, 1.5)"]

MISC = ["1 if true", "1 if false", "'a' if missing else 'b'", "(1 if false) is defined",
        "1 < 2 < 3", "1 < 3 < 2", "1 == 1.0 == true", "not 1 in [1]", "not true or true",
        "2 ** 3 ** 2", "-2 ** 2", "2 ** -1", "0 ** -1", "(-8) ** 0.5", "7 // -2", "-7 // 2", "7 % -3", "-7 % 3",
        "7.5 // 2", "-7.5 % 2", "1 / 3", "1 / 0", "1 // 0", "1 % 0", "1.0 / 0", "10 / 2", "'a' * 3",
        "3 * 'ab'", "[1] * 3", "'a' * -1", "[1] + [2]", "(1,) + (2,)", "[1] + (2,)", "'a' + 1",
        "'a' ~ 1 ~ none ~ 2.0 ~ [1]", "1 + 2 ~ 3 + 4", "- 3|abs", "-3|abs", "(-3)|abs", "2 - -2", "+'a'", "-'a'",
        "-missing", "+missing", "missing.a", "missing['a']", "missing()", "missing + 1", "missing ~ 'x'",
        "missing == missing2", "missing == none", "missing is none", "missing in [1]", "1 in missing",
        "none in none", "1 in 5", "'a' in 'abc'", "1 in 'abc'", "'a' in {'a': 1}", "[] in {}", "2 in range(3)",
        "5 not in range(3)", "missing|length", "missing|list", "missing|first", "missing|last",
        "missing|join", "missing|upper", "missing|int", "missing|trim", "missing|tojson",
        "none.x", "none.x is defined", "none['x']", "none[0]", "none()", "1()", "'a'()", "(1).x", "[].x",
        "{'a': 1}.a", "{'a': 1}['a']", "{'items': 1}.items is callable", "{'items': 1}['items']",
        "{'a': {'b': [10, 20]}}.a.b[1]", "{'a': 1, 'a': 2}", "{1: 'a'}[1.0]", "{1: 'a'}[true]", "{[]: 1}",
        "{(1, 2): 3}[1, 2]", "[1, 2, 3].1", "'abc'.1", "x", "x.y", "bos_token", "recs[0].a", "recs[0]['b']",
        "recs|map(attribute='a')|list", "recs|map(attribute='deep.z')|list", "recs|map(attribute='l.0')|list",
        "recs|selectattr('a', 'gt', 1)|list", "recs|selectattr('b', 'equalto', 'x')|map(attribute='a')|list",
        "recs|rejectattr('b', 'in', ['x', 'y'])|list", "recs|sort(attribute='b')", "recs|sort(attribute='b,a')",
        "recs|sort(attribute='a', reverse=true)", "recs|groupby('b')", "recs|groupby('b')|map(attribute='grouper')|list",
        "recs|groupby('b')|map('first')|list", "recs|groupby('zz', default='none')", "recs|sum(attribute='a')",
        "recs|max(attribute='a')", "recs|min(attribute='b')", "recs|unique(attribute='b')|list",
        "recs|map('tojson')|join('\\n')", "recs|join(', ', attribute='b')", "recs|batch(2)|map('length')|list",
        "range(3)|list", "range(2, 8, 3)|list", "range(5, 0)|list", "range(0, -5, -2)|list", "range(100001)",
        "range(100000)|length", "range(1, 2, 0)", "range('a')", "range()", "range(3)[1]", "range(10)[2:5]|list",
        "range(10)[::-3]|list", "range(3) == range(0, 3, 1)", "range(10**12)", "dict(a=1, b=2)", "dict([('a', 1)])",
        "dict({'a': 1}, b=2)", "dict(1)", "namespace(a=1)", "namespace(_a=1)", "namespace(a=1)['a']", "namespace().zz is defined",
        "namespace({'q': 2}).q", "[1, 2] == [1, 2.0]", "(1, 2) == [1, 2]", "{'a': 1, 'b': 2} == {'b': 2, 'a': 1}",
        "[1, 2] < [1, 3]", "[1] < [1, 0]", "(1, 'a') < (1, 'b')", "'a' < 'B'", "'\u00e9' > 'z'", "1 < 'a'", "none < 1",
        "[1, 'a'] < [1, 2]", "{} < {}", "true < 2", "true + true", "true * 'x'", "1_000", "0x1F", "0o17", "0b101", "1e3",
        "1.5e-3", "1E5", "00", "1__0", "0.1 + 0.2", "1e16", "1e15", "123456789012345680.0", "1e-5", "0.0001", "1.0", "100.0",
        "1e100", "-0.0", "5e-324", "1.7976931348623157e308", "2.5|round", "3.5|round", "0.5|round|int", "2.675|round(2)",
        "1234.5678|round(-2)", "1250|round(-2)", "1350|round(-2)", "42.55|round(1, 'floor')", "42.11|round(1, 'ceil')",
        "'42'|int", "'0x1f'|int(0, 16)", "'0b11'|int(base=2)", "'0x1f'|int(base=0)", "'abc'|int", "'1e3'|int", "'nan'|int",
        "'inf'|int", "'inf'|float", "' 7 '|int", "'1_0'|int", "'_1'|int", "'1__0'|int", "'+5'|int", "'--5'|int", "1e30|int", "'1.9'|int",
        "'nan'|float", "'1e400'|float", "'0x10'|float", "'1_0.5'|float", "'.5'|float", "'5.'|float", "'e5'|float", "true|int", "none|int",
        "[]|int", "'\\x41\\u00e9\\U0001F600\\101\\q\\\\'", "'a' 'b' \"c\"", "'\\\na'", "\"it's\"", "'say \"hi\"'",
        "['it\\'s']", "['\"']", "['\\'\"']", "['\\n\\r\\t\\\\\\x00\\x1f\\x7f\\u00a0\\u200b\\ue000\\U000e0001']",
        "['\u00e9', '\u4e16', '\U0001f600']", "'\\u00e9\\u4e16\\U0001F600\\x01\"\\\\/'|tojson",
        "'\\u00e9\\u4e16\\U0001F600\\x01\\x7f'|tojson(ensure_ascii=true)", "{'b': 1, 'a': [1, {'c': none}]}|tojson(indent=4)",
        "{'b': 1, 'a': 2}|tojson(sort_keys=true)", "{'b': [], 'a': {}}|tojson(indent=2)", "{1: 2, none: 3, true: 4, 1.5: 5}|tojson",
        "{(1,): 2}|tojson", "[1e20, 1.0, -0.5]|tojson", "('a', 1)|tojson", "range(2)|tojson", "[missing]|tojson", "msg|tojson(indent=2, separators=(', ', ' : '))",
        "'<>&\\''|tojson", "msg.items()|list", "msg.items()|first", "msg.items()|length", "msg.values()|last", "msg.keys()|sort", "msg|items|list",
        "msg|dictsort", "msg|list", "msg|length", "msg.content[:3]", "msg['content'][-3:]", "msg.get('role')", "msg.get('x', 'd')", "'role' in msg", "msg.role in ['user']",
        "[1, 2, 3]|map('string')|map('upper')|join", "[1, [2, [3]]]|string", "['a', 'B']|map('lower')|sort|join", "'abc'|list", "'abc'|reverse", "[1, 2]|reverse|list",
        "'a-b c_d (e) [f]'|title", "'hELLO wORLD'|title", "'hello-world it\\'s'.title()", "'\u00e9cole \u00dfa'|title", "'\u01c6'|capitalize", "'\ufb01x'|capitalize", "'\ufb01x'|upper", "'STRASSE\u00df'|upper",
        "'\u0130'|lower", "'\u039f\u0394\u039f\u03a3 \u03a3'|lower", "'a\\nb\\n\\nc\\n'|indent", "'a\\nb'|indent(first=true)", "''|indent", "'\\n'|indent", "'a\\r\\nb'|indent", "'a\\n'|indent(2, blank=true)",
        "'\\u00a0 x \\u3000'|trim", "' \\x1c x \\x85'.strip()", "'a\\x0bb\\x0cc\\x1cd\\u2028e\\x85f\\r\\ng'.splitlines()", "'a b\\tc\\u00a0d'.split()",
        "'x'.join(missing)", "'a'.startswith(1)", "'a'.startswith(['a'])", "'abc'.find('c', -1)", "'\u4e16\u754cx'.find('x')", "'\u4e16\u754cx'[1]", "'\u4e16\u754cx'|length", "'\u4e16\u754cx'|center(9)",
        "'caf\u00e9 & th\u00e9/\u4e16'|urlencode", "{'a b': 1, 'c': 'd&e'}|urlencode", "[('a', 1), ('b', 'x y')]|urlencode", "'Hello, big world_1 \u4e16\u754c x-y'|wordcount",
        "'foo bar baz qux'|truncate(9)", "'foo bar baz qux'|truncate(9, true)", "'foo bar baz qux'|truncate(11)", "'foo bar baz qux'|truncate(11, false, '...', 0)", "'foo'|truncate(2)",
        "[1, 2, 3, 4, 5]|batch(2, 'x')|list", "[1, 2, 3, 4, 5, 6, 7]|slice(3)|list", "[1, 2, 3, 4, 5, 6, 7]|slice(3, 0)|list", "[]|first", "[]|last", "[]|max", "[]|sum", "['a', 'b']|sum", "[[1], [2]]|sum(start=[])",
        "'a'|default", "''|default('x')", "''|default('x', true)", "missing|default", "missing.a|default('x')", "none|default('x')", "none|d('x', true)", "recs[9]|default('q')", "recs[9].a|default('q')",
        "cycler('a', 'b').next()", "joiner(',')()", "raise_exception('no ' ~ 'way')", "raise_exception(missing)", "strftime_now('%Y')", "strftime_now('%d %B %Y')", "strftime_now('')", "(msg|items)|length", "(recs|map('string'))[0]",
        "(recs|selectattr('a'))|first", "(recs|selectattr('a'))|last", "recs|selectattr('a')|length", "(recs|select) is sequence", "(recs|select) is iterable", "range is callable", "msg.get is callable", "'upper' is filter", "'zz' is filter", "'even' is test",
        "3 is divisibleby 3", "3 is divisibleby(2)", "4 is even and 3 is odd", "1 is in [1]", "'a' is string and 'b'", "x is defined and x.y", "1 is number is true", "none is none", "none is not none", "not none is none",
        "1 is eq(1) or false", "[1] is sameas [1]", "true is sameas 1", "'A' is upper", "'aB' is lower", "'1' is upper", "[] is iterable", "1 is iterable", "'' is sequence", "msg.keys() is sequence", "msg is mapping", "namespace() is mapping",
        "1.0 is integer", "1 is float", "true is integer", "true is number", "true is boolean", "1 is boolean", "'a'|e", "'a&b'|escape|length", "[1, 2, 3][1:]|join(',')", "'x' if 1 is defined else 'y'", "(1, 2)", "1, 2", "(1)", "()", "[1, 2,]", "{'a': 1,}", "[,]",
        "'a'.upper().lower()", "('a' ~ 'b').upper()", "('a' + 'b')[0]", "{'f': 'x'}.f.upper()", "'%s' % missing", "foo(", "1 +", "a b", "'a", "1 ++ 2", "~1", "a..b", "a.'b'", "a|", "a is", "a[", "a[1", "{1}", "{1:}", "a if", "(1", "1)", "a = 1", "@", "a;b", "$",
        "f(a=1, 2)", "f(**{}, a=1)", "dict(**{'a': 1})", "dict(**msg)", "range(*[1, 4])|list", "dict(a=1, a=2)", "dict(1, 2)", "[1, 2, 3]|join('a', 'b', 'c', 'd')", "'a'|upper(1)", "'a'|upper(x=1)", "'a'|trim(chars='a')", "'abc'|replace(old='a', new='b')", "'abc'|replace('a')",
        "[3, 1]|sort|first", "[none, 1]|sort", "['a', 1]|sort", "['b', 'A']|sort", "{'b': 1, 'A': 2}|sort", "'cab'|sort", "'cab'|unique|list", "[1, 1.0, true, 'a', 'A']|unique|list", "[[1], [1]]|unique|list", "[3, 1, 2]|min", "['b', 'A']|min", "['b', 'A']|min(true)", "[1, 'a']|max",
        "[1, 2, 3]|select('odd')|list", "[1, 2, 3]|select('gt', 1)|list", "[1, 2, 3]|select('>', 1)|list", "[1, 2, 3]|reject('==', 2)|list", "[1, none]|select('nosuch')|list", "[]|select('nosuch')|list", "[1]|select(1)|list", "[1]|map('nosuch')|list", "[1]|map|list", "['a']|map('replace', 'a', 'b')|list", "[{'a': 1}]|map(attribute='a', x=1)|list",
        "\"\\xZZ\"", "'\\N{DASH}' == '' or true", "'tab\\there'", "'\\0'|length", "'\\777'|length", "loop", "loop is defined", "caller is defined", "varargs is defined", "true.x", "True", "None", "False", "TRUE", "null", "9223372036854775807", "-9223372036854775807 - 1", "9223372036854775807 + 1", "2 ** 62", "2 ** 64", "10 ** 18 * 10", "'a' * 10 ** 2 == 'a' * 100"]

STATEMENTS = [
    "{% for i in range(3) %}{{ i }}{% if not loop.last %},{% endif %}{% endfor %}",
    "{% for i in [] %}x{% else %}empty{% endfor %}", "{% for i in missing %}x{% else %}empty{% endfor %}",
    "{% for i in none %}x{% endfor %}", "{% for i in 5 %}x{% endfor %}", "{% for c in 'h\u00e9' %}[{{ c }}]{% endfor %}",
    "{% for k, v in msg.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in msg %}{{ k }};{% endfor %}",
    "{% for k, v in msg|dictsort %}{{ k }}={{ v }};{% endfor %}", "{% for a, b in [[1, 2], (3, 4)] %}{{ a + b }};{% endfor %}",
    "{% for a, b in [[1, 2, 3]] %}{{ a }}{% endfor %}", "{% for a, b in ['xy'] %}{{ a }}{{ b }}{% endfor %}", "{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for i in range(6) if i is odd %}{{ loop.index }}:{{ i }}/{{ loop.length }} {% endfor %}",
    "{% for i in range(6) if i > 9 %}{{ i }}{% else %}none{% endfor %}",
    "{% for i in 'abcd' %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}",
    "{% for i in [1, 2, 3] %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{{ loop.previtem|default('-') }} {% endfor %}",
    "{% for i in range(5) %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for i in [1, 1, 2, 2, 1] %}{{ loop.changed(i) }} {% endfor %}",
    "{% for i in range(3) %}{% for j in range(2) %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}",
    "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in range(3) %}{% for j in range(3) %}{% if j == 1 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{% endfor %}",
    "{% for i in range(3) %}{% break %}{% else %}never{% endfor %}", "{% break %}", "{% if true %}{% continue %}{% endif %}",
    "{% for i in range(2) %}{% else %}{% break %}{% endfor %}", "{% for i in range(3) %}{% for j in [] %}{% else %}{% break %}{% endfor %}{{ i }}{% endfor %}",
    "{% for i in [1, [2, [3]]] recursive %}{% if i is iterable %}({{ loop(i) }}){% else %}{{ i }}@{{ loop.depth }}{% endif %}{% endfor %}",
    "{% for i in [1] %}{{ loop([2]) }}{% endfor %}", "{% for i in range(3) %}{% set x = i %}{% endfor %}{{ x is defined }}",
    "{% set x = 1 %}{% for i in range(3) %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}", "{% set ns = namespace(x=0) %}{% for i in range(4) %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}",
    "{% set ns.x = 1 %}", "{% set d = {} %}{% set d.x = 1 %}", "{% set ns = namespace() %}{% set ns.y = 'q' %}{{ ns.y }}{{ ns.zz }}|{{ ns.zz is defined }}", "{% set ns = namespace() %}{% set ns._y = 1 %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = [3, 4] %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set (a, b) = (1, 2) %}{{ a }}{{ b }}", "{% set 1 = 2 %}", "{% set a.b.c = 2 %}", "{% set a[0] = 2 %}", "{% set true = 2 %}", "{% set x %}a{{ 1 + 1 }}b{% endset %}{{ x }}|{{ x|length }}",
    "{% set x | upper | replace('A', 'Z') %}abc{% endset %}{{ x }}", "{% set x %}{% set y = 1 %}{% endset %}{{ y is defined }}", "{% set ns = namespace() %}{% set ns.t %}body{% endset %}{{ ns.t }}",
    "{% if x is defined %}a{% elif 1 %}b{% else %}c{% endif %}", "{% if '' %}a{% elif 0 %}b{% elif [] %}c{% elif {} %}d{% elif none %}e{% elif 0.0 %}f{% elif missing %}g{% else %}h{% endif %}",
    "{% if range(0) %}a{% endif %}{% if msg.keys() %}b{% endif %}{% if []|select %}c{% endif %}{% if () %}d{% endif %}", "{% if 1 %}{% set q = 5 %}{% endif %}{{ q }}",
    "{% macro m(a, b=2, c='x') %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(c='z', a=0) }}{{ m() }}{{ m(1, c=none) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}",
    "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}{{ m() }}", "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}", "{% macro m(a=1, b) %}{% endmacro %}", "{% macro m() %}x{% endmacro %}{{ m }}"[:0] + "{% macro m() %}x{% endmacro %}{{ m.name }}",
    "{% set g = 'G' %}{% macro m() %}{{ g }}{% endmacro %}{{ m() }}{% set g = 'H' %}{{ m() }}", "{% for i in range(2) %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}", "{% macro m() %}{{ i is defined }}{% endmacro %}{% for i in range(2) %}{{ m() }}{% endfor %}",
    "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{% macro m(a) %}<{{ caller(a) }}>{% endmacro %}{% call(x) m('q') %}in {{ x }}{% endcall %}",
    "{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}{% call m() %}z{% endcall %}", "{% macro m() %}no{% endmacro %}{% call m() %}z{% endcall %}", "{% macro m() %}{{ caller is defined }}{% if caller is defined %}{{ caller() }}{% endif %}{% endmacro %}{{ m() }}", "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}", "{% call 1 %}{% endcall %}",
    "{% macro m(x) %}{% set y = x %}{{ y }}{% endmacro %}{{ m(1) }}{{ y is defined }}", "{% macro m(x) %}{{ x|default('D') }}{% endmacro %}{{ m() }}", "{% set f = 'upper' %}{% filter upper %}abc {{ f }}{% endfilter %}", "{% filter replace('a', 'b')|upper %}banana{% endfilter %}", "{% filter nosuch %}x{% endfilter %}",
    "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q is defined }}", "{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}", "{% generation %}x{{ 1 }}{% endgeneration %}", "{% generation %}{% set q = 1 %}{% endgeneration %}{{ q is defined }}",
    "{% for m in [1, 2] %}{% generation %}{{ loop.index }}{{ m }}{% endgeneration %}{% endfor %}", "{% for i in [1] %}{% generation %}{% break %}{% endgeneration %}{% endfor %}", "{% block b %}x{{ 1 }}{% endblock %}", "{% block b %}x{% endblock b %}", "{% print 1, 2 %}", "{% print %}"[:0] + "{% print 'a' %}",
    "{% raw %}{{ x }}{% y %}{# z #}{% endraw %}", "a {%- raw -%} b {%- endraw -%} c", "{% raw %}x", "{# c #}a{#- d -#} b", "{# unclosed", "{{ unclosed", "{% if", "{% if 1 %}", "{% endif %}", "{% else %}", "{% for %}{% endfor %}", "{% for x y %}{% endfor %}", "{% nosuch %}", "{% %}", "{{ }}", "{{}}", "{% for loop in [1] %}{% endfor %}"[:0] + "{{ [",
    "  {% if 1 %}\n  x\n  {% endif %}\ny", "a\n  {% set x = 1 %}  \nb", "a {% set x = 1 %}\nb", "\n\n{% if 1 %}\n\n a\n{% endif %}\n\n", "  {{ 1 }}  \n  {{ 2 }}", "a  {{- 1 -}}  b", "a \n {%- if 1 -%} \n b \n {%- endif -%} \n c", "a  {%+ if 1 %} b {%+ endif %} c", "  {%+ if 1 %}\nb{% endif +%}\nc", "{% if 1 +%}\nb{% endif %}",
    "a\n  {# c #}\nb", "a {# c #}\nb", "a\n  {#- c -#}\n b", "a\n  {#+ c +#}\n b", "\t{% if 1 %}\n\tx\n\t{% endif %}", "a\r\nb\rc{% if 1 %}\r\nd{% endif %}\r\n", "a\n", "a\n\n", "\n", "", "{{ 'a' }}\n", "{% if 1 %}\n", "x{% if 1 %}\n\n\n{% endif %}y", "{%if 1%}a{%endif%}", "{%-if 1-%}a{%-endif-%}", "{{-1-}}", "{{ -1 }}", "{{ {'a': {'b': 1}} }}", "{{ {} }}", "{{ {'}}': 1} }}", "{{ '}}' }}", "{{ '%}' }}", "{% set x = '%}' %}{{ x }}", "{ { 1 } }", "{ % if %}", "{{ '{{' }}", "{{ \"a\nb\" }}", "{{ 1\n+\n2 }}", "a{% set x = {'a': 1} %}{{ x.a }}", "{{ (1\n) }}",
    "\u00a0{%- if 1 -%}\u00a0x{% endif %}", "   \u3000{% if 1 %}x{% endif %}", "{{ x }}{% set x = 1 %}{{ x }}", "{% set x = x|default(3) %}{{ x }}", "{% set bos_token = 'q' %}{{ bos_token }}", "{% for bos_token in [1] %}{{ bos_token }}{% endfor %}{{ bos_token }}", "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{% set z = c.reset() %}{{ c.next() }}", "{% set j = joiner('; ') %}{% for i in range(3) %}{{ j() }}{{ i }}{% endfor %}",
    "{% set it = recs|selectattr('a') %}{% for r in it %}x{% endfor %}{% for r in it %}y{% endfor %}", "{% set it = [1, 2, 3]|map('string') %}{{ it|first }}{{ it|list }}", "{% set it = [1, 2]|reverse %}{{ it|join }}{{ it|join }}", "{% set x = [1] %}{% set y = x %}{{ x is sameas y }}", "{% for i in [3, 1, 2]|sort %}{{ i }}{% endfor %}", "{% for g, items in recs|groupby('b') %}{{ g }}:{{ items|map(attribute='a')|join(',') }} {% endfor %}", "{% for g in recs|groupby('b') %}{{ g.grouper }}{{ g.list|length }}{% endfor %}", "{% for row in [1, 2, 3]|batch(2) %}{{ row }}{% endfor %}",
    "{%- for m in recs -%}\n  {{- m.b -}}\n{%- endfor %}\n", "{% set s = namespace(t='') %}{% for i in range(50) %}{% set s.t = s.t ~ i ~ ',' %}{% endfor %}{{ s.t }}", "{% set s = 'ab' %}{% set t = s + 'c' %}{% set u = s + 'd' %}{{ s }}{{ t }}{{ u }}", "{% set s = 'a' ~ 'b' %}{% set t = s ~ 'c' %}{% set u = s ~ 'd' %}{% set v = t ~ u %}{{ s }}{{ t }}{{ u }}{{ v }}", "{% set x = 'abc' ~ 'def' %}{% set h = x[:3] ~ 'Z' %}{{ x }}{{ h }}", "{% if true and false or true %}a{% endif %}{{ 1 and 2 }}{{ 0 or 'x' }}{{ [] or missing or 'y' }}",
    "{% autoescape false %}x{% endautoescape %}"[:0] + "x", "{% for i in range(3): %}{{ i }}{% endfor %}", "{% if 1: %}a{% endif %}", "{{ caller() }}", "{{ loop.index }}", "{% for i in [1, 2] %}{{ loop.nosuch }}{% endfor %}", "{% for i in [1] %}{{ loop|length }}{% endfor %}", "{% for i in msg.items() %}{{ i }}{% endfor %}", "{% for i in {'a': 1}.items() %}{{ i[0] }}{{ i[1] }}{% endfor %}", "{% for i in range(2) %}{% filter upper %}{% if i %}{% continue %}{% endif %}a{% endfilter %}{% endfor %}", "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}",
]

MUTATING = [
    "{% set l = [1] %}{% set _ = l.append(2) %}{{ l }}", "{% set l = [1, 2, 3] %}{{ l.pop() }}{{ l.pop(0) }}{{ l }}", "{% set l = [] %}{{ l.pop() }}", "{% set l = [3, 1] %}{{ l.extend([5]) }}{{ l.insert(0, 9) }}{{ l.insert(-1, 8) }}{{ l.insert(99, 7) }}{{ l }}", "{% set l = [1, 2, 1] %}{{ l.remove(1) }}{{ l.reverse() }}{{ l }}{{ l.index(2) }}{{ l.count(1) }}", "{% set l = [1] %}{{ l.remove(5) }}", "{% set l = [1] %}{{ l.clear() }}{{ l }}{{ l.copy() }}",
    "{% set d = {'a': 1, 'b': 2} %}{{ d.pop('a') }}{{ d }}{{ d.pop('z', 5) }}{{ d.setdefault('q', 3) }}{{ d.setdefault('b') }}{{ d }}", "{% set d = {} %}{{ d.pop('z') }}", "{% set d = {'a': 1} %}{{ d.update({'b': 2}, c=3) }}{{ d }}{{ d.clear() }}{{ d }}", "{% set d = {} %}{% for i in range(40) %}{% set _ = d.update({i: i * i}) %}{% endfor %}{% for i in range(0, 40, 3) %}{% set _ = d.pop(i) %}{% endfor %}{{ d }}{{ d.get(4) }}{{ d.get(3) }}{{ 5 in d }}{{ 6 in d }}", "{% set a = [1] %}{% set b = a %}{% set _ = b.append(2) %}{{ a }}",
]

# All of it takes minutes of Jinja2's time: every STRIDE-th case, unless SN_TEST_FULL is set.
STRIDE = 1 if os.environ.get("SN_TEST_FULL") else 7


def sample(*lists):
    return itertools.islice(itertools.product(*lists), 0, None, STRIDE)


VARS = {
    "bos_token": "<s>", "recs": [{"a": 3, "b": "y", "n": 1, "deep": {"z": 1}, "l": ["p"]},
                                 {"a": 1, "b": "x", "n": 2.5, "deep": {"z": 2}, "l": ["q"]},
                                 {"a": 2, "b": "Y", "n": -1, "deep": {"z": 3}, "l": ["r"]}],
    "msg": {"role": "user", "content": "Hi there \u4e16\u754c", "n": 5},
}


def test_expressions():
    for v, f in sample(VALUES, FILTERS):
        check("filter", "{{ (%s)|%s }}" % (v, f), VARS)
    for v, t in sample(VALUES, TESTS):
        check("test", "{{ (%s) is %s }}" % (v, t), VARS)
    for a, op, b in sample(OPERANDS, OPERATORS, OPERANDS):
        check("operator", "{{ (%s) %s (%s) }}" % (a, op, b), VARS)
    for v, m in sample(VALUES, METHODS):
        check("method", "{{ (%s).%s }}" % (v, m), VARS)
    for v, s in sample(VALUES, SLICES):
        check("subscript", "{%% set v = %s %%}{{ v%s }}" % (v, s), VARS)
    for e in FORMATS + MISC:
        check("expression", "{{ %s }}" % e, VARS)
    for v in VALUES:
        check("print", "{{ %s }}|{{ [%s] }}|{{ (%s) ~ '' }}|{{ (%s)|string }}" % (v, v, v, v), VARS)
        check("truth", "{{ 1 if (%s) else 0 }}{{ not (%s) }}" % (v, v), VARS)
        check("loop", "{%% for i in (%s) %%}[{{ i }}]{%% else %%}-{%% endfor %%}" % v, VARS)
    for s in STATEMENTS:
        check("statement", s, VARS)
    for s in MUTATING:
        check("mutation", s, VARS, MUTABLE)


# --- real templates -------------------------------------------------------------------------

TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "Weather <of> a \"city\" & more",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "caf\u00e9 or town"},
        "days": {"type": "integer", "enum": [1, 2], "default": 1},
        "units": {"type": ["string", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "where": {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]}},
        "required": ["city"]},
    "return": {"type": "object", "description": "report"}}},
    {"type": "function", "function": {"name": "noop", "description": "", "parameters": {
        "type": "object", "properties": {}}}}]


def call(name, arguments, ident):
    return {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}


def conversations():
    u, s, a = ({"role": "user", "content": "Hello"}, {"role": "system", "content": "Be  brief.\n"},
               {"role": "assistant", "content": " Hi! "})
    uni = {"role": "user", "content": "\u00fcn\u00efcode \u4e16\u754c \U0001f600\n\ttab <|im_end|> \"q\" 'a' \\ {{ x }} {% y %}"}
    think = {"role": "assistant", "content": "<think>\nhmm\n</think>\n\nanswer"}
    reason = {"role": "assistant", "content": "answer", "reasoning_content": "because", "thinking": "because"}
    args = {"city": "Z\u00fcrich", "days": 2, "units": None, "tags": ["a", "b"], "where": {"lat": 1.5}}
    c1 = {"role": "assistant", "content": "", "tool_calls": [call("get_weather", args, "abcdefgh1")]}
    c2 = {"role": "assistant", "content": None, "tool_calls": [
        call("get_weather", args, "call00001"), call("noop", {}, "call00002")]}
    c3 = {"role": "assistant", "content": "on it", "tool_calls": [
        call("get_weather", json.dumps(args), "call00003")]}
    t1 = {"role": "tool", "content": "{\"temp\": 21.5}", "tool_call_id": "abcdefgh1", "name": "get_weather"}
    t2 = {"role": "tool", "content": "sunny", "tool_call_id": "call00001", "name": "get_weather"}
    t3 = {"role": "tool", "content": "ok", "tool_call_id": "call00002", "name": "noop"}
    parts = {"role": "user", "content": [{"type": "text", "text": "Look:"}, {"type": "image"},
                                         {"type": "text", "text": " what?"}]}
    textpart = {"role": "user", "content": [{"type": "text", "text": "only text"}]}
    media = {"role": "user", "content": [{"type": "image", "image": "x"}, {"type": "video"}, {"type": "audio"},
                                         {"type": "image_url", "image_url": {"url": "u"}}]}
    yield "empty", []
    yield "user", [u]
    yield "system user", [s, u]
    yield "turns", [u, a, u]
    yield "system turns", [s, u, a, u, a]
    yield "two systems", [s, s, u]
    yield "system only", [s]
    yield "assistant first", [a, u]
    yield "user user", [u, u]
    yield "late system", [u, s, u]
    yield "unicode", [s, uni]
    yield "empty content", [u, {"role": "assistant", "content": ""}, {"role": "user", "content": ""}]
    yield "none content", [{"role": "user", "content": None}]
    yield "no content", [{"role": "user"}]
    yield "no role", [{"content": "x"}]
    yield "odd role", [{"role": "narrator", "content": "x"}]
    yield "developer", [{"role": "developer", "content": "dev"}, u]
    yield "think", [u, think, u]
    yield "think last", [s, u, think]
    yield "reasoning", [u, reason, u, reason]
    yield "tool call", [u, c1, t1]
    yield "tool call answered", [s, u, c1, t1, {"role": "assistant", "content": "21.5"}, u]
    yield "two calls", [s, u, c2, t2, t3]
    yield "two calls answered", [u, c2, t2, t3, a, u, c1, t1]
    yield "string arguments", [u, c3, t1, u]
    yield "calls with thinking", [u, dict(c1, reasoning_content="look it up"), t1, u]
    yield "tool part", [u, c1, dict(t1, content=[{"type": "text", "text": "part"}]), u]
    yield "tool dict", [u, c1, dict(t1, content={"temp": 1})]
    yield "parts", [parts]
    yield "text part", [s, textpart, a, textpart]
    yield "all text parts", [dict(s, content=[{"type": "text", "text": "sys"}]), textpart, dict(a, content=[{"type": "text", "text": "yes"}]), textpart]
    yield "media", [media]
    yield "long", [m for i in range(6) for m in (dict(u, content=f"q{i}"), dict(a, content=f"<think>t{i}</think>a{i}"))]
    yield "whitespace", [dict(s, content="\n\n s \n"), dict(u, content="  u\n\n"), dict(a, content="\n a\t")]
    yield "ipython", [u, c1, dict(t1, role="ipython"), u]
    yield "continued", [u, a]


SETTINGS = [
    {"add_generation_prompt": True},
    {"add_generation_prompt": False},
    {"add_generation_prompt": True, "tools": TOOLS},
    {"add_generation_prompt": False, "tools": TOOLS, "documents": [{"title": "T\u00e9", "text": "doc text"}, {"title": "U", "text": ""}]},
    {"add_generation_prompt": True, "enable_thinking": False, "thinking": False, "reasoning_effort": "low"},
    {"add_generation_prompt": True, "enable_thinking": True, "thinking": True, "reasoning_effort": "high", "tools": TOOLS,
     "date_string": "26 Jul 2024", "tools_in_user_message": False, "builtin_tools": ["brave_search", "code_interpreter"]},
    {"add_generation_prompt": True, "tools": [], "documents": [], "preserve_thinking": True, "clear_thinking": False, "add_vision_id": True},
]
MORE = {"functions": "[]", "datetime": "2024-07-26"}  # firefunction's own
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
          "image_token": "<image>"}


def test_templates(folder):
    files = sorted(glob.glob(os.path.join(folder, "*.jinja")))
    for path in files:
        with open(path, encoding="utf-8", newline="") as f:
            source = f.read()
        bad = rendered = 0
        env = ENV
        if re.search(r"\.(append|pop|extend|insert|update)\(", source):
            env = MUTABLE  # written for engines that let templates change lists
        for (name, messages), settings in itertools.islice(
                itertools.product(conversations(), SETTINGS), 0, None, 1 if STRIDE == 1 else 2):
            variables = dict(TOKENS, **MORE, tools=None, documents=None)
            variables.update(settings, messages=messages)
            before = agreed_errors
            good = check(f"{os.path.basename(path)}, {name}, {sorted(settings)}", source, variables, env, show=bad < 2)
            bad += not good
            rendered += good and agreed_errors == before
        print(f"{'FAIL' if bad else 'ok  '} {os.path.basename(path)}: {rendered} rendered alike, {bad} differ"
              f"{' (mutable)' if env is MUTABLE else ''}")
        if rendered == 0:
            print(f"  {os.path.basename(path)} never rendered")
    return len(files)


test_expressions()
print(f"expressions: {compared} compared ({agreed_errors} errors on both sides), {skipped} skipped, "
      f"{failures} differ")
n_files = test_templates(os.path.join(HERE, "..", "reference", "templates"))
extra = os.environ.get("SN_TEST_TEMPLATES")
if extra and os.path.isdir(extra):
    n_files += test_templates(extra)
OURS.p.stdin.close()
print(f"{n_files} templates, {compared} comparisons in all, {agreed_errors} errors on both sides, "
      f"{skipped} skipped, {failures} failures")
sys.exit(1 if failures or OURS.p.wait() or not compared else 0)
