#!/usr/bin/env python3
"""seeds.py DIRECTORY: what the fuzz targets start from, one directory each, out of the repo's own test texts.

Every string of the tests of what a target reads is a seed, and so is every file of that kind.
"""
import ast, hashlib, pathlib, re, sys, tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
# A Rust string; of an ordinary one, Python reads the escapes that matter here.
STRING = re.compile(r'r(#+)"(?P<raw>.*?)"\1|"(?P<text>(?:[^"\\]|\\.)*)"', re.S)


def strings(*patterns):
    for file in files(*patterns):
        for found in STRING.finditer(file.decode()):
            if found["raw"] is not None:
                yield found["raw"]
                continue
            text = re.sub(r"\\\n\s*", "", found["text"])
            try:
                yield ast.literal_eval('"' + re.sub(r"\\u\{.*?\}", "?", text).replace("\n", "\\n") + '"')
            except (SyntaxError, ValueError):
                continue


def files(*patterns):
    return (file.read_bytes() for pattern in patterns for file in sorted(ROOT.glob(pattern)))


def queries():
    """The expressions of the test files' `eval` lines, and all that the parser's tests read."""
    for file in files("tests/promqltest/*.test"):
        for line in file.decode().splitlines():
            found = re.match(r"\s*eval.*?(?: instant at | step )\S+\s+(.*)", line)
            if found:
                yield found[1]
    yield from strings("src/promql/parser/tests.rs", "src/promql/notation.rs", "src/promql/eval/tests.rs")


def relabelling():
    for action in "replace keep drop keepequal dropequal hashmod labelmap labeldrop labelkeep lowercase uppercase".split():
        for regex, replacement in [("", ""), ("(.*):(.*)", "$2-${1}"), ("(?i)J.b|inst.*", "x_$0"), (".+", "")]:
            yield "\n".join([action, regex, replacement, "job", "", "7", "instance job"]) + "\n"


SEEDS = {
    "parser": queries,
    # An odd first byte: what follows is text.
    "evaluator": lambda: ("\x01" + query for query in queries()),
    "template": lambda: strings("src/template/tests.rs", "src/template/[fhlpt]*.rs"),
    "regex": lambda: (text + "\n$1-${name}\nacme-1" for text in strings("src/regex/*.rs")),
    "exposition": lambda: (text + end for text in strings("src/exposition/*.rs", "tests/exposition.rs") for end in "@C"),
    "rules": lambda: [*files("rules/*.yml"), *strings("src/rules/*.rs", "src/yaml/*.rs")],
    "relabel": relabelling,
}

manifest = tomllib.loads((ROOT / "fuzz/Cargo.toml").read_text())
for target in (binary["name"] for binary in manifest["bin"]):
    directory = pathlib.Path(sys.argv[1], target)
    directory.mkdir(parents=True, exist_ok=True)
    for text in SEEDS[target]():
        seed = text if isinstance(text, bytes) else text.encode(errors="replace")
        (directory / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    if len(list(directory.iterdir())) < 20:
        sys.exit(f"{target}: hardly a seed; have the tests it is fed from moved?")
