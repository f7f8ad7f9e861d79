"""Shows foreign text as it is: Qt takes what looks like HTML for HTML, and loads the files that it names."""

from __future__ import annotations

from html import escape


def as_plain(text: str) -> str:
    """Return a text for a tooltip or a message box, which offer no plain format, that shows as given.

    Names of layers, paths and an engine's words may hold anything, ``<img src=…>`` too.
    """
    return f"<span>{as_html(text)}</span>" if "<" in text else text


def as_html(text: str) -> str:
    """Return a text for what always reads HTML, such as QGIS's message bar."""
    return escape(text, quote=True).replace("&#x27;", "'")
