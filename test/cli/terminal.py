"""terminal.py SECONDS TEXT COMMAND ..: runs a command on a terminal of its own and prints what the terminal showed, escape
sequences spelled \\e[..; exits as the command did. Types TEXT at the start, then with SECONDS > 0 Ctrl-C after that time,
else the end of input (Ctrl-D) at once. Standard library only."""
import os, pty, select, sys, time

seconds, text = float(sys.argv[1]), sys.argv[2].encode().decode("unicode_escape").encode()
pid, master = pty.fork()
if pid == 0:
    os.execvp(sys.argv[3], sys.argv[3:])
time.sleep(0.2)
os.write(master, text + (b"" if seconds else b"\x04"))
end = time.monotonic() + seconds if seconds else None
shown = b""
while True:
    try:
        if end and not select.select([master], [], [], max(end - time.monotonic(), 0))[0]:
            os.write(master, b"\x03")
            end = None
            continue
        block = os.read(master, 65536)
    except OSError:  # the other end is closed
        break
    if not block:
        break
    shown += block
sys.stdout.write(shown.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\\r").replace("\x1b", "\\e"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
