"""Write the search words of intents.json into workflow.yml, where the search query is made."""

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
WORDS = re.compile(r"(?<=\{%- set words = \{\n)(?:.*\n)*?(?=        \} -%\})")


def with_words(workflow: str, intents: dict[str, dict]) -> str:
    """The workflow's text with one line of search words for each intent that has some."""
    lines = [
        f'        "{label}": {json.dumps({lang: _text(search[lang]) for lang in ("en", "zh")}, ensure_ascii=False)},\n'
        for label, intent in sorted(intents.items())
        if any((search := intent.get("search") or {}).values())
    ]
    return WORDS.sub(lambda _: "".join(lines), workflow, count=1)


def _text(words: str | list[str]) -> str:
    return words if isinstance(words, str) else " ".join(words)


def main() -> None:
    path = HERE / "workflow.yml"
    intents = json.loads((HERE / "intents.json").read_text("utf-8"))
    path.write_text(with_words(path.read_text("utf-8"), intents), "utf-8")


if __name__ == "__main__":
    main()
