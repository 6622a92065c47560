#!/usr/bin/env python3
"""The page's style and script as C text, and the script's hash, by which the page's policy lets it run and no other.

    embed.py PAGE.css PAGE.js OUT.h
"""
import base64, hashlib, sys

css, js, out = sys.argv[1:]


def literal(name, data):
    """A C array: one string a line, bytes outside of printable ASCII as octal escapes."""
    lines = []
    for line in data.split(b"\n"):
        text = "".join(chr(c) if 32 <= c < 127 and c not in b'"\\' else f"\\{c:03o}" for c in line)
        lines.append(f'    "{text}\\n"')
    return f"static const char {name}[] =\n" + "\n".join(lines) + ";\n"


style, script = (open(path, "rb").read().rstrip(b"\n") for path in (css, js))
if b"</style" in style.lower() or b"</script" in script.lower():
    sys.exit("a closing tag in it would end the element it stands in")
# The element holds the text between its tags: a line's end, the script, a line's end.
digest = base64.b64encode(hashlib.sha256(b"\n" + script + b"\n").digest())
with open(out, "w", encoding="ascii") as f:
    f.write("/* Made of page.css and page.js by embed.py. */\n")
    f.write(literal("page_css", style) + literal("page_js", script))
    f.write(f'static const char page_js_hash[] = "sha256-{digest.decode()}";\n')
