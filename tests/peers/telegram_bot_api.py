"""A small Telegram Bot API server for one bot, on a free loopback port: what https://core.telegram.org/bots/api says of the methods a
chat needs (getMe, getUpdates with offset and long poll, setWebhook, deleteWebhook, sendMessage, sendChatAction, answerCallbackQuery, editMessageText,
deleteMessage, pinChatMessage, unpinChatMessage, editMessageReplyMarkup, sendPhoto, sendDocument, getFile and the files
themselves).

An update is gone once a poll came with an offset beyond it, and not before. Beside the API, for tests: POST /control/say (an update with a
message), POST /control/crowd (one each of many people), GET /control/hook (the webhook that was set), GET /control/waiting (updates that no offset has passed), GET /control/sent (what was
sent), GET /control/acted (what else was done), POST /control/file (a file, in base64), POST /control/fail (the next sendMessage or file answers
so). Prints the base URL; stops with stdin.

Usage: telegram_bot_api.py TOKEN
"""

import base64
import json
import re
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

TOKEN = sys.argv[1]
ME = {"id": 42, "is_bot": True, "first_name": "Carapace", "username": "carapace_bot", "can_join_groups": True,
      "can_read_all_group_messages": False, "supports_inline_queries": False}
changed = threading.Condition()
updates, sent, acted, failures = [], [], [], []
# (chat, message id) of everything that was said, and whether the bot said it; and the texts that the bot gave.
said_here, texts = {}, {}
files = {}
hook = {}
last = {"update": 1000, "message": 0}


def message(chat, text, sender):
    last["message"] += 1
    said_here[(chat["id"], last["message"])] = sender["id"] == ME["id"]
    return {"message_id": last["message"], "date": int(time.time()), "chat": chat, "from": sender, "text": text}


