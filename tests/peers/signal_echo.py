"""signalbot (json-rpc mode) or pysignalclirestapi (normal mode) against a signal-cli-rest-api: answers one message with what it said, and stops.

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
            said = message["envelope"]["dataMessage"]["message"]
            api.send_message("You: " + said, [message["envelope"]["sourceNumber"]])
            return
    raise SystemExit("nothing came")


def socket():
    from signalbot import Config, DataMessageHandler, ReadyHandler, SendMessage, SignalBot

    class Ready(ReadyHandler):
        async def handle_ready(self, context):
            print("ready", flush=True)

    class Echo(DataMessageHandler):
        async def handle_data_message(self, context):
            await context.start_typing()
            await context.reply(SendMessage(text="You: " + context.message.text))
            await context.stop_typing()
            context.bot.request_stop()

    bot = SignalBot(Config(phone_number=number, signal_service=base.removeprefix("http://"), connection_mode="http_only"))
    bot.register(Ready())
    bot.register(Echo())
    bot.start()


poll() if mode == "poll" else socket()
