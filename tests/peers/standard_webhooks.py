"""PyPI `standardwebhooks` at both ends: receives, and says of each request whether the library takes it for authentic; and signs and sends.

GET /received?least=N&seconds=S: what came, as [{"ok", "why", "body", "headers"}]. POST /send {"url", "body", "id"}: the answer's status and body.
POST /answer {"status", "headers"}: the next request is answered so. Prints the base URL; stops with stdin. Usage: standard_webhooks.py SECRET
"""

import json
import sys
import threading
import urllib.error
import urllib.request
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from standardwebhooks import Webhook

webhook = Webhook(sys.argv[1])
changed = threading.Condition()
received, answers = [], []


class Ends(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        query = dict(parse_qsl(urlsplit(self.path).query))
        with changed:
            changed.wait_for(lambda: len(received) >= int(query.get("least", 0)), float(query.get("seconds", 0)))
            self.answer(200, received)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path == "/send":
            asked = json.loads(body)
            data, now = json.dumps(asked["body"]), datetime.now(tz=timezone.utc)
            headers = {"content-type": "application/json", "webhook-id": asked["id"],
                       "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": webhook.sign(asked["id"], now, data)}
            headers.update(asked.get("headers", {}))
            request = urllib.request.Request(asked["url"], data.encode(), headers, method="POST")
            try:
                with urllib.request.urlopen(request) as response:
                    return self.answer(200, {"status": response.status, "body": response.read().decode()})
            except urllib.error.HTTPError as e:
                return self.answer(200, {"status": e.code, "body": e.read().decode()})
        with changed:
            if self.path == "/answer":
                answers.append(json.loads(body))
                return self.answer(200, {})
            headers = {k.lower(): v for k, v in self.headers.items()}
            try:
                webhook.verify(body, headers)
                ok, why = True, None
            except Exception as e:  # the library's own judgement, whatever it is
                ok, why = False, str(e)
            received.append({"ok": ok, "why": why, "body": json.loads(body), "headers": headers})
            changed.notify_all()
            if answers:
                asked = answers.pop(0)
                return self.answer(asked["status"], {}, asked.get("headers", {}).items())
        self.answer(200, {"id": "r-1"})


server = ThreadingHTTPServer(("127.0.0.1", 0), Ends)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
sys.stdin.read()
