"""A small Slack for one app and one workspace, on a free loopback port: the Web API, Events API push and Socket Mode, as
https://docs.slack.dev says of the methods that a chat needs. Each route names its page.

An event is delivered again until somebody acknowledged it (2xx or an envelope's ack within three seconds), as often as `retries` says; the
real one does so three times, after moments, one minute and five. Beside the API, for tests, under /control: say, edit, event (things that
happen; of `files`, `data` is what is in them, in base64), revoke (a scope of the app's), events_url (turns push on, after url_verification), disconnect, cut (sockets), fail (the next call of a method is answered so),
calls (what was called), sent (what was posted), state. Prints the base URL; stops with stdin.

Usage: slack_api.py '{"bot": "xoxb-…", "app": "xapp-…", "signing": "…", "retries": [0, 60, 300]}'
"""

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import secrets
import sys
import time

import aiohttp
from aiohttp import web

OPTIONS = json.loads(sys.argv[1])
BOT, APP, SIGNING = OPTIONS["bot"], OPTIONS.get("app"), OPTIONS.get("signing", "")
RETRIES = OPTIONS.get("retries", [0, 60, 300])
ACK_S = 3.0
TEAM, APP_ID, ME, BOT_ID = "T0CARAPACE", "A0CARAPACE", "U0CARAPACE", "B0CARAPACE"

numbers = itertools.count(1)
channels, users, files, uploads, tickets = {}, {}, {}, {}, set()
calls, sent, failures, sockets, queue, delivered = [], [], [], [], [], []
push = {"url": None}
# What the app may not: https://docs.slack.dev/reference/scopes/
revoked = set()
SCOPES = {"files.getUploadURLExternal": "files:write", "files.completeUploadExternal": "files:write", "reactions.add": "reactions:write",
          "files.info": "files:read", "users.info": "users:read", "chat.postMessage": "chat:write",
          "chat.postEphemeral": "chat:write", "chat.update": "chat:write", "chat.delete": "chat:write"}
base = {"url": ""}
changed = asyncio.Condition()


async def note(do):
    async with changed:
        do()
        changed.notify_all()


def stamp():
    return f"{int(time.time())}.{next(numbers):06d}"


def user(uid):
    return users.setdefault(uid, {"id": uid, "team_id": TEAM, "name": uid.lower(), "real_name": f"Person {uid}",
                                  "is_bot": uid == ME, "deleted": False, "profile": {"display_name": f"Person {uid}", "real_name": f"Person {uid}"}})


# ---- events -------------------------------------------------------------------------------------------------------------------

class Delivery:
    """One event on its way: https://docs.slack.dev/apis/events-api/#retries"""

    def __init__(self, event):
        self.id = f"Ev{next(numbers):08d}"
        self.body = {"token": "verification", "team_id": TEAM, "api_app_id": APP_ID, "event": event, "type": "event_callback",
                     "event_id": self.id, "event_time": int(time.time()), "is_ext_shared_channel": False,
                     "authorizations": [{"enterprise_id": None, "team_id": TEAM, "user_id": ME, "is_bot": True, "is_enterprise_install": False}]}
        self.acked = asyncio.Event()
        self.attempt, self.reason = 0, None


def emit(event):
    d = Delivery(event)
    queue.append(d)
    asyncio.get_running_loop().create_task(deliver(d))
    return d


async def deliver(d):
    for wait in [0, *RETRIES]:
        await asyncio.sleep(wait)
        # With nowhere to go, Slack would give up sooner or later; here an event waits for its first receiver.
        async with changed:
            await changed.wait_for(lambda: push["url"] or sockets)
        ok = await (pushed(d) if push["url"] else enveloped(d))
        if ok:
            await note(lambda: (queue.remove(d), delivered.append({"id": d.id, "attempts": d.attempt + 1})))
            return
        d.attempt += 1
    await note(lambda: queue.remove(d))


def signature(timestamp, body):
    """https://docs.slack.dev/authentication/verifying-requests-from-slack/"""
    return "v0=" + hmac.new(SIGNING.encode(), f"v0:{timestamp}:{body}".encode(), hashlib.sha256).hexdigest()


