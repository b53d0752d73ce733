"""A program at the console, with PyPI `websockets`: says what it is told, prints what it hears, and says of each that it has it.

console_line.py BASE TOKEN NAME LINE...; the id of each line is its text.
"""

import asyncio
import json
import sys

import websockets

base, token, name, *lines = sys.argv[1:]


async def talk():
    url = base.replace("http://", "ws://") + "/api/lines/console?as=" + name
    headers = {"Authorization": "Bearer " + token}
    async with websockets.connect(url, additional_headers=headers) as socket:
        for line in lines:
            await socket.send(json.dumps({"type": "line", "id": line, "text": line}))
        # The end is said when every line was taken: none follows it.
        taken = 0
        try:
            while True:
                if taken == len(lines):
                    taken = -1
                    await socket.send(json.dumps({"type": "end"}))
                heard = json.loads(await socket.recv())
                if heard["type"] == "line":
                    await socket.send(json.dumps({"type": "got", "key": heard["key"]}))
                    del heard["key"]
                else:
                    taken += 1
                print(json.dumps(heard), flush=True)
        except websockets.ConnectionClosed as closed:
            print("closed", closed.rcvd.code, closed.rcvd.reason, flush=True)


try:
    asyncio.run(talk())
except websockets.InvalidStatus as refused:
    print("refused", refused.response.status_code, json.loads(refused.response.body)["error"]["code"])
