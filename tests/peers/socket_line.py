"""The line of the fixture `wire`, as a server of PyPI `websockets`.

Usage: socket_line.py TOKEN FILE. Prints its address; writes what it heard into FILE, a line each.
"""

import asyncio
import json
import sys

import websockets
from websockets.asyncio.server import serve

token, path = sys.argv[1], sys.argv[2]
logins = 0
first_over = asyncio.Event()


def note(text: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(text + "\n")


async def hear(socket) -> dict:
    return json.loads(await asyncio.wait_for(socket.recv(), 60))


async def say(socket, n: int, text: str) -> None:
    await socket.send(json.dumps({"op": "message", "id": n, "from": "1", "text": text}))
    assert await hear(socket) == {"op": "ack", "id": n}
    note(f"ack {n}")


async def handle(socket) -> None:
    global logins
    assert await hear(socket) == {"op": "login", "token": token}
    logins += 1
    note(f"login {logins}")
    if logins == 1:
        # The client answers pings, takes fragments, and pings itself.
        await asyncio.wait_for(await socket.ping(), 60)
        note("pong")
        await say(socket, 1, "hello")
        whole = json.dumps({"op": "message", "id": 2, "from": "1", "text": "in pieces \u2713"}, ensure_ascii=False)
        await socket.send([whole[:9], whole[9:30], whole[30:]])
        assert await hear(socket) == {"op": "ack", "id": 2}
        note("ack 2")
        await asyncio.wait_for(pinged.wait(), 60)
        note("ping")
        await socket.send(json.dumps({"op": "refresh"}))
        try:
            await asyncio.wait_for(socket.recv(), 60)
        except websockets.ConnectionClosedOK as closed:
            note(f"closed {closed.rcvd.code} {closed.rcvd.reason}")
        first_over.set()
    else:
        await asyncio.wait_for(first_over.wait(), 60)
        await say(socket, 3, "from the second line")
        note("over")
        await asyncio.Future()


pinged = asyncio.Event()


class Watched(websockets.asyncio.server.ServerConnection):
    """Tells when the other side pings."""

    def process_event(self, event) -> None:
        if getattr(event, "opcode", None) == 9:
            pinged.set()
        super().process_event(event)


async def main() -> None:
    async with serve(handle, "127.0.0.1", 0, create_connection=Watched, ping_interval=None) as server:
        port = server.sockets[0].getsockname()[1]
        print(f"ws://127.0.0.1:{port}/line", flush=True)
        await asyncio.Future()


asyncio.run(main())
