"""A small Discord for one bot, on a free loopback port: REST v10, the gateway v10, and what posts interactions, as
https://docs.discord.com/developers (before: discord.com/developers/docs) says of what a chat needs. Each route names its page.

An event waits in its session until somebody is connected, and is replayed by a RESUME. Beside the API, for tests, under /control: say, edit
(things that happen; `files`: what comes with a message, its bytes in base64), expired (the next addresses of files have run out when they are handed
out), reconnect, invalidate, close, cut, deaf (the gateway), interact (a signed interaction), fail (the next request is
answered so), limit (requests of a bucket), sent, calls, state. Prints the base URL; stops with stdin.

Usage: discord_api.py '{"token": "…", "heartbeat_ms": 41250, "content_intent": true}'
"""

import asyncio
import base64
import datetime
import itertools
import json
import re
import secrets
import sys
import time
import zlib

import aiohttp
from aiohttp import web
from nacl.signing import SigningKey

from discord_files import Cdn, Invalid, check_embeds

OPTIONS = json.loads(sys.argv[1])
TOKEN = OPTIONS["token"]
HEARTBEAT_MS = OPTIONS.get("heartbeat_ms", 41250)
# Whether the owner turned the privileged intent on in the portal.
CONTENT_ALLOWED = OPTIONS.get("content_intent", True)
GUILD_MESSAGES, DIRECT_MESSAGES, MESSAGE_CONTENT, ALL_INTENTS = 1 << 9, 1 << 12, 1 << 15, (1 << 26) - 1
ME = {"id": "9000000000000000001", "username": "carapace", "discriminator": "0", "global_name": None, "avatar": None, "bot": True, "flags": 0,
      "mfa_enabled": False, "verified": True, "email": None}
GUILD = "8000000000000000001"
signing = SigningKey.generate()

numbers = itertools.count(1)
users, channels, sessions, commands = {ME["id"]: ME}, {}, {}, {}
calls, sent, failures, sockets, identifies, resumes, heartbeats, ignored = [], [], [], [], [], [], [], []
bucket = {"limit": 5, "per": 5.0, "used": {}}
deaf = {"on": False}
cdn = Cdn()
base = {"url": ""}
changed = asyncio.Condition()


async def note(do=lambda: None):
    async with changed:
        do()
        changed.notify_all()


def reply(body, status=200, headers=None):
    # Discord names no character set, and a client may compare.
    return web.Response(body=json.dumps(body).encode(), status=status, headers={"content-type": "application/json", **(headers or {})})


def snowflake():
    """https://docs.discord.com/developers/reference#snowflakes"""
    return str((int(time.time() * 1000) - 1420070400000) << 22 | next(numbers))


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


def user(uid):
    return users.setdefault(uid, {"id": uid, "username": f"person{uid}", "discriminator": "0", "global_name": f"Person {uid}", "avatar": None, "bot": False})


def channel(cid, kind=0, **more):
    """https://docs.discord.com/developers/resources/channel#channel-object: 0 text, 1 direct, 11 public thread."""
    if cid not in channels:
        made = {"id": cid, "type": kind, "messages": {}, "last_message_id": None, **more}
        if kind != 1:
            made.update(guild_id=GUILD, name=more.get("name", f"room-{cid}"), position=0, permission_overwrites=[], nsfw=False, parent_id=more.get("parent_id"))
        channels[cid] = made
    return channels[cid]


def shown(c):
    return {k: v for k, v in c.items() if k != "messages"}


# ---- gateway ------------------------------------------------------------------------------------------------------------------

class Session:
    def __init__(self, intents):
        self.id, self.intents, self.seq, self.events, self.socket = secrets.token_hex(16), intents, 0, [], None

    async def event(self, name, data):
        self.seq += 1
        frame = {"op": 0, "s": self.seq, "t": name, "d": data}
        self.events.append(frame)
        if self.socket and not deaf["on"]:
            await self.socket.send(frame)


