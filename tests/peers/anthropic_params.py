"""PyPI `anthropic` judges bodies of `POST /v1/messages` by the types its own client builds them from.

Usage: anthropic_params.py FILE, a JSON array of bodies. Ends with 0 if each is valid and holds nothing the types do not know.
"""

import json
import sys
import typing

from pydantic import TypeAdapter

# An iterable is judged when it is read, which is too late to choose between the members of a union; a list is judged at once.
typing.Iterable = typing.List

from anthropic.types.message_create_params import MessageCreateParamsStreaming  # noqa: E402

adapter = TypeAdapter(MessageCreateParamsStreaming)
bodies = json.load(open(sys.argv[1], encoding="utf-8"))
assert bodies, "there is nothing to judge"
for body in bodies:
    known = json.loads(adapter.dump_json(adapter.validate_python(body), warnings=False))
    # What the types do not know was dropped.
    assert known == body, f"sent:\n{json.dumps(body)}\nknown:\n{json.dumps(known)}"
print(f"{len(bodies)} valid")
