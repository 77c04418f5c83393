"""Wishes as they are stored, and the lists of senders and words."""

import json
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.wishes.hours import Quiet, Times
from serving.wishes.lists import LONGEST_ENTRY, Lists, Match, entry_of
from serving.wishes.wish import LONGEST_INTERVAL, SHORTEST_INTERVAL, WEEK, Wishes, fewer_digests

BERLIN = ZoneInfo("Europe/Berlin")
FIELDS = ["not_urgent", "digest_every", "digest_at", "digest_on", "delay", "zone", "quiet", "urgent", "lists"]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["24:00", "../x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)


def test_every_wish_is_read() -> None:
    """As `clarion recipient wishes` writes them."""
    stored = {
        "not_urgent": "deliver", "digest_at": ["18:00", "07:30"], "digest_on": "friday", "delay": 600,
        "zone": "Europe/Berlin", "quiet": ["22:00", "07:00"], "urgent": "waits", "lists": "00ff",
    }  # fmt: skip

    assert Wishes.read(stored) == Wishes(
        "deliver", 86_400.0, 600.0, Times((time(7, 30), time(18)), BERLIN, 4), Quiet(time(22), time(7), BERLIN),
        True, BERLIN, b"\0\xff",
    )  # fmt: skip


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), anything), st.floats(1e9, 2e9))
def test_wishes_of_any_shape_become_wishes_that_can_be_kept(stored: dict[str, Any], now: float) -> None:
    """They come from forms and imports; one that breaks its reader would stop a recipient's mail."""
    wishes = Wishes.read(stored)

    assert wishes.not_urgent in ("digest", "delay", "discard", "deliver")
    assert all(SHORTEST_INTERVAL <= value <= LONGEST_INTERVAL for value in (wishes.digest_every, wishes.delay))
    assert now < wishes.next_digest(now) <= now + LONGEST_INTERVAL + 2 * 86_400
    assert now <= wishes.after_quiet(now) <= now + 2 * 86_400


@pytest.mark.parametrize(
    "stored",
    [
        {"zone": "Mars/Olympus"}, {"zone": "../../etc/passwd"}, {"zone": "Europe"}, {"zone": ""}, {"zone": None},
        {"quiet": ["22:00"]}, {"quiet": ["22:00", "22:00"]}, {"quiet": "22:00-07:00"}, {"quiet": ["22", "7"]},
        {"digest_at": []}, {"digest_at": ["7:30"]}, {"digest_at": ["25:00"]}, {"digest_at": "07:30"},
        {"digest_at": ["00:00"] * 25}, {"digest_on": "mon"}, {"urgent": True}, {"urgent": "never"},
        {"lists": "no hex"}, {"not_urgent": "burn"}, {"delay": "soon"}, {"delay": True}, {"delay": float("nan")},
    ],
)  # fmt: skip
def test_a_wish_that_makes_no_sense_is_as_if_it_were_not_there(stored: dict[str, Any]) -> None:
    """A recipient who said something broken loses nothing, and gets nothing that they did not ask for."""
    assert Wishes.read(stored) == Wishes()


def test_a_digest_is_never_due_in_quiet_hours() -> None:
    """It would wake whom it was to spare; it is put off, and not dropped."""
    wishes = Wishes.read({"digest_at": ["23:00"], "quiet": ["22:00", "07:00"], "zone": "Europe/Berlin"})
    evening = datetime(2026, 11, 29, 20, tzinfo=BERLIN).timestamp()

    assert wishes.next_digest(evening) == datetime(2026, 11, 30, 7, tzinfo=BERLIN).timestamp()


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), anything))
def test_fewer_digests_are_weekly_or_rarer_whatever_was_wished(stored: dict[str, Any]) -> None:
    """And asking for them twice changes nothing more."""
    fewer = fewer_digests(stored)
    before, wishes = Wishes.read(stored), Wishes.read(fewer)
    times = wishes.digest_at

    assert (times is None) == (before.digest_at is None and before.digest_every >= WEEK)
    assert times is None or (len(times.times), times.weekday is None) == (1, False)
    assert json.dumps(fewer_digests(fewer)) == json.dumps(fewer)
    assert wishes.not_urgent == before.not_urgent