class Socket:
    def __init__(self, ws, transport, compress):
        self.ws, self.transport, self.session, self.beat = ws, transport, None, time.monotonic()
        # https://docs.discord.com/developers/events/gateway#transport-compression
        self.zlib = zlib.compressobj() if compress == "zlib-stream" else None

    async def send(self, frame):
        try:
            if self.zlib:
                data = self.zlib.compress(json.dumps(frame).encode()) + self.zlib.flush(zlib.Z_SYNC_FLUSH)
                await self.ws.send_bytes(data)
            else:
                await self.ws.send_json(frame)
        except (ConnectionError, RuntimeError):
            pass


async def gateway(request):
    """https://docs.discord.com/developers/events/gateway"""
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    if request.query.get("v") != "10" or request.query.get("encoding", "json") != "json":
        await ws.close(code=4012)
        return ws
    socket = Socket(ws, request.transport, request.query.get("compress"))
    await note(lambda: sockets.append(socket))
    watch = asyncio.create_task(watched(socket))
    await socket.send({"op": 10, "s": None, "t": None, "d": {"heartbeat_interval": HEARTBEAT_MS, "_trace": []}})
    try:
        async for message in ws:
            if message.type != aiohttp.WSMsgType.TEXT:
                continue
            try:
                frame = json.loads(message.data)
                code = await received(socket, frame)
            except (ValueError, TypeError, KeyError):
                code = 4002
            if code:
                await ws.close(code=code)
                break
    finally:
        watch.cancel()
        if socket.session and socket.session.socket is socket:
            socket.session.socket = None
        await note(lambda: sockets.remove(socket))
    return ws


async def watched(socket):
    """Whoever sends no heartbeat is closed with 4009."""
    while True:
        await asyncio.sleep(HEARTBEAT_MS / 1000)
        if time.monotonic() - socket.beat > 3 * HEARTBEAT_MS / 1000 and not deaf["on"]:
            await socket.ws.close(code=4009)
            return


async def received(socket, frame):
    """https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway. Gives a close code."""
    op, d = frame["op"], frame.get("d")
    if op == 1:
        socket.beat = time.monotonic()
        await note(lambda: heartbeats.append(d))
        if not deaf["on"]:
            await socket.send({"op": 11, "s": None, "t": None, "d": None})
    elif op == 2:
        if socket.session:
            return 4005
        if not all(d["properties"].get(k) for k in ("os", "browser", "device")) or not isinstance(d["token"], str):
            return 4002
        if d["token"] != TOKEN:
            return 4004
        if d["intents"] < 0 or d["intents"] > ALL_INTENTS:
            return 4013
        if d["intents"] & MESSAGE_CONTENT and not CONTENT_ALLOWED:
            return 4014
        session = Session(d["intents"])
        session.socket, socket.session = socket, session
        await note(lambda: (sessions.update({session.id: session}), identifies.append(session.id)))
        await session.event("READY", {"v": 10, "user": ME, "session_id": session.id, "resume_gateway_url": f"{ws_base()}/resume", "session_type": "normal",
                                      "guilds": [{"id": GUILD, "unavailable": True}], "private_channels": [], "relationships": [], "presences": [],
                                      "user_settings": {}, "geo_ordered_rtc_regions": [], "guild_join_requests": [], "auth": {},
                                      "application": {"id": ME["id"], "flags": 1 << 19}})
        if d["intents"] & 1:
            await session.event("GUILD_CREATE", guild())
    elif op == 6:
        session = sessions.get(d["session_id"])
        if d["token"] != TOKEN:
            return 4004
        if session is None:
            await socket.send({"op": 9, "s": None, "t": None, "d": False})
            return None
        if d["seq"] > session.seq:
            return 4007
        await note(lambda: resumes.append({"session": session.id, "seq": d["seq"]}))
        # What happens meanwhile comes after what was missed. The n-th event stands at n - 1.
        told = d["seq"]
        while told < session.seq:
            told += 1
            await socket.send(session.events[told - 1])
        session.socket, socket.session = socket, session
        await session.event("RESUMED", {"_trace": []})
    elif socket.session is None:
        return 4003
    elif op not in (3, 4, 8):
        return 4001
    return None