async def post_signed(url, body, more=None):
    text, now = json.dumps(body), str(int(time.time()))
    headers = {"content-type": "application/json", "x-slack-request-timestamp": now, "x-slack-signature": signature(now, text), **(more or {})}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ACK_S)) as session:
        async with session.post(url, data=text, headers=headers) as response:
            return response.status, await response.text()


async def pushed(d):
    """https://docs.slack.dev/apis/events-api/using-http-request-urls/"""
    more = {"x-slack-retry-num": str(d.attempt), "x-slack-retry-reason": d.reason} if d.attempt else {}
    try:
        status, _ = await post_signed(push["url"], d.body, more)
    except asyncio.TimeoutError:
        d.reason = "http_timeout"
        return False
    except aiohttp.ClientError:
        d.reason = "connection_failed"
        return False
    d.reason = "http_error"
    return 200 <= status < 300


async def enveloped(d):
    """https://docs.slack.dev/apis/events-api/using-socket-mode/: an envelope, acknowledged by its id. Any of the app's sockets may get it."""
    open_ones = [s for s in sockets if not s.asked_to_go] or list(sockets)
    socket = open_ones[next(numbers) % len(open_ones)]
    envelope = secrets.token_hex(16)
    acked = socket.waiting.setdefault(envelope, asyncio.Event())
    try:
        await socket.ws.send_json({"envelope_id": envelope, "payload": d.body, "type": "events_api", "accepts_response_payload": False,
                                   "retry_attempt": d.attempt, "retry_reason": d.reason or ""})
        gone = asyncio.create_task(socket.gone.wait())
        done = asyncio.create_task(acked.wait())
        await asyncio.wait([gone, done], timeout=ACK_S, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel(), done.cancel()
    except ConnectionError:
        pass
    socket.waiting.pop(envelope, None)
    d.reason = "timeout"
    return acked.is_set()


class Socket:
    def __init__(self, ws):
        self.ws, self.waiting, self.gone, self.asked_to_go, self.transport = ws, {}, asyncio.Event(), False, None


async def link(request):
    """The URL of apps.connections.open, once."""
    if request.query.get("ticket") not in tickets:
        return web.Response(status=403)
    tickets.discard(request.query["ticket"])
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    socket = Socket(ws)
    socket.transport = request.transport
    debug = {"host": "applink-1", "started": time.strftime("%F %T.000"), "build_number": 1, "approximate_connection_time": 18060}
    await ws.send_json({"type": "hello", "num_connections": len(sockets) + 1, "debug_info": debug, "connection_info": {"app_id": APP_ID}})
    await note(lambda: sockets.append(socket))
    try:
        async for message in ws:
            if message.type == aiohttp.WSMsgType.TEXT:
                envelope = json.loads(message.data).get("envelope_id")
                if envelope in socket.waiting:
                    socket.waiting[envelope].set()
    finally:
        socket.gone.set()
        await note(lambda: sockets.remove(socket))
    return ws


# ---- Web API ------------------------------------------------------------------------------------------------------------------

class Refused(Exception):
    def __init__(self, error, **more):
        self.body = {"ok": False, "error": error, **more}


def channel(p):
    cid = p.get("channel") or ""
    if cid not in channels and cid.startswith("U"):
        # A person's id stands for the conversation with them.
        cid = "D" + cid[1:]
        channels.setdefault(cid, {"type": "im", "messages": {}})
    if cid not in channels:
        raise Refused("channel_not_found")
    return cid


RICH = {"rich_text_section", "rich_text_preformatted", "rich_text_quote", "rich_text_list"}


def words(value, most, kinds=("plain_text", "mrkdwn")):
    """https://docs.slack.dev/reference/block-kit/composition-objects/text-object/"""
    return isinstance(value, dict) and value.get("type") in kinds and 1 <= len(value.get("text") or "") <= most


# https://docs.slack.dev/reference/block-kit/blocks/header-block/ and its neighbours.
SHAPES = {"header": lambda b: words(b.get("text"), 150, ("plain_text",)), "divider": lambda _: True,
          "section": lambda b: words(b.get("text"), 3000) or (1 <= len(b.get("fields") or []) <= 10 and all(words(f, 2000) for f in b["fields"])),
          "context": lambda b: 1 <= len(b.get("elements") or []) <= 10, "image": lambda b: bool(b.get("image_url") and b.get("alt_text"))}


def check_blocks(blocks):
    """https://docs.slack.dev/reference/block-kit/blocks/: at most 50; what makes each kind one is checked, of rich_text every element."""
    blocks = json.loads(blocks) if isinstance(blocks, str) else blocks or []
    if len(blocks) > 50:
        raise Refused("invalid_blocks", errors=["no more than 50 items allowed"])
    for block in blocks:
        if not SHAPES.get(block.get("type"), lambda _: True)(block):
            where = f"[ERROR] failed to match all allowed schemas [json-pointer:/blocks/{blocks.index(block)}]"
            raise Refused("invalid_blocks", errors=[where], response_metadata={"messages": [where]})
    for block in (b for b in blocks if b.get("type") == "rich_text"):
        for element in block["elements"]:
            if element.get("type") not in RICH or not element.get("elements"):
                raise Refused("invalid_blocks", errors=["unsupported rich text element"])
            for inner in element["elements"]:
                kinds = {"text": "text", "link": "url", "user": "user_id", "broadcast": "range", "emoji": "name"}
                if not inner.get(kinds.get(inner.get("type"), "?")):
                    raise Refused("invalid_blocks", errors=[f"not allowed in rich text: {inner}"])
                if element["type"] == "rich_text_preformatted" and inner["type"] not in ("text", "link"):
                    raise Refused("invalid_blocks", errors=["must be text or a link"])
    return blocks


def pings(text, blocks):
    """Whom a message would call: mentions in text that is not escaped, and elements of rich text that are mentions."""
    found = [part.split(">")[0] for part in text.split("<")[1:] if part[:1] in "@!"]
    for block in blocks:
        for element in block.get("elements", []):
            found += [i["type"] for i in element.get("elements", []) if i.get("type") in ("user", "broadcast", "usergroup")]
        for text in [block.get("text"), *(block.get("fields") or []), *(block.get("elements") or [])]:
            if isinstance(text, dict) and text.get("type") == "mrkdwn":
                found += [part.split(">")[0] for part in text["text"].split("<")[1:] if part[:1] in "@!"]
    return found


def content(p):
    text, blocks = p.get("text") or "", check_blocks(p.get("blocks"))
    if not text and not blocks:
        raise Refused("no_text")
    if len(text) > 40_000:
        raise Refused("msg_too_long")
    return text, blocks


def post_message(p):
    """https://docs.slack.dev/reference/methods/chat.postMessage/"""
    cid = channel(p)
    text, blocks = content(p)
    ts = stamp()
    message = {"type": "message", "user": ME, "bot_id": BOT_ID, "app_id": APP_ID, "team": TEAM, "text": text, "ts": ts}
    if blocks:
        message["blocks"] = blocks
    if p.get("thread_ts"):
        if p["thread_ts"] not in channels[cid]["messages"]:
            raise Refused("thread_not_found")
        message["thread_ts"] = p["thread_ts"]
    channels[cid]["messages"][ts] = message
    sent.append({**p, "channel": cid, "text": text, "blocks": blocks, "ts": ts, "pings": pings(text, blocks)})
    # An app that listens to a conversation hears itself there.
    emit({**message, "channel": cid, "channel_type": channels[cid]["type"], "event_ts": ts})
    return {"channel": cid, "ts": ts, "message": message}


def mine(p):
    cid = channel(p)
    message = channels[cid]["messages"].get(p.get("ts"))
    if message is None:
        raise Refused("message_not_found")
    return cid, message


def update(p):
    """https://docs.slack.dev/reference/methods/chat.update/"""
    cid, message = mine(p)
    if message.get("bot_id") != BOT_ID:
        raise Refused("cant_update_message")
    text, blocks = content(p)
    before = dict(message)
    message.update(text=text, blocks=blocks, edited={"user": BOT_ID, "ts": stamp()})
    change(cid, message, before)
    return {"channel": cid, "ts": message["ts"], "text": text, "message": message}


def change(cid, message, before):
    ts = stamp()
    emit({"type": "message", "subtype": "message_changed", "channel": cid, "channel_type": channels[cid]["type"], "hidden": True, "ts": ts,
          "event_ts": ts, "message": dict(message), "previous_message": before})


def delete(p):
    """https://docs.slack.dev/reference/methods/chat.delete/"""
    cid, message = mine(p)
    if message.get("bot_id") != BOT_ID:
        raise Refused("cant_delete_message")
    del channels[cid]["messages"][message["ts"]]
    ts = stamp()
    emit({"type": "message", "subtype": "message_deleted", "channel": cid, "channel_type": channels[cid]["type"], "hidden": True, "ts": ts,
          "event_ts": ts, "deleted_ts": message["ts"], "previous_message": message})
    return {"channel": cid, "ts": message["ts"]}


def post_ephemeral(p):
    """https://docs.slack.dev/reference/methods/chat.postEphemeral/"""
    cid = channel(p)
    content(p)
    if p.get("user") not in users:
        raise Refused("user_not_in_channel")
    return {"message_ts": stamp(), "channel": cid}


def react(p):
    """https://docs.slack.dev/reference/methods/reactions.add/"""
    cid = channel(p)
    message = channels[cid]["messages"].get(p.get("timestamp"))
    if message is None:
        raise Refused("message_not_found")
    name = p.get("name") or ""
    if not name or ":" in name:
        raise Refused("invalid_name")
    reactions = message.setdefault("reactions", [])
    if any(r["name"] == name and ME in r["users"] for r in reactions):
        raise Refused("already_reacted")
    reactions.append({"name": name, "users": [ME], "count": 1})
    return {}


def who_am_i(_):
    """https://docs.slack.dev/reference/methods/auth.test/"""
    return {"url": "https://carapace.slack.com/", "team": "Carapace", "user": "carapace", "team_id": TEAM, "user_id": ME, "bot_id": BOT_ID,
            "is_enterprise_install": False}


def user_info(p):
    """https://docs.slack.dev/reference/methods/users.info/"""
    if p.get("user") not in users:
        raise Refused("user_not_found")
    return {"user": users[p["user"]]}


def file_info(p):
    """https://docs.slack.dev/reference/methods/files.info/"""
    if p.get("file") not in files:
        raise Refused("file_not_found")
    return {"file": {**files[p["file"]]["said"], "url_private_download": address(p["file"])}, "comments": []}


def address(fid):
    return f"{base['url']}/files-pri/{TEAM}-{fid}/download/{files[fid]['name']}"


def upload_url(p):
    """https://docs.slack.dev/reference/methods/files.getUploadURLExternal/"""
    if not p.get("filename") or not int(p.get("length") or 0):
        raise Refused("invalid_arguments")
    fid = f"F{next(numbers):08d}"
    uploads[fid] = {"name": p["filename"], "length": int(p["length"]), "data": None}
    return {"upload_url": f"{base['url']}/api/upload/v1/{fid}", "file_id": fid}


async def upload(request):
    """The URL of files.getUploadURLExternal: bytes as they are, or as a form's `file` or `filename`."""
    asked = uploads.get(request.match_info["fid"])
    if asked is None:
        return web.Response(status=404)
    if request.content_type.startswith("multipart/"):
        data = b"".join([await part.read() async for part in await request.multipart()])
    else:
        data = await request.read()
    if len(data) != asked["length"]:
        return web.Response(status=400, text="length")
    asked["data"] = data
    return web.Response(text=f"OK - {len(data)}")


def complete_upload(p):
    """https://docs.slack.dev/reference/methods/files.completeUploadExternal/"""
    listed = json.loads(p["files"]) if isinstance(p.get("files"), str) else p.get("files") or []
    done = []
    for one in listed:
        asked = uploads.get(one.get("id"))
        if asked is None or asked["data"] is None:
            raise Refused("file_not_found")
        files[one["id"]] = {**asked, "said": {"id": one["id"], "name": asked["name"]}}
        done.append({"id": one["id"], "title": one.get("title", asked["name"])})
    cid = p.get("channel_id") or p.get("channels")
    if cid:
        shown = [{**one, "name": uploads[one["id"]]["name"], "data": base64.b64encode(uploads[one["id"]]["data"]).decode()} for one in done]
        sent.append({"channel": channel({"channel": cid}), "thread_ts": p.get("thread_ts"), "text": p.get("initial_comment") or "", "files": shown})
    return {"files": done}


def connections_open(_):
    """https://docs.slack.dev/reference/methods/apps.connections.open/"""
    ticket = secrets.token_urlsafe(24)
    tickets.add(ticket)
    return {"url": f"{base['url'].replace('http', 'ws', 1)}/link/?ticket={ticket}&app_id={APP_ID}"}


METHODS = {"files.info": file_info, "chat.postMessage": post_message, "chat.update": update, "chat.delete": delete, "chat.postEphemeral": post_ephemeral,
           "reactions.add": react, "auth.test": who_am_i, "users.info": user_info, "files.getUploadURLExternal": upload_url,
           "files.completeUploadExternal": complete_upload, "apps.connections.open": connections_open}


async def api(request):
    """https://docs.slack.dev/apis/web-api/: a form, a query or JSON; always 200 but for 429."""
    name = request.match_info["method"]
    p = dict(request.query)
    if request.content_type == "application/json":
        p.update(await request.json())
    elif request.method == "POST":
        p.update({k: v for k, v in (await request.post()).items() if isinstance(v, str)})
    token = request.headers.get("authorization", "").removeprefix("Bearer ") or p.pop("token", "")
    await note(lambda: calls.append({"method": name, "arguments": p}))
    failing = next((f for f in failures if f["method"] == name), None)
    if failing:
        failures.remove(failing)
        return web.json_response(failing.get("body", {}), status=failing.get("status", 200), headers=failing.get("headers", {}))
    wanted = APP if name == "apps.connections.open" else BOT
    if not token:
        answer = {"ok": False, "error": "not_authed"}
    elif token not in (BOT, APP):
        answer = {"ok": False, "error": "invalid_auth"}
    elif token != wanted:
        answer = {"ok": False, "error": "not_allowed_token_type"}
    elif SCOPES.get(name) in revoked:
        answer = {"ok": False, "error": "missing_scope", "needed": SCOPES[name], "provided": "chat:write"}
    elif name not in METHODS:
        answer = {"ok": False, "error": "unknown_method", "req_method": name}
    else:
        try:
            answer = {"ok": True, **METHODS[name](p)}
        except Refused as refused:
            answer = refused.body
        await note(lambda: None)
    return web.json_response(answer)


async def private_file(request):
    """`url_private_download` of a file: https://docs.slack.dev/reference/objects/file-object/. Without the token or leave to read files, a page to log in."""
    if request.headers.get("authorization") != f"Bearer {BOT}" or "files:read" in revoked:
        return web.Response(text="<!DOCTYPE html><title>Sign in</title>", content_type="text/html")
    failing = next((f for f in failures if f["method"] == "file"), None)
    if failing:
        failures.remove(failing)
        return web.Response(status=failing["status"])
    found = files.get(request.match_info["fid"])
    return web.Response(body=found["data"], content_type=found["said"].get("mimetype", "application/octet-stream")) if found else web.Response(status=404)


# ---- for tests ----------------------------------------------------------------------------------------------------------------

def say(p):
    """Somebody writes. A mention in a channel comes as two events: https://docs.slack.dev/reference/events/app_mention/"""
    ts, cid = stamp(), p["channel"]
    kind = p.get("channel_type", "im" if cid.startswith("D") else "channel")
    here = channels.setdefault(cid, {"type": kind, "messages": {}})
    user(p["user"])
    message = {"type": "message", "user": p["user"], "text": p["text"], "ts": ts, "team": TEAM, "client_msg_id": secrets.token_hex(16), **p.get("more", {})}
    if p.get("thread_ts"):
        message.update(thread_ts=p["thread_ts"], parent_user_id=here["messages"][p["thread_ts"]]["user"])
    for file in message.get("files", []):
        data, hidden = base64.b64decode(file.pop("data", "")), file.pop("hidden", False)
        files[file["id"]] = {"name": file.get("name"), "data": data, "said": dict(file)}
        if hidden:
            # Of a file that another workspace shares: https://docs.slack.dev/apis/slack-connect/
            for key in [k for k in file if k != "id"]:
                del file[key]
            file["file_access"] = "check_file_info"
        else:
            file["url_private_download"] = address(file["id"])
    here["messages"][ts] = message
    at = {"channel": cid, "event_ts": ts}
    told = [{**message, **at, "channel_type": kind}]
    if f"<@{ME}>" in p["text"] and kind != "im":
        # Its files are not always told: https://github.com/slackapi/bolt-python/issues/925 and what apps have met since.
        left_out = ("subtype", "parent_user_id", *([] if p.get("mention_files", True) else ["files"]))
        told.append({**{k: v for k, v in message.items() if k not in left_out}, **at, "type": "app_mention"})
    if p.get("mention") == "first":
        asyncio.get_running_loop().create_task(in_turn(reversed(told)))
    else:
        # An app need not subscribe to messages.
        for event in told[p.get("mention") == "only":]:
            emit(event)
    return {"ts": ts}


async def in_turn(events):
    for event in events:
        d = emit(event)
        async with changed:
            await changed.wait_for(lambda: d not in queue)


def edit(p):
    message = channels[p["channel"]]["messages"][p["ts"]]
    before = dict(message)
    message.update(text=p["text"], edited={"user": message["user"], "ts": stamp()})
    change(p["channel"], message, before)
    return {}


async def control(request):
    what, p = request.match_info["what"], dict(request.query)
    if request.can_read_body:
        p.update(await request.json())
    answer = {}
    if what in ("say", "edit"):
        answer = (say if what == "say" else edit)(p)
    elif what == "event":
        emit(p)
    elif what == "events_url":
        # https://docs.slack.dev/reference/events/url_verification/
        challenge = secrets.token_urlsafe(24)
        status, text = await post_signed(p["url"], {"token": "verification", "challenge": challenge, "type": "url_verification"})
        answer = {"status": status, "verified": status == 200 and challenge in text}
        if answer["verified"]:
            await note(lambda: push.update(url=p["url"]))
    elif what == "forge":
        # A stranger who does not know the secret.
        headers = {"content-type": "application/json", "x-slack-request-timestamp": p.get("timestamp", str(int(time.time()))), "x-slack-signature": "v0=" + "0" * 64}
        if p.get("replay"):
            headers["x-slack-signature"] = signature(headers["x-slack-request-timestamp"], p["body"])
        async with aiohttp.ClientSession() as session, session.post(p["url"], data=p["body"], headers=headers) as response:
            answer = {"status": response.status}
    elif what == "disconnect":
        # https://docs.slack.dev/apis/events-api/using-socket-mode/#disconnect: a warning some ten seconds before, or a request to refresh.
        for socket in list(sockets):
            socket.asked_to_go = True
            await socket.ws.send_json({"type": "disconnect", "reason": p["reason"], "debug_info": {"host": "applink-1"}})
            asyncio.get_running_loop().call_later(float(p.get("after", 10)), lambda s=socket: asyncio.ensure_future(s.ws.close()))
    elif what == "cut":
        # From the oldest on; all by default.
        for socket in list(sockets)[: int(p.get("most", 1000))]:
            socket.transport.abort() if p.get("hard", True) else await socket.ws.close()
    elif what == "revoke":
        revoked.add(p["scope"])
    elif what == "fail":
        failures.append(p)
    elif what == "sent":
        async with changed:
            try:
                await asyncio.wait_for(changed.wait_for(lambda: len(sent) >= int(p.get("least", 0))), float(p.get("seconds", 0)) or None)
            except asyncio.TimeoutError:
                pass
            answer = list(sent)
    elif what == "calls":
        answer = [c for c in calls if p.get("method") in (None, c["method"])]
    elif what == "state":
        answer = {"waiting": len(queue), "sockets": len(sockets), "going": sum(s.asked_to_go for s in sockets), "delivered": delivered,
                  "me": ME, "channels": {cid: list(c["messages"].values()) for cid, c in channels.items()}}
    else:
        return web.json_response({}, status=404)
    await note(lambda: None)
    return web.json_response(answer)


async def main():
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/api/{method}", api)
    app.router.add_get("/link/", link)
    app.router.add_post("/api/upload/v1/{fid}", upload)
    app.router.add_get("/files-pri/" + TEAM + "-{fid}/{rest:.*}", private_file)
    app.router.add_route("*", "/control/{what}", control)
    user(ME)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base["url"] = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    print(base["url"], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
