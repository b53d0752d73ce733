"""PyPI `openai` drives the gateway's /v1.

Usage: openai_client.py BASE_URL TOKEN. Ends with 0 if everything was as OpenAI's own client expects it.
The model behind answers "Good evening." to "Good evening?", and "Ada." to "What is my name?" once it was told.
"""

import sys

import openai

base, token = sys.argv[1], sys.argv[2]
client = openai.OpenAI(base_url=f"{base}/v1", api_key=token)


def ask(text, **more):
    return client.chat.completions.create(
        model="carapace", messages=[{"role": "user", "content": text}], **more
    )


def raises(kind, call):
    try:
        got = call()
    except kind as e:
        return e
    raise AssertionError(f"expected {kind.__name__}, got {got!r}")


models = client.models.list().data
assert models[0].id == "carapace", models
assert any("gpt-5-mini" in m.id for m in models), models
assert client.models.retrieve(models[-1].id).id == models[-1].id
e = raises(openai.NotFoundError, lambda: client.models.retrieve("no-such-model"))
assert e.code == "model_not_found", e

answer = ask("Good evening?")
assert answer.choices[0].message.content == "Good evening.", answer
assert answer.choices[0].message.role == "assistant" and answer.choices[0].finish_reason == "stop", answer
assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0, answer
assert answer.id.startswith("chatcmpl-") and answer.object == "chat.completion", answer

with ask("Good evening?", stream=True, stream_options={"include_usage": True}) as stream:
    chunks = list(stream)
text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
assert text == "Good evening.", text
assert chunks[0].choices[0].delta.role == "assistant", chunks[0]
assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop", chunks
assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens > 0, chunks[-1]
assert len({c.id for c in chunks}) == 1, chunks

# The client's own helper accumulates the same.
with client.chat.completions.stream(
    model="carapace", messages=[{"role": "user", "content": "Good evening?"}]
) as stream:
    final = stream.get_final_completion()
assert final.choices[0].message.content == "Good evening.", final

wrong = openai.OpenAI(base_url=f"{base}/v1", api_key="not-the-token")
e = raises(openai.AuthenticationError, lambda: wrong.models.list())
assert e.code == "invalid_api_key", e

hello = [{"role": "user", "content": "Good evening?"}]
e = raises(openai.NotFoundError, lambda: client.chat.completions.create(model="no-such-model", messages=hello))
assert e.code == "model_not_found" and "no-such-model" in str(e), e

tool = {"type": "function", "function": {"name": "mine", "parameters": {"type": "object"}}}
e = raises(openai.BadRequestError, lambda: ask("Good evening?", tools=[tool]))
assert e.param == "tools", e
e = raises(openai.BadRequestError, lambda: client.chat.completions.create(model="carapace", messages=[]))
assert e.param == "messages", e

# With a session the server remembers; the client sends only what is new.
session = {"X-Carapace-Session-Key": "ada"}
raw = client.chat.completions.with_raw_response.create(
    model="carapace", messages=[{"role": "user", "content": "My name is Ada."}], extra_headers=session
)
assert raw.headers["x-carapace-session-key"] == "ada", raw.headers
assert raw.parse().choices[0].message.content == "Nice to meet you, Ada."
assert ask("What is my name?", extra_headers=session).choices[0].message.content == "Ada."
print("ok")