def guild():
    """https://docs.discord.com/developers/resources/guild"""
    rooms = [shown(c) for c in channels.values() if c["type"] == 0]
    return {"id": GUILD, "name": "Carapace", "icon": None, "splash": None, "owner_id": "1", "afk_timeout": 300, "verification_level": 0, "region": "deprecated",
            "default_message_notifications": 0, "explicit_content_filter": 0, "roles": [{"id": GUILD, "name": "@everyone", "color": 0, "hoist": False,
            "position": 0, "permissions": "0", "managed": False, "mentionable": False, "colors": {"primary_color": 0}}], "emojis": [], "features": [], "mfa_level": 0, "system_channel_id": None,
            "system_channel_flags": 0, "premium_tier": 0, "preferred_locale": "en-US", "nsfw_level": 0, "stickers": [], "joined_at": now(), "large": False,
            "unavailable": False, "member_count": 2, "voice_states": [], "members": [{"user": ME, "roles": [], "joined_at": now(), "deaf": False, "mute": False, "flags": 0}],
            "channels": rooms, "threads": [], "presences": [], "stage_instances": [], "guild_scheduled_events": [], "soundboard_sounds": []}


def seen_by(session, message, event):
    """The message as a session with these intents gets it: https://docs.discord.com/developers/events/gateway#message-content-intent"""
    direct = "guild_id" not in message
    if not session.intents & (DIRECT_MESSAGES if direct else GUILD_MESSAGES):
        return None
    mentioned = any(u["id"] == ME["id"] for u in message["mentions"])
    if session.intents & MESSAGE_CONTENT or direct or mentioned or message["author"]["id"] == ME["id"]:
        return message
    return {**message, "content": "", "attachments": [], "embeds": []}


async def dispatch(event, message):
    for session in list(sessions.values()):
        seen = seen_by(session, cdn.handed_out(message), event)
        if seen is not None:
            await session.event(event, seen)


def ws_base():
    return base["url"].replace("http", "ws", 1)


# ---- REST ---------------------------------------------------------------------------------------------------------------------

class Refused(Exception):
    """https://docs.discord.com/developers/topics/opcodes-and-status-codes#json"""

    def __init__(self, status, code, message, errors=None):
        self.status, self.body = status, {"code": code, "message": message, **({"errors": errors} if errors else {})}


def invalid(field, why):
    return Refused(400, 50035, "Invalid Form Body", {field: {"_errors": [{"code": "BASE_TYPE_BAD", "message": why}]}})


def room(request):
    found = channels.get(request.match_info["cid"])
    if found is None:
        raise Refused(404, 10003, "Unknown Channel")
    return found


def there(request):
    found = room(request)["messages"].get(request.match_info["mid"])
    if found is None:
        raise Refused(404, 10008, "Unknown Message")
    return found


def message(cid, author, content, **more):
    """https://docs.discord.com/developers/resources/message#message-object"""
    here = channels[cid]
    ids = dict.fromkeys(re.findall(r"<@!?(\d+)>", content))
    made = {"id": snowflake(), "channel_id": cid, "author": author, "content": content, "timestamp": now(), "edited_timestamp": None, "tts": False,
            "mention_everyone": False, "mentions": [users[i] for i in ids if i in users], "mention_roles": [], "attachments": [], "embeds": [], "pinned": False,
            "type": 0, "flags": 0, "components": [], **more}
    if here["type"] != 1:
        made["guild_id"] = GUILD
    return made


def called(content, allowed, replied):
    """Whom a message calls: https://docs.discord.com/developers/resources/message#allowed-mentions-object"""
    parse = ["users", "roles", "everyone"] if allowed is None else allowed.get("parse", [])
    named = [] if allowed is None else allowed.get("users", [])
    found = [i for i in re.findall(r"<@!?(\d+)>", content) if "users" in parse or i in named]
    found += ["everyone"] if "everyone" in parse and re.search(r"@everyone|@here", content) else []
    found += ["reply"] if replied and (allowed or {}).get("replied_user", allowed is None) else []
    return found


