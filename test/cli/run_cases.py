"""Behaviour of the command line, as files: runs test/cli/cases/*.case and compares what comes out.

    run_cases.py SNELLEN GOLDEN [--suite fast|weights] [--bless] [-v] [NAME ...]

A case file holds commands for the shell and what they must answer:

    # a comment
    needs smollm2             the rest of the file is skipped, loudly, where this model is not in the cache
    $ snellen run x           a command, run in an empty folder of this file; $GOLDEN and $TOOLS are set
    > text                    a line of standard output ("..." stands for anything within a line;
    ! text                    a line of standard error    a line that is only "..." for any lines or none)
    = 2                       the exit status

No ">" or "!" line means that nothing may come out there. --bless writes what really came out into the files, for the
commands that differ; look at the difference before it is committed. Files with "needs" make up the suite "weights", the
others "fast". Exit status: 0 all passed, 1 not all, 77 nothing could be run.
"""
import argparse, os, re, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


class Command:
    def __init__(self, text):
        self.text, self.out, self.err, self.status = text, [], [], 0


def parse(path):
    """-> (needs, list of comment lines and Commands in the order of the file)"""
    needs, items = [], []
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        line = line.rstrip("\n")
        command = items[-1] if items and isinstance(items[-1], Command) else None
        if line.startswith("$ "):
            items.append(Command(line[2:]))
        elif line.startswith("needs "):
            needs.append(line[6:].strip())
            items.append(line)
        elif not line or line.startswith("#"):
            items.append(line)
        elif command and line[0] in ">!":
            (command.out if line[0] == ">" else command.err).append(line[2:])
        elif command and line.startswith("= "):
            command.status = int(line[2:])
        else:
            sys.exit(f"{path}:{number}: not understood: {line}")
    return needs, items


def model_path(name):
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(cache, "snellen", "models", name + ".gguf")


def missing(needs):
    """What is needed and not there."""
    return [n for n in needs if not (os.geteuid() != 0 if n == "user" else os.path.exists(model_path(n)))]


def matches(pattern, lines):
    """Do the lines follow the pattern?"""
    if not pattern:
        return not lines
    if pattern[0] == "...":
        return any(matches(pattern[1:], lines[i:]) for i in range(len(lines) + 1))
    if not lines:
        return False
    line = ".*".join(re.escape(part) for part in pattern[0].split("..."))
    return re.fullmatch(line, lines[0]) is not None and matches(pattern[1:], lines[1:])


def run(command, folder, options):
    env = dict(os.environ, GOLDEN=options.golden, TOOLS=HERE, PYTHON=sys.executable, XDG_DATA_HOME=folder + "/.data",
               LC_ALL="C.UTF-8", PATH=os.path.dirname(options.snellen) + os.pathsep + os.environ["PATH"])
    env.setdefault("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    env.setdefault("SNELLEN_STUDIES", os.path.join(HERE, "..", "..", "studies"))
    env.setdefault("OMP_WAIT_POLICY", "passive")  # tests share the cores: who waits must not spin
    try:
        r = subprocess.run(["bash", "-c", command.text], cwd=folder, env=env, stdin=subprocess.DEVNULL,
                           capture_output=True, timeout=options.timeout)
    except subprocess.TimeoutExpired:
        return "it took longer than %d s" % options.timeout, [], [], -1
    plain = lambda b: b.decode("utf-8", "backslashreplace").replace(options.golden, "$GOLDEN").splitlines()
    out, err = plain(r.stdout), plain(r.stderr)
    wrong = []
    if r.returncode != command.status:
        wrong.append(f"exit status {r.returncode}, {command.status} expected")
    for name, pattern, lines in (("output", command.out, out), ("error output", command.err, err)):
        if not matches(pattern, lines):
            wrong.append(f"standard {name}:\n      " + "\n      ".join(lines or ["(nothing)"]) + "\n    expected:\n      " +
                         "\n      ".join(pattern or ["(nothing)"]))
    return "\n    ".join(wrong), out, err, r.returncode


def write(path, items):
    with open(path, "w", encoding="utf-8") as f:
        for item in items:
            if isinstance(item, str):
                f.write(item + "\n")
                continue
            f.write("$ " + item.text + "\n")
            f.writelines("> " + line + "\n" for line in item.out)
            f.writelines("! " + line + "\n" for line in item.err)
            if item.status:
                f.write(f"= {item.status}\n")


def run_file(path, options, counts):
    name = os.path.basename(path)[:-5]
    needs, items = parse(path)
    commands = [i for i in items if isinstance(i, Command)]
    lacking = missing(needs)
    if lacking:
        print(f"SKIPPED {name}: {len(commands)} commands need {', '.join(lacking)}"
              + (" (snellen models get NAME)" if lacking != ["user"] else " (not as root)"))
        counts["skipped"] += len(commands)
        return
    blessed = False
    with tempfile.TemporaryDirectory() as folder:
        for command in commands:
            wrong, out, err, status = run(command, folder, options)
            counts["failed" if wrong else "passed"] += 1
            if wrong:
                print(f"FAIL {name}: $ {command.text}\n    {wrong}")
            elif options.verbose:
                print(f"ok   {name}: $ {command.text}")
            if wrong and options.bless and status >= 0:
                command.out, command.err, command.status, blessed = out, err, status, True
    if blessed:
        write(path, items)
        print(f"blessed {path}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("snellen")
    p.add_argument("golden")
    p.add_argument("names", nargs="*", help="only these files")
    p.add_argument("--suite", choices=["fast", "weights"])
    p.add_argument("--bless", action="store_true")
    p.add_argument("--timeout", type=int, default=120, help="seconds for one command")
    p.add_argument("-v", "--verbose", action="store_true")
    options = p.parse_args()
    options.snellen, options.golden = os.path.abspath(options.snellen), os.path.abspath(options.golden)
    folder = os.path.join(HERE, "cases")
    paths = [os.path.join(folder, f) for f in sorted(os.listdir(folder)) if f.endswith(".case")]
    if options.names:
        paths = [f for f in paths if os.path.basename(f)[:-5] in options.names]
    if options.suite:
        paths = [f for f in paths if bool(set(parse(f)[0]) - {"user"}) == (options.suite == "weights")]
    counts = dict(passed=0, failed=0, skipped=0)
    for path in paths:
        run_file(path, options, counts)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    sys.exit(1 if counts["failed"] else 77 if not counts["passed"] else 0)


if __name__ == "__main__":
    main()
