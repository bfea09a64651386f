"""Plain text."""

import re

from inhouse.knowledge.clean import decode, is_text
from inhouse.knowledge.parser import Block, Parsed, parser


@parser("text", suffixes=(".txt", ".text", ".log"), recognises=is_text)
def parse(data: bytes) -> Parsed:
    """Paragraphs are separated by blank lines."""
    return Parsed([Block(paragraph) for paragraph in re.split(r"\n\s*\n", decode(data))])