async def create_message(request, p):
    """https://docs.discord.com/developers/resources/message#create-message"""
    here, text, nonce = room(request), p.get("content") or "", p.get("nonce")
    if len(text) > 2000:
        raise invalid("content", "Must be 2000 or fewer in length.")
    check_embeds(p.get("embeds") or [])
    if not text.strip() and not p.get("embeds") and not p.get("files"):
        raise Refused(400, 50006, "Cannot send an empty message")
    if nonce is not None and len(str(nonce)) > 25:
        raise invalid("nonce", "Must be 25 or fewer in length.")
    if p.get("enforce_nonce") and nonce is not None:
        same = next((m for m in here["messages"].values() if m.get("nonce") == nonce and m["author"]["id"] == ME["id"]), None)
        if same:
            await note(lambda: ignored.append(nonce))
            return cdn.handed_out(same)
    reference, replied = p.get("message_reference"), None
    if reference:
        replied = here["messages"].get(str(reference["message_id"]))
        if replied is None and reference.get("fail_if_not_exists", True):
            raise invalid("message_reference", "Unknown message")
    made = message(here["id"], ME, text, embeds=[{"type": "rich", **e} for e in p.get("embeds") or []], **({"nonce": nonce} if nonce is not None else {}))
    made["attachments"] = [cdn.put(here["id"], snowflake(), file["name"], file["data"]) for file in p.get("files", [])]
    if replied:
        made.update(type=19, message_reference={"message_id": replied["id"], "channel_id": here["id"], "guild_id": GUILD, "type": 0}, referenced_message=replied)
    here["messages"][made["id"]] = made
    sent.append({"channel_id": here["id"], "id": made["id"], "content": text, "nonce": nonce, "reply": bool(replied), "flags": p.get("flags", 0),
                 "called": called(text, p.get("allowed_mentions"), replied), "files": [f["name"] for f in p.get("files", [])],
                 "data": [base64.b64encode(f["data"]).decode() for f in p.get("files", [])],
                 "embeds": p.get("embeds") or []})
    await dispatch("MESSAGE_CREATE", made)
    return cdn.handed_out(made)


async def edit_message(request, p):
    """https://docs.discord.com/developers/resources/message#edit-message"""
    found = there(request)
    if found["author"]["id"] != ME["id"]:
        raise Refused(403, 50005, "Cannot edit a message authored by another user")
    if len(p.get("content") or "") > 2000:
        raise invalid("content", "Must be 2000 or fewer in length.")
    check_embeds(p.get("embeds") or [])
    found.update(content=p.get("content", found["content"]), edited_timestamp=now())
    await dispatch("MESSAGE_UPDATE", found)
    return cdn.handed_out(found)


async def delete_message(request, _):
    """https://docs.discord.com/developers/resources/message#delete-message"""
    found = there(request)
    if found["author"]["id"] != ME["id"]:
        # Nobody gave the bot leave to manage messages.
        raise Refused(403, 50003, "Cannot execute action on a DM channel") if room(request)["type"] == 1 else Refused(403, 50013, "Missing Permissions")
    del room(request)["messages"][found["id"]]
    for session in sessions.values():
        await session.event("MESSAGE_DELETE", {"id": found["id"], "channel_id": found["channel_id"], **({"guild_id": GUILD} if "guild_id" in found else {})})


async def react(request, _):
    """https://docs.discord.com/developers/resources/message#create-reaction"""
    found, emoji = there(request), request.match_info["emoji"]
    if emoji.isascii() and not re.fullmatch(r"\w+:\d+", emoji):
        raise Refused(400, 10014, "Unknown Emoji")
    found.setdefault("reactions", []).append({"count": 1, "me": True, "emoji": {"id": None, "name": emoji}})


async def typing(request, _):
    """https://docs.discord.com/developers/resources/channel#trigger-typing-indicator"""
    room(request)


