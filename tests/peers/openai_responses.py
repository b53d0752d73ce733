"""PyPI `openai` drives the gateway's /v1/responses; every answer and event is held against the client's own types.

Usage: openai_responses.py BASE_URL TOKEN [RESPONSE_ID]. With an id, of a response in which Ada gave her name, only what
follows it is asked. Prints the id of such a response last. Ends with 0 if everything was as the client expects it.
The model behind answers "Good evening." to "Good evening?", "Ada." to "What is my name?", a JSON object to "As JSON", and
never ends its answer to "Ponder".
"""

import sys

import openai
import pydantic
from openai.types.responses import Response, ResponseStreamEvent

base, token = sys.argv[1], sys.argv[2]
client = openai.OpenAI(base_url=f"{base}/v1", api_key=token, max_retries=0)
event_type = pydantic.TypeAdapter(ResponseStreamEvent)


def checked(response):
    """The client builds its types without looking; this looks."""
    Response.model_validate(response.to_dict(), strict=False)
    assert response.object == "response" and response.id.startswith("resp_"), response
    return response


def raises(kind, call):
    try:
        got = call()
    except kind as e:
        return e
    raise AssertionError(f"expected {kind.__name__}, got {got!r}")


def ask(text, **more):
    return checked(client.responses.create(model="carapace", input=text, **more))


def follows(response_id):
    """The server remembers what led to the response, and nothing of what was said beside it."""
    answer = ask("What is my name?", previous_response_id=response_id)
    assert answer.output_text == "Ada.", answer
    assert answer.previous_response_id == response_id, answer


if len(sys.argv) > 3:
    again = checked(client.responses.retrieve(sys.argv[3]))
    assert again.output_text == "Nice to meet you, Ada.", again
    assert again.metadata == {"for": "ada"} and again.instructions == "Be kind.", again
    follows(sys.argv[3])
    print(sys.argv[3])
    sys.exit()

answer = ask("Good evening?")
assert answer.output_text == "Good evening." and answer.status == "completed", answer
assert answer.model == "openai/gpt-5-mini", answer
assert answer.error is None and answer.incomplete_details is None and answer.tools == [], answer
assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0, answer
assert answer.output[0].type == "message" and answer.output[0].role == "assistant", answer

# Items instead of a text; the model sees all of them.
items = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "input_text", "text": "My name is Ada."}]},
    {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
     "content": [{"type": "output_text", "text": "Nice to meet you, Ada.", "annotations": []}]},
    {"role": "user", "content": "What is my name?"},
]
assert ask(items).output_text == "Ada."

# What the client gets back it may hand in again.
first = ask("My name is Ada.", store=False)
replayed = [{"role": "user", "content": "My name is Ada."}, *first.output, {"role": "user", "content": "What is my name?"}]
assert ask(replayed, store=False, include=["reasoning.encrypted_content"]).output_text == "Ada."

# A stream, event by event.
with client.responses.create(model="carapace", input="Good evening?", stream=True) as stream:
    events = list(stream)
for event in events:
    event_type.validate_python(event.to_dict())
assert [e.sequence_number for e in events] == list(range(len(events))), events
kinds = [e.type for e in events]
deltas = kinds.count("response.output_text.delta")
assert deltas > 1, kinds
assert kinds == [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    *["response.output_text.delta"] * deltas,
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
], kinds
assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "Good evening."
assert checked(events[-1].response).output_text == "Good evening.", events[-1]
assert checked(events[0].response).id == events[-1].response.id, events[0]

# The client's own helper accumulates the same.
with client.responses.stream(model="carapace", input="Good evening?") as stream:
    snapshots = [e.snapshot for e in stream if e.type == "response.output_text.delta"]
    final = stream.get_final_response()
assert snapshots[-1] == "Good evening." and len(snapshots) > 1, snapshots
assert final.output_text == "Good evening." and final.status == "completed", final


class Word(pydantic.BaseModel):
    word: str


parsed = client.responses.parse(model="carapace", input="As JSON", text_format=Word)
assert parsed.output_parsed == Word(word="hello"), parsed
assert checked(parsed).text.format.name == "Word", parsed

# Errors are the client's own exceptions.
e = raises(openai.NotFoundError, lambda: client.responses.create(model="no-such-model", input="Good evening?"))
assert e.code == "model_not_found" and "no-such-model" in str(e), e
tool = {"type": "function", "name": "mine", "parameters": {"type": "object"}, "strict": True}
e = raises(openai.BadRequestError, lambda: ask("Good evening?", tools=[tool]))
assert e.param == "tools", e
wrong = openai.OpenAI(base_url=f"{base}/v1", api_key="not-the-token")
e = raises(openai.AuthenticationError, lambda: wrong.responses.create(model="carapace", input="Good evening?"))
assert e.code == "invalid_api_key", e
for unknown in ["resp_01JZZZZZZZZZZZZZZZZZZZZZZZ", "resp_nonsense", first.id]:
    e = raises(openai.NotFoundError, lambda: ask("Good evening?", previous_response_id=unknown))
    assert e.code == "previous_response_not_found" and e.param == "previous_response_id", e
    e = raises(openai.NotFoundError, lambda: client.responses.retrieve(unknown))
    assert unknown in str(e), e

# In the background: begun, looked at, stopped.
begun = ask("Ponder", background=True)
assert begun.status == "in_progress", begun
assert checked(client.responses.retrieve(begun.id)).status == "in_progress"
assert checked(client.responses.cancel(begun.id)).status == "cancelled"
assert checked(client.responses.retrieve(begun.id)).status == "cancelled"

# A client that leaves its stream stops the run; what the server still does of it is for the caller to see.
with client.responses.stream(model="carapace", input="Ponder") as stream:
    assert next(e for e in stream if e.type == "response.output_text.delta").delta == "a"

# A conversation by ids, and a branch of it.
ada = ask("My name is Ada.", instructions="Be kind.", metadata={"for": "ada"})
ask("Good evening?", previous_response_id=ada.id)
follows(ada.id)
print(ada.id)
