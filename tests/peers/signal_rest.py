"""A small signal-cli-rest-api for one account, on a free loopback port: what https://bbernhard.github.io/signal-cli-rest-api/ and its source
(https://github.com/bbernhard/signal-cli-rest-api, src/api/api.go) say of about, receive, send, the typing indicator, attachments, reactions and
receipts.

In json-rpc mode what comes while no client is attached is dropped; in normal mode a poll takes what there is. Beside the API, for tests,
under /control: say (an envelope; `files`: what comes with it, its bytes in base64), fail (the next send is answered so), sent, typed, reacted,
receipts, state. Prints the base URL; stops with stdin.

Usage: signal_rest.py '{"number": "+49…", "mode": "json-rpc"}'
"""

import asyncio
import base64
import json
import re
import sys
import time

import aiohttp
from aiohttp import web

OPTIONS = json.loads(sys.argv[1])
NUMBER, MODE = OPTIONS["number"], OPTIONS.get("mode", "json-rpc")
waiting, sockets, sent, typed, failures, reacted, receipts = [], [], [], [], [], [], []
files = {}
told = {"delivered": 0, "dropped": 0, "last": 0}
changed = asyncio.Condition()


async def note(do=lambda: None):
    async with changed:
        do()
        changed.notify_all()


def now():
    told["last"] = max(int(time.time() * 1000), told["last"] + 1)
    return told["last"]


async def about(_):
    return web.json_response({"versions": ["v1", "v2"], "build": 2, "mode": MODE, "version": "0.101", "capabilities": {"v2/send": ["quotes", "mentions"]}})


async def receive(request):
    if request.match_info["number"] != NUMBER:
        return web.json_response({"error": "Specified account does not exist"}, status=400)
    if MODE != "json-rpc":
        async with changed:
            try:
                await asyncio.wait_for(changed.wait_for(lambda: waiting), float(request.query.get("timeout", 1)))
            except asyncio.TimeoutError:
                pass
            taken, waiting[:] = list(waiting), []
            told["delivered"] += len(taken)
        return web.json_response(taken)
    # The real one reads frames of at most 512 bytes, and ignores them.
    ws = web.WebSocketResponse(max_msg_size=512)
    await ws.prepare(request)
    # The request forgets its transport when that is gone.
    here = (ws, request.transport)
    await note(lambda: sockets.append(here))
    try:
        async for _ in ws:
            pass
    finally:
        await note(lambda: sockets.remove(here))
    return ws


def file(text):
    """Of `base64_attachments`: `<BASE64>`, `data:<MIME>;base64,<BASE64>` or `data:<MIME>;filename=<NAME>;base64,<BASE64>`"""
    found = re.fullmatch(r"(?:data:([^;,]+)(?:;filename=([^;,]+))?;base64,)?([A-Za-z0-9+/=]+)", text)
    try:
        return found and {"mime": found[1], "name": found[2], "data": base64.b64encode(base64.b64decode(found[3], validate=True)).decode()}
    except ValueError:
        return None


async def send(request):
    p = await request.json()
    if failures:
        failing = failures.pop(0)
        return web.json_response(failing["body"], status=failing["status"])
    wrong = None
    if p.get("number") != NUMBER:
        wrong = "Specified account does not exist"
    elif len(p.get("recipients") or []) < 1:
        wrong = "Couldn't process request - please provide at least one recipient"
    elif not p.get("message") and not p.get("base64_attachments"):
        wrong = "Couldn't process request - no message"
    elif any(file(a) is None for a in p.get("base64_attachments") or []):
        wrong = "Couldn't decode attachment"
    elif any(not re.fullmatch(r"\+\d+|group\.[A-Za-z0-9+/=]+|[0-9a-f-]{36}", r) for r in p["recipients"]):
        wrong = "Invalid identifier"
    elif ("quote_timestamp" in p) != ("quote_author" in p):
        wrong = "Couldn't process request - a quote needs its author and its timestamp"
    if wrong:
        return web.json_response({"error": wrong}, status=400)
    at = now()
    await note(lambda: sent.append({**p, "files": [file(a) for a in p.get("base64_attachments") or []], "timestamp": at}))
    return web.json_response([{"timestamp": str(at)}], status=201)


async def typing(request):
    p = await request.json()
    await note(lambda: typed.append({"on": request.method == "PUT", "recipient": p["recipient"]}))
    return web.Response(status=204)


async def attachment(request):
    """https://bbernhard.github.io/signal-cli-rest-api/#/Attachments/get_v1_attachments__attachment_"""
    found = files.get(request.match_info["attachment"])
    if found is None:
        return web.json_response({"error": "No attachment with that name found"}, status=404)
    # The real one looks at the bytes, and so is not misled by what was said of them.
    kind = "image/png" if found.startswith(b"\x89PNG") else "application/octet-stream"
    return web.Response(body=found, content_type=kind)