async def start_thread(request, p):
    """https://docs.discord.com/developers/resources/channel#start-thread-from-message: its id is the message's."""
    found, kind = there(request), room(request)["type"]
    if kind != 0:
        raise Refused(400, 50003, "Cannot execute action on a DM channel") if kind == 1 else Refused(400, 50024, "Cannot execute action on this channel type")
    if p.get("auto_archive_duration", 1440) not in (60, 1440, 4320, 10080):
        raise invalid("auto_archive_duration", "Value must be one of (60, 1440, 4320, 10080).")
    if not p.get("name") or len(p["name"]) > 100:
        raise invalid("name", "Must be between 1 and 100 in length.")
    if found["id"] in channels:
        raise Refused(400, 160004, "A thread has already been created for this message")
    made = channel(found["id"], 11, parent_id=found["channel_id"], name=p["name"], owner_id=ME["id"], message_count=0, member_count=1, rate_limit_per_user=0,
                   thread_metadata={"archived": False, "auto_archive_duration": p.get("auto_archive_duration", 1440), "archive_timestamp": now(), "locked": False})
    for session in sessions.values():
        await session.event("THREAD_CREATE", {**shown(made), "newly_created": True})
    return shown(made)


async def get_channel(request, _):
    """https://docs.discord.com/developers/resources/channel#get-channel"""
    return shown(room(request))


async def get_message(request, _):
    """https://docs.discord.com/developers/resources/message#get-channel-message"""
    return cdn.handed_out(there(request))


async def get_me(_, __):
    """https://docs.discord.com/developers/resources/user#get-current-user"""
    return ME


async def get_application(_, __):
    """https://docs.discord.com/developers/resources/application#get-current-application"""
    return {"id": ME["id"], "name": "carapace", "icon": None, "description": "", "bot_public": True, "bot_require_code_grant": False, "summary": "", "verify_key": signing.verify_key.encode().hex(),
            "team": None, "owner": user("1"), "flags": 1 << 19}


async def open_direct(_, p):
    """https://docs.discord.com/developers/resources/user#create-dm"""
    other = p["recipient_id"]
    return shown(channel("7" + other.rjust(18, "0"), 1, recipients=[user(other)]))


async def get_gateway(_, __):
    """https://docs.discord.com/developers/events/gateway#get-gateway-bot"""
    return {"url": f"{ws_base()}/gateway", "shards": 1, "session_start_limit": {"total": 1000, "remaining": 1000 - len(identifies), "reset_after": 86_400_000, "max_concurrency": 1}}


async def put_up_command(_, p):
    """https://docs.discord.com/developers/interactions/application-commands#create-global-application-command"""
    if not re.fullmatch(r"[-_\w]{1,32}", p.get("name", "")) or not 1 <= len(p.get("description", "")) <= 100:
        raise invalid("name", "This field is required")
    commands[p["name"]] = {**p, "id": snowflake(), "application_id": ME["id"]}
    return commands[p["name"]]


async def respond(request, p):
    """https://docs.discord.com/developers/interactions/receiving-and-responding#create-interaction-response"""
    sent.append({"interaction": request.match_info["iid"], "type": p["type"], "content": (p.get("data") or {}).get("content")})


ROUTES = [("GET", "/gateway/bot", get_gateway), ("GET", "/gateway", get_gateway), ("GET", "/users/@me", get_me), ("POST", "/users/@me/channels", open_direct),
          ("GET", "/oauth2/applications/@me", get_application), ("GET", "/applications/@me", get_application), ("GET", "/channels/{cid}", get_channel),
          ("POST", "/channels/{cid}/messages", create_message), ("GET", "/channels/{cid}/messages/{mid}", get_message),
          ("PATCH", "/channels/{cid}/messages/{mid}", edit_message), ("DELETE", "/channels/{cid}/messages/{mid}", delete_message),
          ("PUT", "/channels/{cid}/messages/{mid}/reactions/{emoji}/@me", react), ("POST", "/channels/{cid}/messages/{mid}/threads", start_thread),
          ("POST", "/channels/{cid}/typing", typing), ("POST", "/applications/{aid}/commands", put_up_command),
          ("POST", "/interactions/{iid}/{token}/callback", respond)]


