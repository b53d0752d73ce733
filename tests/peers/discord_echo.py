"""discord.py against a Discord: connects, answers each message (reply, edit, reaction, thread, embed, typing, deletion, file), fetches what came with it,
and stops after so many.

Says on its standard output when it is ready and when it has resumed.

Usage: discord_echo.py BASE_URL TOKEN MESSAGES
"""

import asyncio
import sys

import discord
import yarl
from discord.gateway import DiscordWebSocket

base, token, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
discord.http.Route.BASE = base + "/api/v10"
DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(base.replace("http", "ws", 1) + "/gateway")

intents = discord.Intents.default()
intents.message_content = True
discord.utils.setup_logging(level=30)
client = discord.Client(intents=intents)
answered = []


@client.event
async def on_ready():
    print("ready", flush=True)


@client.event
async def on_resumed():
    print("resumed", flush=True)


@client.event
async def on_message(message):
    if message.author == client.user:
        return
    async with message.channel.typing():
        said = await message.reply("You: " + message.content, allowed_mentions=discord.AllowedMentions.none(), nonce=f"n-{message.id}"[:25])
    await said.edit(content="You said: " + message.content)
    await message.add_reaction("👀")
    if message.guild and not answered:
        thread = await message.create_thread(name="About it")
        await thread.send("In a thread")
    gone = await message.channel.send(file=discord.File(__file__, "echo.py"))
    assert (await gone.attachments[0].read()) == open(__file__, "rb").read()
    await gone.delete()
    card = await message.channel.send(embed=discord.Embed(title="Card", description="x", color=0x5865F2).add_field(name="n", value="v"))
    await card.delete()
    for file in message.attachments:
        assert (await file.read()) == b"from far away"
    wrong = [(message.add_reaction("thumbsup"), 10014), (message.channel.send(embed=discord.Embed(title="x" * 257)), 50035)]
    if message.guild:
        wrong.append((message.delete(), 50013))
    for attempt, code in wrong:
        try:
            await attempt
            raise SystemExit(f"{code} was not said")
        except discord.HTTPException as e:
            assert e.code == code, e
    try:
        await message.channel.send("x" * 2001)
        raise SystemExit("a text that is too long was taken")
    except discord.HTTPException as e:
        assert (e.status, e.code) == (400, 50035), e
    answered.append(message.id)
    if len(answered) >= most:
        await client.close()


asyncio.run(asyncio.wait_for(client.start(token), 90))
