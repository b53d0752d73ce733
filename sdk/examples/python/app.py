"""A tool in Python: counts words, and remembers the longest."""

import json
from collections import Counter

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.tools import Content_Text, Context, Tool, ToolError_InvalidArguments, ToolError_NotFound
from wit_world.imports import kv, log

TEXT = {
    "type": "object",
    "properties": {"text": {"type": "string", "description": "The text to look at."}},
    "required": ["text"],
    "additionalProperties": False,
}


class Tools(exports.Tools):
    def list(self) -> list[Tool]:
        nothing = {"type": "object", "additionalProperties": False}
        return [
            Tool("words_count", "Counts how often each word occurs in a text.", json.dumps(TEXT), []),
            Tool("words_longest", "The longest word so far.", json.dumps(nothing), []),
        ]

    def call(self, name: str, arguments: str, context: Context) -> list[Content_Text]:
        if name == "words_longest":
            entry = kv.get("longest")
            if entry is None:
                raise Err(ToolError_NotFound("no word was seen yet"))
            return [Content_Text(entry.value.decode())]
        words = json.loads(arguments)["text"].casefold().split()
        if not words:
            raise Err(ToolError_InvalidArguments("`text` has no words"))
        print(f"counting {len(words)} words")
        longest = max(words, key=len)
        kept = kv.get("longest")
        if kept is None or len(longest) > len(kept.value.decode()):
            kv.set("longest", longest.encode(), None)
            log.write(log.Level.INFO, "a longer word", [("length", str(len(longest)))])
        counts = Counter(words).most_common()
        return [Content_Text("\n".join(f"{word}: {count}" for word, count in counts))]