def form(body, kind):
    # RFC 7578: texts as they are, files as their name, type and bytes (in base64).
    found = {}
    boundary = kind.split("boundary=", 1)[1].strip('"')
    for part in body.split(b"--" + boundary.encode())[1:-1]:
        head, _, data = part[2:-2].partition(b"\r\n\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.decode().split("\r\n"))}
        given = dict(re.findall(r'(\w+)="([^"]*)"', headers["content-disposition"]))
        if "filename" in given:
            file = {"name": given["filename"], "mime": headers.get("content-type"), "data": base64.b64encode(data).decode()}
            found[given["name"]] = file
        else:
            found[given["name"]] = data.decode()
    return found


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def parameters(self):
        url = urlsplit(self.path)
        found = dict(parse_qsl(url.query))
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        kind = self.headers.get("content-type") or ""
        if body and "json" in kind:
            found.update(json.loads(body))
        elif body and kind.startswith("multipart/form-data"):
            found.update(form(body, kind))
        elif body:
            found.update(parse_qsl(body.decode()))
        # Clients differ in whether they spell the token's colon out.
        return unquote(url.path), found

    def do_GET(self):
        path, p = self.parameters()
        if path.startswith("/control/"):
            return self.control(path[9:], p)
        if path.startswith(f"/file/bot{TOKEN}/"):
            return self.file(path[len(f"/file/bot{TOKEN}/"):])
        if not path.startswith(f"/bot{TOKEN}/"):
            return self.answer(401, {"ok": False, "error_code": 401, "description": "Unauthorized"})
        method = getattr(self, "m_" + path.rsplit("/", 1)[1].lower(), None)
        if method is None:
            return self.answer(404, {"ok": False, "error_code": 404, "description": "Not Found: method not found"})
        method(p)

    do_POST = do_GET

    def ok(self, result):
        self.answer(200, {"ok": True, "result": result})

    def m_getme(self, _):
        self.ok(ME)

    def m_setwebhook(self, p):
        # https://core.telegram.org/bots/api#setwebhook; from then on, each update is a POST with the secret in a header. The test sends them.
        token = p.get("secret_token") or ""
        if not p["url"].startswith("https://") or not re.fullmatch(r"[A-Za-z0-9_-]{0,256}", token):
            return self.answer(400, {"ok": False, "error_code": 400, "description": "Bad Request: bad webhook"})
        hook.update(url=p["url"], secret=token)
        self.ok(True)

    def m_deletewebhook(self, _):
        hook.clear()
        self.ok(True)

    def m_sendchataction(self, _):
        self.ok(True)

    def m_answercallbackquery(self, _):
        self.ok(True)

    def m_getupdates(self, p):
        # https://core.telegram.org/bots/api#getupdates
        if hook:
            text = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
            return self.answer(409, {"ok": False, "error_code": 409, "description": text})
        offset, timeout = int(p.get("offset", 0)), float(p.get("timeout", 0))
        with changed:
            updates[:] = [u for u in updates if u["update_id"] >= offset]
            changed.wait_for(lambda: updates, timeout)
            result = updates[: int(p.get("limit", 100))]
        self.ok(result)

    def m_sendmessage(self, p):
        # https://core.telegram.org/bots/api#sendmessage
        with changed:
            if failures:
                status, body = failures.pop(0)
                return self.answer(status, body)
            text, entities = p.get("text", ""), p.get("entities", [])
            entities = json.loads(entities) if isinstance(entities, str) else entities
            units = len(text.encode("utf-16-le")) // 2
            wrong = None
            if not text.strip():
                wrong = "message text is empty"
            elif units > 4096:
                wrong = "message is too long"
            elif any(e["offset"] < 0 or e["length"] < 1 or e["offset"] + e["length"] > units for e in entities):
                wrong = "entity beyond the end of the message"
            if wrong:
                return self.answer(400, {"ok": False, "error_code": 400, "description": "Bad Request: " + wrong})
            chat = int(p["chat_id"])
            said = message({"id": chat, "type": "private" if chat > 0 else "supergroup"}, text, ME)
            texts[(chat, said["message_id"])] = text
            sent.append({**p, "message_id": said["message_id"]})
            changed.notify_all()
        self.ok(said)

    def m_getfile(self, p):
        # https://core.telegram.org/bots/api#getfile
        with changed:
            found = next((path for path, (id, _) in files.items() if id == p["file_id"]), None)
            if found is None:
                return self.answer(400, {"ok": False, "error_code": 400, "description": "Bad Request: invalid file_id"})
            self.ok({"file_id": p["file_id"], "file_unique_id": "u", "file_size": len(files[found][1]), "file_path": found})

    def file(self, path):
        # https://core.telegram.org/bots/api#file: https://api.telegram.org/file/bot<token>/<file_path>
        with changed:
            if failures:
                return self.answer(*failures.pop(0))
            found = files.get(path)
        if found is None:
            return self.answer(404, {"ok": False, "error_code": 404, "description": "Not Found"})
        self.send_response(200)
        self.send_header("content-type", "application/octet-stream")
        self.send_header("content-length", str(len(found[1])))
        self.end_headers()
        self.wfile.write(found[1])

    def act(self, method, p, own, result):
        # What the methods that are about one message have in common.
        with changed:
            if failures:
                return self.answer(*failures.pop(0))
            chat, number = int(p["chat_id"]), int(p["message_id"])
            mine = said_here.get((chat, number))
            if mine is None or (own and not mine):
                text = "Bad Request: message to edit not found" if mine is None else "Bad Request: message can't be edited"
                return self.answer(400, {"ok": False, "error_code": 400, "description": text})
            acted.append({"method": method, **p})
            changed.notify_all()
        self.ok(result(chat, number))

    def edited(self, chat, number):
        there = {"id": chat, "type": "private" if chat > 0 else "supergroup"}
        return {"message_id": number, "date": int(time.time()), "chat": there, "from": ME, "text": "…"}

    def m_editmessagetext(self, p):
        # https://core.telegram.org/bots/api#editmessagetext
        with changed:
            there = (int(p["chat_id"]), int(p["message_id"]))
            if texts.get(there) == p["text"] and not failures:
                text = "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a " \
                       "current content and reply markup of the message"
                return self.answer(400, {"ok": False, "error_code": 400, "description": text})
            if there in texts and not failures:
                texts[there] = p["text"]
        self.act("editMessageText", p, True, self.edited)

    def m_editmessagereplymarkup(self, p):
        # https://core.telegram.org/bots/api#editmessagereplymarkup
        self.act("editMessageReplyMarkup", p, True, self.edited)

    def m_deletemessage(self, p):
        # https://core.telegram.org/bots/api#deletemessage
        self.act("deleteMessage", p, False, lambda chat, number: said_here.pop((chat, number)) in (True, False))

    def m_pinchatmessage(self, p):
        # https://core.telegram.org/bots/api#pinchatmessage
        self.act("pinChatMessage", p, False, lambda *_: True)

    def m_unpinchatmessage(self, p):
        # https://core.telegram.org/bots/api#unpinchatmessage
        self.act("unpinChatMessage", p, False, lambda *_: True)

    def m_sendphoto(self, p):
        # https://core.telegram.org/bots/api#sendphoto: at most 10 MB, width and height at most 10000 in total
        given = p["photo"]
        if isinstance(given, dict):
            data = base64.b64decode(given["data"])
            size = struct.unpack(">II", data[16:24]) if data.startswith(b"\x89PNG") else (1, 1)
            if len(data) > 10_000_000 or sum(size) > 10_000:
                text = "Bad Request: PHOTO_INVALID_DIMENSIONS"
                return self.answer(400, {"ok": False, "error_code": 400, "description": text})
        self.send_file("sendPhoto", p, {"photo": [{"file_id": "photo", "file_unique_id": "u", "width": 1, "height": 1}]})

    def m_senddocument(self, p):
        # https://core.telegram.org/bots/api#senddocument
        self.send_file("sendDocument", p, {"document": {"file_id": "document", "file_unique_id": "u"}})

    def send_file(self, method, p, shown):
        with changed:
            if failures:
                return self.answer(*failures.pop(0))
            chat = int(p["chat_id"])
            said = message({"id": chat, "type": "private" if chat > 0 else "supergroup"}, None, ME)
            del said["text"]
            acted.append({"method": method, **p, "sent_as": said["message_id"]})
            changed.notify_all()
        self.ok({**said, **shown})

    def control(self, what, p):
        with changed:
            if what == "say":
                last["update"] += 1
                said = message(p["chat"], p["text"], p["from"])
                said.update(p.get("more", {}))
                updates.append({"update_id": last["update"], "message": said})
                changed.notify_all()
                return self.ok(said)
            if what == "crowd":
                for who in range(p["first"], p["first"] + p["people"]):
                    last["update"] += 1
                    sender = {"id": who, "is_bot": False, "first_name": f"Stranger {who}"}
                    said = message({"id": who, "type": "private"}, p["text"], sender)
                    updates.append({"update_id": last["update"], "message": said})
                changed.notify_all()
                return self.ok(p["people"])
            if what == "hook":
                return self.ok(dict(hook))
            if what == "waiting":
                return self.ok(len(updates))
            if what == "fail":
                failures.append((p["status"], p["body"]))
                return self.ok(True)
            if what == "sent":
                # At least so many, or what there is after the time.
                changed.wait_for(lambda: len(sent) >= int(p.get("least", 0)), float(p.get("seconds", 0)))
                return self.ok(list(sent))
            if what == "file":
                path, id = f"photos/{p['name']}", f"file-{len(files)}"
                files[path] = (id, base64.b64decode(p["data"]))
                return self.ok(id)
            if what == "acted":
                changed.wait_for(lambda: len(acted) >= int(p.get("least", 0)), float(p.get("seconds", 0)))
                return self.ok(list(acted))
        self.answer(404, {"ok": False})


server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
sys.stdin.read()