async def parameters(request):
    if request.content_type.startswith("multipart/"):
        p, attached = {}, []
        async for part in await request.multipart():
            if part.name == "payload_json":
                p = json.loads(await part.text())
            else:
                attached.append({"name": part.filename, "data": bytes(await part.read())})
        return {**p, "files": attached}
    return await request.json() if request.can_read_body else {}


def rate_limit(key):
    """https://docs.discord.com/developers/topics/rate-limits: headers, and whether it is over."""
    begun, used = bucket["used"].get(key, (time.time(), 0))
    if time.time() >= begun + bucket["per"]:
        begun, used = time.time(), 0
    bucket["used"][key] = (begun, used + 1)
    reset = begun + bucket["per"]
    headers = {"x-ratelimit-limit": str(bucket["limit"]), "x-ratelimit-remaining": str(max(0, bucket["limit"] - used - 1)), "x-ratelimit-reset": f"{reset:.3f}",
               "x-ratelimit-reset-after": f"{max(0.0, reset - time.time()):.3f}", "x-ratelimit-bucket": f"bucket-{abs(hash(key[0])) % 10**8}"}
    return headers, used >= bucket["limit"], max(0.001, reset - time.time())


def route(handler, method, pattern):
    async def answer(request):
        p = await parameters(request)
        await note(lambda: calls.append({"method": method, "path": request.path.removeprefix("/api/v10"), "body": {k: v for k, v in p.items() if k != "files"}}))
        failing = next((f for f in failures if f["method"] == method and re.search(f.get("path", ""), request.path)), None)
        if failing:
            failures.remove(failing)
            return reply(failing.get("body", {}), status=failing["status"], headers=failing.get("headers", {}))
        if "interactions" not in pattern and request.headers.get("authorization") != f"Bot {TOKEN}":
            return reply({"message": "401: Unauthorized", "code": 0}, status=401)
        headers = {}
        if "{cid}" in pattern:
            headers, over, after = rate_limit((method + pattern, request.match_info["cid"]))
            if over:
                headers.update({"retry-after": str(int(after) + 1), "x-ratelimit-scope": "user"})
                return reply({"message": "You are being rate limited.", "retry_after": after, "global": False}, status=429, headers=headers)
        try:
            done = await handler(request, p)
        except Invalid as e:
            refused = invalid("embeds", str(e))
            return reply(refused.body, status=refused.status, headers=headers)
        except Refused as refused:
            return reply(refused.body, status=refused.status, headers=headers)
        await note()
        return reply(done, headers=headers) if done is not None else web.Response(status=204, headers=headers)

    return answer


# ---- for tests ----------------------------------------------------------------------------------------------------------------

async def say(p):
    cid = p["channel"]
    channel(cid, p.get("type", 1 if p.get("direct") else 0), **p.get("room", {}))
    more = p.get("more", {})
    if p.get("reply_to"):
        replied = channels[cid]["messages"][p["reply_to"]]
        more = {**more, "type": 19, "referenced_message": replied, "message_reference": {"message_id": replied["id"], "channel_id": cid, "type": 0}}
    made = message(cid, {**user(p["user"]), **p.get("author", {})}, p["text"], **more)
    for file in p.get("files", []):
        data = base64.b64decode(file.pop("data"))
        made["attachments"].append(cdn.put(cid, snowflake(), file.pop("name"), data, **file))
    if p.get("reply_to") and replied["author"] not in made["mentions"]:
        # A reply calls whom it answers, unless they turned that off.
        made["mentions"].append(replied["author"])
    channels[cid]["messages"][made["id"]] = made
    await dispatch("MESSAGE_CREATE", made)
    return {"id": made["id"]}


