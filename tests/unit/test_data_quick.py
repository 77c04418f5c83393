"""The quick ways to read a mail give what the plain ones give: a model was trained on the latter."""

import re
from email.message import Message
from email.utils import getaddresses

from hypothesis import given
from hypothesis import strategies as st

from data import form, headers, visible

TEXT = st.text(st.sampled_from("pleasPLStThHankK couldywn\nſKé_1-.\r\t\x00\x7f\x9f"), max_size=60)
POLITE = re.compile(r"\b(?:please|pls|could you|can you|would you)\b", re.IGNORECASE)
THANKS = re.compile(r"\bthank", re.IGNORECASE)
WORDS = st.lists(st.sampled_from(["please", "Pls", "could you", "thank", "thanks", "_", "x", "é", " ", "\n", "."]))
ADDRESS = st.text(st.sampled_from("ab.c@-+ <>\"',()A=?"), max_size=24)


@given(TEXT | WORDS.map("".join))
def test_phrases_are_counted_as_their_pattern_finds_them(text: str) -> None:
    """At the edges of words, in any case and any script."""
    assert form._PLEASE.count(text, text.casefold()) == len(POLITE.findall(text))
    assert form._THANKS.count(text, text.casefold()) == len(THANKS.findall(text))


@given(TEXT | st.text(max_size=40))
def test_words_and_clean_text_are_what_the_patterns_say(text: str) -> None:
    """Text that is ASCII takes another way."""
    letters = re.findall(r"[^\W\d_]+", text.lower())
    plain = text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode("utf-8")

    assert form._words(text) == [word for word in letters if len(word) >= 3]
    assert visible.clean(text) == re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", " ", plain)


@given(ADDRESS | st.sampled_from(["Ann Lee <a.b@c.example>", "<a@b>", "a@b.c", "Ann <a@b> x", "A<a@b>", "a@b>", ""]))
def test_an_address_is_read_as_the_parser_reads_it(text: str) -> None:
    """Where it is plain it is not asked."""
    mail = Message()
    mail["From"] = text
    found = headers.addresses(mail, "From")
    read = [(" ".join(shown.split()), address.lower()) for shown, address in getaddresses([" ".join(text.split())])]

    assert headers._PLAIN.fullmatch(" ".join(text.split())) is None or found == read
