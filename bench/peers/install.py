"""What snellen is measured against, installed into one folder that can be thrown away: llama.cpp, built from the source
package of llama-cpp-python, and PyTorch with Transformers in a virtual environment. Steps already done are skipped."""
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

LLAMA = "0.3.36"            # of llama-cpp-python; the llama.cpp inside it is the commit that its change log names
LLAMA_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
LLAMA_FLAGS = ["-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DLLAMA_CURL=OFF", "-DLLAMA_BUILD_TESTS=OFF",
               "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_SERVER=OFF"]
TORCH = {"torch": "2.15.0", "transformers": "5.23.0"}
LAST_LINES = 15             # of the output of what failed


class Failed(Exception):
    """A program that could not be run, or failed; its text is the command and what it said last."""


def tell(text):
    print(text, file=sys.stderr, flush=True)


def run(command):
    """Standard output of a program."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, errors="replace")
    except OSError as e:
        raise Failed(f"{shlex.join(command)}\n    {e.strerror}")
    if done.returncode:
        how = f"ended by signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        last = (done.stdout + done.stderr).strip().splitlines()[-LAST_LINES:]
        raise Failed("\n    ".join([f"{shlex.join(command)}: {how}"] + last))
    return done.stdout


def run_json(command):
    out = run(command)
    try:
        return json.loads(out)
    except ValueError as e:
        raise Failed(f"{shlex.join(command)}\n    its output is no JSON: {e}: {out[:200]!r}")


def venv(folder):
    """The Python of the folder's virtual environment. One without pip was cut short, and is made anew."""
    python = os.path.join(folder, "venv", "bin", "python")
    try:
        run([python, "-m", "pip", "--version"])
    except Failed:
        tell("making a virtual environment")
        run([sys.executable, "-m", "venv", "--clear", os.path.join(folder, "venv")])
    return python


def pip(folder, *words):
    return run([venv(folder), "-m", "pip", "--disable-pip-version-check", *words])


# ---- llama.cpp -------------------------------------------------------------------------------------------------------

def sha256(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            h.update(block)
    return h.hexdigest()


def llama_package(folder):
    """The source package. Only it is asked for as source: what pip needs to look into it comes as wheels."""
    path = os.path.join(folder, f"llama_cpp_python-{LLAMA}.tar.gz")
    if not os.path.exists(path):
        tell("downloading llama.cpp, 77 MB")
        pip(folder, "download", "--no-deps", "--no-binary", "llama-cpp-python", "-d", folder,
            f"llama-cpp-python=={LLAMA}")
    if sha256(path) != LLAMA_SHA256:
        raise Failed(f"{path} is not the file that was pinned (SHA-256 {LLAMA_SHA256}); remove it to download it again")
    return path


def llama_source(folder):
    """The unpacked package; it gets its name when it is whole."""
    name = f"llama_cpp_python-{LLAMA}"
    source, part = os.path.join(folder, name), os.path.join(folder, "unpacking")
    if not os.path.isdir(source):
        package = llama_package(folder)
        tell("unpacking it")
        shutil.rmtree(part, ignore_errors=True)
        os.mkdir(part)
        run(["tar", "-xzf", package, "-C", part])
        os.rename(os.path.join(part, name), source)
        os.rmdir(part)
    return source


def cmake(folder):
    """The system's, or else that of PyPI."""
    found = shutil.which("cmake") or os.path.join(folder, "venv", "bin", "cmake")
    if not os.path.exists(found):
        tell("installing cmake into the virtual environment")
        pip(folder, "install", "-q", "cmake")
    return found


def llama(folder):
    """The path of llama-bench, and what is told of it."""
    source, build = llama_source(folder), os.path.join(folder, f"build-llama-{LLAMA}")
    bench = os.path.join(build, "bin", "llama-bench")
    if not os.access(bench, os.X_OK):
        tell("building llama-bench, which takes minutes")
        program = cmake(folder)
        run([program, "-S", os.path.join(source, "vendor", "llama.cpp"), "-B", build, *LLAMA_FLAGS])
        run([program, "--build", build, "--target", "llama-bench", "-j", str(os.cpu_count())])
    with open(os.path.join(source, "CHANGELOG.md"), encoding="utf-8") as f:
        commit = re.search(r"^## \[" + re.escape(LLAMA) + r"\]\n[^#]*?llama\.cpp@(\w+)", f.read(), re.M)
    return bench, {"version": f"llama-cpp-python {LLAMA}", "commit": commit.group(1) if commit else "unknown",
                   "flags": LLAMA_FLAGS}


# ---- PyTorch ---------------------------------------------------------------------------------------------------------

def torch_versions(python):
    """What the virtual environment has, without loading it; builds are told as in 2.15.0+cpu."""
    code = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    try:
        return run_json([python, "-c", code, *TORCH])
    except Failed:
        return {}


def torch(folder):
    """The Python that has PyTorch, and what is told of it."""
    python = venv(folder)
    found = torch_versions(python)
    if any(found.get(name, "").split("+")[0] != version for name, version in TORCH.items()):
        tell("installing PyTorch and Transformers, several GB")
        pip(folder, "install", "-q", *(f"{name}=={version}" for name, version in TORCH.items()))
        found = torch_versions(python)
    return python, found
