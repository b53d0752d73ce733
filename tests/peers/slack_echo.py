"""slack_sdk against a Slack: its Socket Mode client, its Web API client and its judge of signatures.

`socket`: connects, answers the first message by threading, updating, reacting, deleting, uploading and fetching, then waits until the old socket was
replaced on `refresh_requested`, answers one more, and stops. `push URL`: a server at a free port takes events if slack_sdk finds their signature right.

Usage: slack_echo.py '{"base": "http://…", "bot": "xoxb-…", "app": "xapp-…", "signing": "…"}' socket|push
"""

import json
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.response import SocketModeResponse

options, mode = json.loads(sys.argv[1]), sys.argv[2]
web = WebClient(options["bot"], base_url=options["base"] + "/api/")
me = web.auth_test()
answered = threading.Semaphore(0)


def fetched(url, token):
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})) as response:
        return response.read()


def take(event):
    if event["type"] != "message" or event.get("bot_id") or event.get("subtype") not in (None, "file_share"):
        return
    channel, thread = event["channel"], event["ts"]
    said = web.chat_postMessage(channel=channel, thread_ts=thread, text="You: " + event["text"])
    web.chat_update(channel=channel, ts=said["ts"], text="You said: " + event["text"])
    web.reactions_add(channel=channel, timestamp=thread, name="eyes")
    name = web.users_info(user=event["user"])["user"]["real_name"]
    web.chat_postEphemeral(channel=channel, user=event["user"], text=f"Only for {name}")
    gone = web.chat_postMessage(channel=channel, text="Never mind")
    web.chat_delete(channel=channel, ts=gone["ts"])
    blocks = [{"type": "header", "text": {"type": "plain_text", "text": "Report"}}, {"type": "divider"}]
    shown = web.chat_postMessage(channel=channel, text="Report", blocks=blocks)
    web.chat_delete(channel=channel, ts=shown["ts"])
    web.files_upload_v2(channel=channel, filename="note.txt", content="a note", thread_ts=thread)
    for file in event.get("files", []):
        url = web.files_info(file=file["id"])["file"]["url_private_download"]
        assert fetched(url, options["bot"]) == b"from far away" and b"Sign in" in fetched(url, "xoxb-nobody")
    try:
        web.chat_postMessage(channel=channel, text="x", blocks=[{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}])
        raise SystemExit("invalid_blocks was not said")
    except SlackApiError as e:
        assert e.response["error"] == "invalid_blocks", e
    for wrong, error in [({"channel": "C0NOWHERE", "text": "x"}, "channel_not_found"), ({"channel": channel, "text": ""}, "no_text")]:
        try:
            web.chat_postMessage(**wrong)
            raise SystemExit(f"{error} was not said")
        except SlackApiError as e:
            assert e.response["error"] == error, e
    answered.release()


def socket_mode():
    client = SocketModeClient(app_token=options["app"], web_client=WebClient(base_url=options["base"] + "/api/"), ping_interval=1)

    def listen(c, request):
        c.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))
        if request.type == "events_api":
            take(request.payload["event"])

    client.socket_mode_request_listeners.append(listen)
    client.connect()
    print("ready", flush=True)
    for _ in range(2):
        assert answered.acquire(timeout=60), "nothing came"
    client.close()


def push():
    judge = SignatureVerifier(options["signing"])

    class Receiver(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if not judge.is_valid_request(body, dict(self.headers)):
                self.send_response(401)
                self.end_headers()
                return
            told = json.loads(body)
            self.send_response(200)
            self.end_headers()
            if told["type"] == "url_verification":
                self.wfile.write(told["challenge"].encode())
            else:
                threading.Thread(target=take, args=[told["event"]]).start()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_address[1]}/", flush=True)
    assert answered.acquire(timeout=60), "nothing came"


socket_mode() if mode == "socket" else push()
