"""What belongs to the messages of the small Discord beside it: files at signed addresses, and the limits of embeds."""

import hashlib
import hmac
import secrets
import time

from aiohttp import web


class Invalid(Exception):
    """Of a field of a form, and why."""


class Cdn:
    """https://docs.discord.com/developers/reference#signed-attachment-cdn-urls: who has the address of a file may read it, and no credential belongs there."""

    def __init__(self):
        # How many addresses have run out already when they are handed out, and how often somebody came with a credential.
        self.base, self.expired, self.credentials = "", 0, 0
        self.files, self.key = {}, secrets.token_bytes(16)

    def address(self, path):
        now = int(time.time())
        until = now - 1 if self.expired > 0 else now + 86_400
        self.expired = max(0, self.expired - 1)
        return f"{self.base}{path}?ex={until:x}&is={now:x}&hm={self.signature(path, f'{until:x}')}&"

    def signature(self, path, until):
        return hmac.new(self.key, f"{path}{until}".encode(), hashlib.sha256).hexdigest()

    def put(self, cid, aid, name, data, **more):
        """https://docs.discord.com/developers/resources/message#attachment-object, but for its addresses."""
        path = f"/attachments/{cid}/{aid}/{name}"
        self.files[path] = data
        return {"id": aid, "filename": name, "size": len(data), "path": path, **more}

    def handed_out(self, message):
        """A message with its files at addresses that are good from now on."""
        out = {**message, "attachments": []}
        for file in message["attachments"]:
            url = self.address(file["path"])
            out["attachments"].append({**{k: v for k, v in file.items() if k != "path"}, "url": url, "proxy_url": url})
        if message.get("referenced_message"):
            out["referenced_message"] = self.handed_out(message["referenced_message"])
        return out

    async def get(self, request):
        """What lies at such an address."""
        if "authorization" in request.headers:
            self.credentials += 1
        q, path = request.query, request.path
        good = path in self.files and hmac.compare_digest(q.get("hm", ""), self.signature(path, q.get("ex", ""))) and int(q["ex"], 16) >= time.time()
        return web.Response(body=self.files[path]) if good else web.Response(status=404, text="This content is no longer available.")


def check_embeds(embeds):
    """https://docs.discord.com/developers/resources/message#embed-object-embed-limits"""
    if len(embeds) > 10:
        raise Invalid("Must be 10 or fewer in length.")
    total = 0
    for embed in embeds:
        fields = embed.get("fields") or []
        if len(fields) > 25 or any(not f.get("name") or not f.get("value") for f in fields):
            raise Invalid("This field is required, 25 times at most")
        parts = [(embed.get("title"), 256), (embed.get("description"), 4096), ((embed.get("footer") or {}).get("text"), 2048)]
        parts += [((embed.get("author") or {}).get("name"), 256)] + [(f[k], most) for f in fields for k, most in [("name", 256), ("value", 1024)]]
        for text, most in parts:
            if len(text or "") > most:
                raise Invalid(f"Must be {most} or fewer in length.")
        if not isinstance(embed.get("color", 0), (int, type(None))) or not 0 <= (embed.get("color") or 0) <= 0xFFFFFF:
            raise Invalid("int value should be less than or equal to 16777215.")
        total += sum(len(text or "") for text, _ in parts)
    if total > 6000:
        raise Invalid("Embed size exceeds maximum size of 6000")
