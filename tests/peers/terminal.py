"""A person at a terminal: runs a command on a terminal of its own and types an answer whenever a text appears.

Usage: terminal.py '[["text", "answer"], …]' COMMAND [ARGUMENT…]. An answer of null types nothing. Prints what the terminal shows, as it
does, then the exit code on a line of its own. A text that does not appear within two minutes ends the command.
"""

import json
import os
import pty
import select
import sys
import time

script = json.loads(sys.argv[1])
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])

shown = b""
looked = 0
deadline = time.monotonic() + 120
while True:
    ready, _, _ = select.select([terminal], [], [], 1)
    if ready:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            data = b""
        if not data:
            break
        shown += data
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        while script and (at := shown.find(script[0][0].encode(), looked)) >= 0:
            text, answer = script.pop(0)
            looked = at + len(text.encode())
            if answer is not None:
                os.write(terminal, answer.encode() + b"\n")
            deadline = time.monotonic() + 120
    elif time.monotonic() > deadline:
        os.kill(pid, 9)
        break

_, status = os.waitpid(pid, 0)
print(f"\n{os.waitstatus_to_exitcode(status)}")
if script:
    sys.exit(f"these were never asked: {script}")
