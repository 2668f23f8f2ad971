"""Text that is safe in a page, whatever it holds."""

import json
from base64 import b64encode
from html import escape
from typing import Any
from unicodedata import category


def clean(text: str) -> str:
    """Replace what a page cannot hold: undecodable bytes of file names, control characters.

    Args:
        text: Any text.

    Returns:
        Text that can be encoded.
    """
    readable = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join("\N{REPLACEMENT CHARACTER}" if category(c) == "Cc" else c for c in readable)


def shown(text: str) -> str:
    """Write any text into an element or an attribute.

    Args:
        text: Any text.

    Returns:
        Escaped text.
    """
    return escape(clean(text))


def name_of(text: str) -> str:
    """Write a name so that its direction of writing stays its own.

    Args:
        text: A name.

    Returns:
        A ``bdi`` element.
    """
    return f"<bdi>{shown(text)}</bdi>"


def json_block(content: Any) -> str:
    """Write JSON that no part of can end the script element that it stands in.

    Args:
        content: Plain values.

    Returns:
        JSON in ASCII.
    """
    return json.dumps(content, allow_nan=False).replace("<", "\\u003c")


def data_uri(content: bytes) -> str:
    """Write a WebP picture as an address.

    Args:
        content: The file.

    Returns:
        The address.
    """
    return f"data:image/webp;base64,{b64encode(content).decode()}"