async def reaction(request):
    """https://bbernhard.github.io/signal-cli-rest-api/#/Reactions/post_v1_reactions__number_"""
    p, wrong = await request.json(), None
    for field in ("recipient", "reaction", "target_author", "timestamp"):
        if not p.get(field):
            wrong = wrong or f"Couldn't process request - {field} missing"
    if request.match_info["number"] != NUMBER:
        wrong = "Specified account does not exist"
    elif not wrong and (not isinstance(p["timestamp"], int) or p["reaction"].isascii()):
        wrong = "Couldn't process request - invalid request"
    if wrong:
        return web.json_response({"error": wrong}, status=400)
    await note(lambda: reacted.append(p))
    return web.Response(status=204)


async def receipt(request):
    """https://bbernhard.github.io/signal-cli-rest-api/#/Receipts/post_v1_receipts__number_"""
    p, wrong = await request.json(), None
    if request.match_info["number"] != NUMBER:
        wrong = "Specified account does not exist"
    elif not p.get("recipient"):
        wrong = "Couldn't process request - recipient missing"
    elif p.get("receipt_type") not in ("read", "viewed"):
        wrong = "Couldn't process request - receipt type must be read or viewed"
    elif not isinstance(p.get("timestamp"), int) or not p["timestamp"]:
        wrong = "Couldn't process request - timestamp missing"
    if wrong:
        return web.json_response({"error": wrong}, status=400)
    await note(lambda: receipts.append(p))
    return web.Response(status=204)


async def deliver(envelope):
    whole = {"envelope": envelope, "account": NUMBER}
    if MODE != "json-rpc":
        return await note(lambda: waiting.append(whole))
    reached = 0
    for ws, _ in list(sockets):
        try:
            await ws.send_json(whole)
            reached += 1
        except (ConnectionError, RuntimeError):
            # As the real one: it is gone.
            pass
    await note(lambda: told.update({k: told[k] + 1 for k in [("delivered" if reached else "dropped")]}))


def envelope(p, **more):
    uuid = p.get("uuid", "6f3c4b1e-0000-4000-8000-" + p["user"].lstrip("+")[-12:].rjust(12, "0"))
    return {"source": p["user"], "sourceNumber": p["user"], "sourceUuid": uuid, "sourceName": f"Person {p['user']}", "sourceDevice": 1, "timestamp": p["at"],
            "serverReceivedTimestamp": p["at"], "serverDeliveredTimestamp": p["at"], **more}


async def control(request):
    what, p = request.match_info["what"], dict(request.query)
    if request.can_read_body:
        p.update(await request.json())
    answer = {}
    if what == "say":
        p["at"] = now()
        data = {"timestamp": p["at"], "message": p["text"], "expiresInSeconds": 0, "isExpirationUpdate": False, "viewOnce": False, **p.get("more", {})}
        for file in p.get("files", []):
            found = base64.b64decode(file.pop("data", ""))
            if found:
                files[file["id"]] = found
            data.setdefault("attachments", []).append({"size": len(found), "width": None, "height": None, "caption": None, "isVoiceNote": False, "uploadTimestamp": p["at"], **file})
        if p.get("edits"):
            said = envelope(p, editMessage={"targetSentTimestamp": p["edits"], "dataMessage": data})
        else:
            said = envelope(p, dataMessage=data)
        await deliver(said)
        answer = {"timestamp": p["at"], "uuid": said["sourceUuid"]}
    elif what == "cut":
        for _, transport in list(sockets):
            transport.abort()
    elif what == "fail":
        failures.append(p)
    elif what == "sent":
        async with changed:
            try:
                await asyncio.wait_for(changed.wait_for(lambda: len(sent) >= int(p.get("least", 0))), float(p.get("seconds", 0)) or None)
            except asyncio.TimeoutError:
                pass
            answer = list(sent)
    elif what in ("reacted", "receipts"):
        told_of = reacted if what == "reacted" else receipts
        async with changed:
            try:
                await asyncio.wait_for(changed.wait_for(lambda: len(told_of) >= int(p.get("least", 0))), float(p.get("seconds", 0)) or None)
            except asyncio.TimeoutError:
                pass
            answer = list(told_of)
    elif what == "typed":
        answer = typed
    elif what == "state":
        answer = {"sockets": len(sockets), "waiting": len(waiting), **told}
    await note()
    return web.json_response(answer)


async def main():
    app = web.Application(client_max_size=64 << 20)
    app.router.add_get("/v1/about", about)
    app.router.add_get("/v1/health", lambda _: asyncio.sleep(0, web.Response(status=204)))
    app.router.add_get("/v1/groups/{number}", lambda _: asyncio.sleep(0, web.json_response([])))
    app.router.add_get("/v1/receive/{number}", receive)
    app.router.add_post("/v2/send", send)
    app.router.add_put("/v1/typing-indicator/{number}", typing)
    app.router.add_delete("/v1/typing-indicator/{number}", typing)
    app.router.add_get("/v1/attachments/{attachment}", attachment)
    app.router.add_post("/v1/reactions/{number}", reaction)
    app.router.add_post("/v1/receipts/{number}", receipt)
    app.router.add_route("*", "/control/{what}", control)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
