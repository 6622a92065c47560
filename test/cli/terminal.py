"""terminal.py TEXT COMMAND ..: runs a command on a terminal of its own, types TEXT (then end of input, Ctrl-D), prints
what the terminal showed, escape sequences spelled \\e[..; exits as the command did. Standard library only."""
import os, pty, sys, time

text = sys.argv[1].encode().decode("unicode_escape").encode()
pid, master = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
time.sleep(0.2)
os.write(master, text + b"\x04")
shown = b""
while True:
    try:
        block = os.read(master, 65536)
    except OSError:  # the other end is closed
        break
    if not block:
        break
    shown += block
sys.stdout.write(shown.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\\r").replace("\x1b", "\\e"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
