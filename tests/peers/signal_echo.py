"""signalbot (json-rpc mode) or pysignalclirestapi (normal mode) against a signal-cli-rest-api: fetches the file that came with a message, says that it
was read, reacts to it, answers it with what it said, and stops.

Usage: signal_echo.py BASE_URL NUMBER socket|poll
"""

import sys

base, number, mode = sys.argv[1:4]


def poll():
    from pysignalclirestapi import SignalCliRestApi

    api = SignalCliRestApi(base, number)
    assert api.mode() == "normal", api.mode()
    print("ready", flush=True)
    for _ in range(60):
        for message in api.receive(timeout=1):
            said, who = message["envelope"]["dataMessage"], message["envelope"]["sourceNumber"]
            assert api.get_attachment(said["attachments"][0]["id"]) == b"from far away"
            api.send_receipt(who, said["timestamp"])
            api.add_reaction("\N{THUMBS UP SIGN}", who, said["timestamp"])
            api.send_message("You: " + said["message"], [who], attachments_as_bytes=[b"with this"])
            return
    raise SystemExit("nothing came")


def socket():
    import base64

    from signalbot import Config, DataMessageHandler, ReadyHandler, ReceiptType, SendMessage, SignalBot

    class Ready(ReadyHandler):
        async def handle_ready(self, context):
            print("ready", flush=True)

    class Echo(DataMessageHandler):
        async def handle_data_message(self, context):
            assert base64.b64decode(context.message.attachments[0].base64_content) == b"from far away"
            await context.send_receipt(ReceiptType.READ)
            await context.react("\N{THUMBS UP SIGN}")
            await context.start_typing()
            await context.reply(SendMessage(text="You: " + context.message.text))
            await context.stop_typing()
            context.bot.request_stop()

    bot = SignalBot(Config(phone_number=number, signal_service=base.removeprefix("http://"), connection_mode="http_only"))
    bot.register(Ready())
    bot.register(Echo())
    bot.start()


poll() if mode == "poll" else socket()
