#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The rules of HACKING.md that a machine can check.

    purity.py symbols LIBRARY...   PURE libraries: nothing undefined but mem* and each other's; no variables
    purity.py sources ROOT         includes follow APP -> EDGE -> PURE, and BPF's the contract; files look as agreed
    purity.py planted              plants a violation of each rule in a scratch tree and sees it reported
"""
import pathlib
import re
import subprocess
import sys
import tempfile

PURE = ["dataplane/base", "dataplane/wire", "dataplane/coherence", "dataplane/transport",
        "dataplane/interrupt", "dataplane/clock", "dataplane/rdma", "dataplane/span", "hypervisor-glue/lapic",
        "offload/plan", "offload/nic", "perf/giantvm/core"]
EDGE = ["dataplane/port", "dataplane/endpoint", "dataplane/host", "dataplane/memory", "hypervisor-glue/link", "bpf",
        "offload/flow"]
APP = ["dataplane/config", "dataplane/doctor", "dataplane/fabric", "dataplane/engine", "dataplane/net", "dataplane/watch",
       "hypervisor-glue/run", "offload/show", "perf/giantvm/edge"]
PURE_HEADERS = {"stdint.h", "stdbool.h", "stddef.h", "string.h", "limits.h", "errno.h"}
# Colour BPF: what runs in the kernel (NAME.bpf.c), and the one header that it shares with its user side.
BPF_SYSTEM = re.compile(r"stddef\.h|linux/\w+\.h|bpf/bpf_(helpers|endian)\.h")
BPF_CONTRACT = "bpf/contract.h"
EXTRA_HEADERS = {"dataplane/base/crc32c.c": {"immintrin.h"}}  # the crc32 instruction

FILE_LINES = 800
LINE_COLUMNS = 100
TABLE_COLUMNS = 120  # in tables between "clang-format off" and "clang-format on"
FUNCTION_LINES = 70

# bcmp is what clang makes of a memcmp for equality.
ALLOWED_SYMBOL = re.compile(
    r"(memcpy|memset|memmove|memcmp|bcmp|_GLOBAL_OFFSET_TABLE_|__stack_chk_fail"
    r"|__cpu_model|__cpu_indicator_init|__popcountdi2|__u?divti3|__muloti4"  # libgcc
    r"|__(asan|ubsan|sanitizer|sancov|lsan)_.*|__gcov_.*|__odr_asan.*)$")
# Who reports a failed assertion: the only variable of the PURE parts (base/check.c).
ALLOWED_VARIABLES = {"check_handler"}


def run(*args):
    return subprocess.run(args, check=True, capture_output=True, text=True).stdout


def check_symbols(libraries):
    errors, defined, undefined = [], set(), []
    for lib in libraries:
        for line in run("nm", "-P", lib).splitlines():
            parts = line.split()
            if len(parts) < 2 or line.endswith(":"):
                continue
            if parts[1] == "U":
                undefined.append((lib, parts[0]))
            elif parts[1].isupper():
                defined.add(parts[0])
        errors += check_variables(lib)
    for lib, symbol in undefined:
        if symbol not in defined and not ALLOWED_SYMBOL.match(symbol):
            errors.append(f"{lib}: needs {symbol}: not PURE")
    return errors


def check_variables(lib):
    """Objects in sections that can be written at run time; relocated constants (.data.rel.ro) cannot."""
    errors = []
    for line in run("objdump", "-t", lib).splitlines():
        m = re.match(r"[0-9a-f]+ .{6}(.)\s(\S+)\s+[0-9a-f]+ (?:\.hidden )?(\S+)$", line)
        if not m:
            continue
        kind, section, name = m.groups()
        writable = section == "*COM*" or (re.match(r"\.(data|bss|tdata|tbss)(\.|$)", section)
                                          and not section.startswith(".data.rel.ro"))
        if kind == "O" and writable and name.split(".")[0] not in ALLOWED_VARIABLES \
                and not name.startswith((".L", "__odr_asan", "__asan", "__sancov", "__gcov")):
            errors.append(f"{lib}: variable {name} in {section}: PURE parts keep no state")
    return errors


def folder_of(path, folders):
    return next((f for f in folders if path.startswith(f + "/")), None)


def check_includes(path, text):
    errors = []
    for n, line in enumerate(text.splitlines(), 1):
        m = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not m:
            continue
        system, header = m.group(1) == "<", m.group(2)
        where = f"{path}:{n}: includes {header}: "
        if folder_of(path, PURE):
            if system and header not in PURE_HEADERS | EXTRA_HEADERS.get(path, set()):
                errors.append(where + "PURE takes nothing from the system but " +
                              " ".join(sorted(PURE_HEADERS)))
            if not system and not folder_of(header, PURE):
                errors.append(where + "PURE includes PURE only, by its path from the root")
        if path.endswith(".bpf.c") and not (BPF_SYSTEM.fullmatch(header) if system else header == BPF_CONTRACT):
            errors.append(where + f"BPF takes the kernel's headers, libbpf's helpers and {BPF_CONTRACT} only")
        if path == BPF_CONTRACT and (not system or header != "linux/types.h"):
            errors.append(where + "kernel and user side share fixed-width types and nothing else")
        if folder_of(path, EDGE) and not system and folder_of(header, APP):
            errors.append(where + "EDGE does not include APP")
        if not path.startswith("tests/") and not system and header.startswith("tests/"):
            errors.append(where + "only tests include tests")
    return errors


def check_functions(path, lines):
    """Heuristic: a body opens with '{' and closes with '}' in the first column."""
    errors, start = [], None
    for n, line in enumerate(lines, 1):
        if line == "{":
            start = n
        elif line.startswith("}") and start is not None:
            if n - start - 1 > FUNCTION_LINES:
                errors.append(f"{path}:{start}: function of {n - start - 1} lines, "
                              f"at most {FUNCTION_LINES}")
            start = None
    return errors


def check_form(path, text):
    errors = []
    lines = text.split("\n")
    if text and not text.endswith("\n"):
        errors.append(f"{path}: no newline at the end")
    if "SPDX-License-Identifier: BSD-3-Clause" not in "\n".join(lines[:2]):
        errors.append(f"{path}:1: no SPDX-License-Identifier: BSD-3-Clause")
    if len(lines) - 1 > FILE_LINES:
        errors.append(f"{path}: {len(lines) - 1} lines, at most {FILE_LINES}")
    code, columns = path.endswith((".c", ".h")), LINE_COLUMNS
    for n, line in enumerate(lines, 1):
        if "clang-format o" in line:
            columns = TABLE_COLUMNS if "clang-format off" in line else LINE_COLUMNS
            if code and not re.match(r"\s*/\* clang-format (on|off) \*/", line):
                errors.append(f"{path}:{n}: clang-format obeys only a comment that says nothing else")
        if line != line.rstrip():
            errors.append(f"{path}:{n}: white space at the end of the line")
        if code and "\t" in line:
            errors.append(f"{path}:{n}: tab")
        if code and len(line) > columns:
            errors.append(f"{path}:{n}: {len(line)} columns, at most {columns}")
    return errors + (check_functions(path, lines) if code else [])


def check_sources(root):
    errors, seen = [], 0
    root = pathlib.Path(root)
    for top in ["dataplane", "hypervisor-glue", "tests", "perf", "offload", "bpf"]:
        for file in sorted((root / top).rglob("*")):
            path = file.relative_to(root).as_posix()
            if file.suffix not in (".c", ".h", ".S", ".py", ".sh") or not file.is_file():
                continue
            text = file.read_text()
            seen += 1
            errors += check_form(path, text)
            if file.suffix in (".c", ".h"):
                errors += check_includes(path, text)
    if seen == 0:
        errors.append(f"{root}: no sources found")
    return errors


# Path, content, and what must be said about it.
SPDX = "/* SPDX-License-Identifier: BSD-3-Clause */\n"
PLANTED = [
    ("dataplane/base/a.c", SPDX + "#include <stdio.h>\n", "PURE takes nothing from the system"),
    ("dataplane/wire/a.c", SPDX + '#include "dataplane/port/port.h"\n', "PURE includes PURE only"),
    ("dataplane/port/a.c", SPDX + '#include "dataplane/engine/engine.h"\n', "EDGE does not include"),
    ("bpf/a.bpf.c", SPDX + "#include <stdio.h>\n", "BPF takes"),
    ("bpf/b.bpf.c", SPDX + '#include "dataplane/wire/wire.h"\n', "BPF takes"),
    ("bpf/contract.h", SPDX + "#include <stdint.h>\n", "share fixed-width types"),
    ("bpf/c.c", SPDX + '#include "dataplane/engine/engine.h"\n', "EDGE does not include"),
    ("dataplane/port/b.c", SPDX + '#include "tests/unit/x.h"\n', "only tests include tests"),
    ("tests/a.c", "int x;\n", "no SPDX"),
    ("tests/b.c", SPDX + "int x; \n", "white space at the end"),
    ("tests/c.c", SPDX + "\tint x;\n", "tab"),
    ("tests/d.c", SPDX + "int x;", "no newline at the end"),
    ("tests/e.c", SPDX + "/*" + "x" * 97 + "*/\n", "101 columns"),
    ("tests/h.h", SPDX + "/* clang-format off: a table */\n", "says nothing else"),
    ("tests/f.c", SPDX + "int x;\n" * 800, "801 lines"),
    ("tests/g.c", SPDX + "int f(void)\n{\n" + "    ;\n" * 71 + "}\n", "function of 71 lines"),
]
GOOD = SPDX + "#include <string.h>\n\nint f(void)\n{\n" + "    ;\n" * 70 + "}\n"
OBJECTS = [
    ("int printf(const char *, ...); int f(void); int f(void) { return printf(\"x%d\", 1); }",
     "needs printf"),
    ("#include <time.h>\nlong f(void); long f(void) { return time(0); }", "needs time"),
    ("int counter; int f(void); int f(void) { return ++counter; }", "variable counter"),
    ("int f(void); int f(void) { static int calls = 7; return ++calls; }", "variable calls"),
]
GOOD_OBJECT = ("#include <string.h>\nstatic const char *const name[] = {\"a\", \"b\"};\n"
               "const char *f(char *p, int i); const char *f(char *p, int i)"
               " { memset(p, 0, (unsigned)i); return name[i]; }")


def planted():
    errors = []
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)

        def report_on(path, content):
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
            found = check_sources(root)
            file.unlink()
            return found

        for path, content, expected in PLANTED:
            found = report_on(path, content)
            if len(found) != 1 or expected not in found[0]:
                errors.append(f"planted {path}: expected one '{expected}', got {found}")
        if report_on("dataplane/base/good.c", GOOD):
            errors.append("a good file was refused")
        for source, expected in OBJECTS + [(GOOD_OBJECT, None)]:
            (root / "o.c").write_text(source)
            run("cc", "-O1", "-fPIC", "-c", str(root / "o.c"), "-o", str(root / "o.o"))
            found = check_symbols([str(root / "o.o")])
            if (expected is None and found) or \
                    (expected and (len(found) != 1 or expected not in found[0])):
                errors.append(f"planted object: expected {expected}, got {found}")
    return errors


def main(argv):
    if len(argv) >= 3 and argv[1] == "symbols":
        errors = check_symbols(argv[2:])
    elif len(argv) == 3 and argv[1] == "sources":
        errors = check_sources(argv[2])
    elif len(argv) == 2 and argv[1] == "planted":
        errors = planted()
    else:
        print(__doc__, file=sys.stderr)
        return 2
    for e in errors:
        print(e)
    print(f"{len(errors)} violations")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