async def edit(p):
    made = channels[p["channel"]]["messages"][p["id"]]
    made.update(content=p["text"], edited_timestamp=now())
    await dispatch("MESSAGE_UPDATE", made)


async def interact(p):
    """https://docs.discord.com/developers/interactions/overview#setting-up-an-endpoint: signed with the application's key; PINGs and probes too."""
    body, timestamp = json.dumps(p["body"]), p.get("timestamp", str(int(time.time())))
    key = SigningKey.generate() if p.get("forged") else signing
    signature = key.sign((timestamp + body).encode()).signature.hex()
    headers = {"content-type": "application/json", "x-signature-ed25519": signature, "x-signature-timestamp": timestamp}
    async with aiohttp.ClientSession() as session, session.post(p["url"], data=body, headers=headers) as response:
        text = await response.text()
    try:
        return {"status": response.status, "body": json.loads(text)}
    except ValueError:
        return {"status": response.status, "body": text}


async def control(request):
    what, p = request.match_info["what"], dict(request.query)
    if request.can_read_body:
        p.update(await request.json())
    answer, open_ones = {}, list(sockets)
    if what == "say":
        answer = await say(p)
    elif what == "edit":
        await edit(p)
    elif what == "event":
        for session in sessions.values():
            await session.event(p["t"], p["d"])
    elif what == "reconnect":
        for socket in open_ones:
            await socket.send({"op": 7, "s": None, "t": None, "d": None})
    elif what == "invalidate":
        for socket in open_ones:
            if not p["resumable"] and socket.session:
                sessions.pop(socket.session.id, None)
                socket.session = None
            await socket.send({"op": 9, "s": None, "t": None, "d": p["resumable"]})
    elif what == "close":
        for socket in open_ones:
            if p["code"] in (4007, 4009) and socket.session:
                sessions.pop(socket.session.id, None)
            await socket.ws.close(code=p["code"])
    elif what == "cut":
        for socket in open_ones:
            socket.transport.abort()
    elif what == "expired":
        cdn.expired = p["next"]
    elif what == "deaf":
        # The connection stands, and nothing comes over it any more.
        deaf["on"] = p["on"]
    elif what == "beat":
        for socket in open_ones:
            await socket.send({"op": 1, "s": None, "t": None, "d": None})
    elif what == "interact":
        answer = await interact(p)
    elif what == "fail":
        failures.append(p)
    elif what == "limit":
        bucket.update(limit=p["limit"], per=p["per"], used={})
    elif what == "channel":
        answer = shown(channel(p.pop("id"), p.pop("type", 0), **p))
    elif what == "sent":
        async with changed:
            try:
                await asyncio.wait_for(changed.wait_for(lambda: len(sent) >= int(p.get("least", 0))), float(p.get("seconds", 0)) or None)
            except asyncio.TimeoutError:
                pass
            answer = list(sent)
    elif what == "calls":
        answer = [c for c in calls if re.search(p.get("path", ""), c["path"])]
    elif what == "state":
        answer = {"sockets": len(sockets), "identifies": len(identifies), "resumes": resumes, "heartbeats": heartbeats, "ignored": ignored, "me": ME["id"], "commands": list(commands),
                  "credentials": cdn.credentials, "sessions": [{"id": s.id, "seq": s.seq, "connected": s.socket is not None} for s in sessions.values()], "public_key": signing.verify_key.encode().hex()}
    else:
        return reply({}, status=404)
    await note()
    return reply(answer)


async def main():
    app = web.Application(client_max_size=64 << 20)
    for method, pattern, handler in ROUTES:
        app.router.add_route(method, "/api/v10" + pattern, route(handler, method, pattern))
    app.router.add_get("/gateway/", gateway)
    app.router.add_get("/gateway", gateway)
    app.router.add_get("/resume/", gateway)
    app.router.add_get("/resume", gateway)
    app.router.add_get("/attachments/{cid}/{aid}/{name}", cdn.get)
    app.router.add_route("*", "/control/{what}", control)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    cdn.base = base["url"] = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    print(base["url"], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
