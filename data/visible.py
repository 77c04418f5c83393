"""What a reader would see of a mail: its first plain text, else its HTML without the markup."""

import re
from email.message import Message as Mail
from html.parser import HTMLParser

_HIDDEN = frozenset({"script", "style", "head", "title", "template"})
_BREAKS = frozenset({"p", "br", "div", "tr", "li", "h1", "h2", "h3", "h4", "blockquote", "pre", "table"})
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ASCII = bytes(32 if _CONTROL.match(chr(code)) else code for code in range(256))
_HTML_LIMIT = 400_000  # characters of markup worth reading


def visible_text(mail: Mail) -> str:
    """The text of the first readable part that is no attachment, with `\\n` line ends and no control characters."""
    html = None
    for part in mail.walk():
        if part.is_multipart() or part.get_filename() or part.get_content_disposition() == "attachment":
            continue
        if part.get_content_type() == "text/plain":
            return clean(_decode(part))
        if part.get_content_type() == "text/html" and html is None:
            html = part
    return clean(_strip_markup(_decode(html))) if html is not None else ""


def clean(text: str) -> str:
    """Text that any database, tokenizer and terminal takes: no lone surrogate, no control but \\n and \\t."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii():
        return text.encode().translate(_ASCII).decode()  # of octets it is a tenth of the work
    return _CONTROL.sub(" ", text.encode("utf-8", "replace").decode("utf-8"))


def _decode(part: Mail) -> str:
    payload = part.get_payload(decode=True)
    octets = payload if isinstance(payload, bytes) else b""
    charset = part.get_content_charset() or "utf-8"
    try:
        return octets.decode(charset)
    except (LookupError, UnicodeError, ValueError):
        return octets.decode("utf-8", "replace")


def _strip_markup(html: str) -> str:
    parser = _Text()
    parser.feed(html[:_HTML_LIMIT])
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.pieces).split("\n"))
    return "\n".join(line for line in lines if line)


class _Text(HTMLParser):
    """Collects what is shown; a hidden element hides until its own end tag."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag in _BREAKS:
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(data)
