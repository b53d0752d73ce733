"""python-telegram-bot against a Bot API server: polls, answers one message with what it said, edits, marks, pins
and deletes that, sends photos and a document, fetches one, and stops.

Usage: telegram_echo.py BASE_URL TOKEN
"""

import asyncio
import sys

from telegram.error import BadRequest
from telegram import InlineKeyboardButton, InlineKeyboardMarkup, MessageEntity, Update
from telegram.ext import Application, MessageHandler, filters

base, token = sys.argv[1:3]


async def main():
    answered = asyncio.Event()

    async def echo(update: Update, context):
        await context.bot.send_chat_action(update.effective_chat.id, "typing")
        entity = MessageEntity(type="bold", offset=0, length=4)
        said = await update.message.reply_text("You: " + update.message.text, entities=[entity])
        await said.edit_text("You said it")
        await said.edit_reply_markup(InlineKeyboardMarkup([[InlineKeyboardButton("Yes", callback_data="y")]]))
        await said.pin(disable_notification=True)
        await said.unpin()
        await update.message.reply_photo("https://example.com/a.jpg", caption="look")
        photo = await update.message.reply_photo(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x02", filename="a.png")
        assert photo.photo
        document = await update.message.reply_document(b"--x\r\n\r\nbytes\r\n--x--\r\n", filename="a b.bin")
        assert document.document
        try:
            await said.edit_text("You said it")
            raise AssertionError("it says that already")
        except BadRequest as e:
            assert "essage is not modified" in str(e), e
        await said.delete()
        if update.message.document:
            file = await update.message.document.get_file()
            assert bytes(await file.download_as_bytearray()) == b"from far away"
        answered.set()

    app = Application.builder().token(token).base_url(f"{base}/bot").base_file_url(f"{base}/file/bot").build()
    app.add_handler(MessageHandler(filters.TEXT, echo))
    async with app:
        # A poll takes the webhook away first.
        assert await app.bot.set_webhook("https://bot.example.com/x", secret_token="a-b_C")
        await app.start()
        await app.updater.start_polling(timeout=5)
        print("ready", flush=True)
        await asyncio.wait_for(answered.wait(), 60)
        await app.updater.stop()
        await app.stop()


asyncio.run(main())