@pytest.mark.parametrize(
    ("stored", "is_kept"),
    [
        ({"digest_every": 30 * 86_400}, True),
        ({"digest_every": WEEK}, True),
        ({"digest_every": WEEK - 1}, False),
        ({"digest_every": 30 * 86_400, "digest_at": ["08:00"]}, False),
    ],
)
def test_who_gets_one_a_month_gets_no_more_by_asking_for_fewer(stored: dict[str, Any], is_kept: bool) -> None:
    """The link says "at most"."""
    assert (fewer_digests(stored) == stored) is is_kept


@pytest.mark.parametrize(
    ("written", "entry"),
    [
        ("Boss@Bank.Example", "boss@bank.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("@ops.example", "ops.example"),
        ("words:node.js", "words:node js"),
        ("  Server   DOWN! ", "words:server down"),
        ("Straße", "words:strasse"),
    ],
)
def test_an_entry_is_kept_in_one_spelling(written: str, entry: str) -> None:
    """Whoever adds it twice, or takes it away, need not remember how it was written."""
    assert entry_of(written) == entry == entry_of(entry)


@pytest.mark.parametrize(
    "written", ["", "   ", "...", "words:", "a@b", "two words@bank.example x", "x" * (LONGEST_ENTRY + 1)]
)
def test_what_names_nobody_and_nothing_is_no_entry(written: str) -> None:
    """An entry without a word would fit every mail."""
    with pytest.raises(ValueError, match="entry"):
        entry_of(written)


@pytest.mark.parametrize(
    ("always", "never", "match"),
    [
        (["boss@bank.example"], [], Match("always", "sender", 1)),
        (["ops.example", "bank.example"], [], Match("always", "sender", 2)),
        (["mail.bank.example", "ank.example"], [], None),
        ([], ["words:disk", "words:server down"], Match("never", "words", 2)),
        (["words:server"], ["words:down"], Match("always", "words", 1)),  # in doubt it passes
        (["words:server"], ["bank.example"], Match("never", "sender", 1)),  # a sender before words
        (["bank.example"], ["boss@bank.example"], Match("never", "sender", 1)),  # an address before its domain
        (["boss@bank.example"], ["bank.example"], Match("always", "sender", 1)),
        (["example.com", "x.example"], ["bank.example"], Match("never", "sender", 1)),
        (["bank.example"], ["bank.example"], Match("always", "sender", 1)),
        (["words:erver", "words:serve", "words:down server"], [], None),
    ],
)
def test_the_entry_that_says_most_counts(always: list[str], never: list[str], match: Match | None) -> None:
    """Whole words in any case, domains with all below them; which comes first is written down."""
    lists = Lists(tuple(always), tuple(never))

    assert lists.match("Boss@Bank.Example", "The SERVER\n down?", "all of it") == match


def test_a_domain_covers_what_lies_below_it_and_the_longer_one_counts() -> None:
    """News of the bank may go while its alerts pass."""
    lists = Lists(("alerts.bank.example", "shop.example"), ("bank.example", "news.shop.example"))

    assert lists.match("a@x.alerts.bank.example", "", "") == Match("always", "sender", 1)
    assert lists.match("a@news.bank.example", "", "") == Match("never", "sender", 1)
    assert lists.match("a@news.shop.example", "", "") == Match("never", "sender", 2)
    assert lists.match("a@evilbank.example", "", "") is None
    assert lists.match("", "", "") is None


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=20)), st.text(max_size=50), st.text(max_size=200))
def test_lists_survive_being_sealed_and_any_mail(words: list[str], sender: str, text: str) -> None:
    """Both are strangers' or a person's free text."""
    entries = []
    for word in words:
        try:
            entries.append(entry_of(word))
        except ValueError:
            continue
    lists = Lists(tuple(entries), ())

    assert Lists.read(lists.written()) == lists
    lists.match(sender, text, text)


@pytest.mark.parametrize("octets", [b"", b"[]", b'{"always": 1}', b'{"never": [1]}', b"\xff"])
def test_octets_that_are_no_lists_are_told_apart(octets: bytes) -> None:
    """Whoever reads them goes on without."""
    with pytest.raises(ValueError):  # noqa: PT011 - any of json's
        Lists.read(octets)
