"""A person at a terminal: runs a command on a terminal of its own and types an answer whenever a text appears.

Usage: terminal.py '[["text", "answer"], …]' COMMAND [ARGUMENT…]. An answer of null types nothing, {"signal": 15} sends a signal instead, and
{"close": true} closes the terminal. Prints what the terminal shows, as it does, whether it was left reading whole lines ("cooked") when that can
still be seen, then the exit code on a line of its own. A text that does not appear within two minutes ends the command, and so does one minute
after the terminal was closed.
"""

import json
import os
import pty
import select
import sys
import termios
import time

script = json.loads(sys.argv[1])
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])

shown = b""
looked = 0
deadline = time.monotonic() + 120
closed = False
while not closed:
    ready, _, _ = select.select([terminal], [], [], 1)
    if ready:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            data = b""
        if not data:
            break
        if b"\x1b[6n" in data:
            # Where the cursor is, asked as terminals are.
            os.write(terminal, b"\x1b[1;1R")
        shown += data
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        while script and (at := shown.find(script[0][0].encode(), looked)) >= 0:
            text, answer = script.pop(0)
            looked = at + len(text.encode())
            if isinstance(answer, dict):
                if "signal" in answer:
                    os.kill(pid, answer["signal"])
                else:
                    os.close(terminal)
                    closed = True
                    break
            elif answer is not None:
                os.write(terminal, answer.encode() + b"\n")
            deadline = time.monotonic() + 120
    elif time.monotonic() > deadline:
        os.kill(pid, 9)
        break

if closed:
    deadline = time.monotonic() + 60
    while (over := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, 9)
        time.sleep(0.05)
    _, status = over
else:
    _, status = os.waitpid(pid, 0)
    lines = termios.tcgetattr(terminal)[3] & termios.ICANON
    print("\ncooked" if lines else "\nraw", end="")
print(f"\n{os.waitstatus_to_exitcode(status)}")
if script:
    sys.exit(f"these were never asked: {script}")
