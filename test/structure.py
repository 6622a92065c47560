#!/usr/bin/env python3
"""What the code promises of its own shape: includes only go down, library code neither exits nor prints, the shared
library exports the public functions and nothing else.

    structure.py SOURCE_ROOT LIBSNELLEN_SO
"""
import os, re, subprocess, sys

ORDER = "base kernels format tokenize model memory train tasks probe store report study cli".split()
FORBIDDEN = re.compile(r"(?<![\w.>])(exit|_exit|abort|assert|printf|puts|putchar|perror|system)\s*\(|\bstd(out|err)\b")
root, library = sys.argv[1:3]
wrong = []


def code(path):
    """The file without comments and string literals, line by line."""
    text = open(path, encoding="utf-8").read()
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)
    return [re.sub(r'"(\\.|[^"\\])*"', '""', l) if "#include" not in l else l for l in text.split("\n")]


files = 0
for module in ORDER:
    for folder, _, names in os.walk(os.path.join(root, "src", module)):
        for name in sorted(names):
            if not name.endswith((".c", ".h")):
                continue
            files += 1
            path = os.path.join(folder, name)
            for number, line in enumerate(code(path), 1):
                place = f"{os.path.relpath(path, root)}:{number}"
                include = re.match(r'\s*#\s*include\s+"(\w+)/', line)
                if include and include.group(1) in ORDER and ORDER.index(include.group(1)) > ORDER.index(module):
                    wrong.append(f"{place}: {module} includes {include.group(1)}, which stands above it")
                call = FORBIDDEN.search(line)
                if call and module != "cli" and "static_assert" not in line:
                    wrong.append(f"{place}: library code uses {call.group()}")

symbols = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
exported = {l.split()[-1] for l in symbols.splitlines()}
header = open(os.path.join(root, "include", "snellen.h"), encoding="utf-8").read()
header = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
declared = set(re.findall(r"SNELLEN_API[^;]*?\b(snellen_\w+)\s*\(", header))
wrong += [f"exported but not in snellen.h: {s}" for s in sorted(exported - declared)]
wrong += [f"in snellen.h but not exported: {s}" for s in sorted(declared - exported)]

print(f"{files} files, {len(declared)} public functions, {len(wrong)} broken promises")
print("\n".join(wrong))
sys.exit(1 if wrong or not files or not declared else 0)
