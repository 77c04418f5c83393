"""The history fold: causal, additive, and complete in its keys."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from data.history import FEATURES, Counter, Increment, acted, features, grow, keys, place, seen
from data.replay import History, replay
from data.schema import Message

DAY = 86_400.0
START = 1_700_000_000.0


def mail(number: int, sender: str, to: Sequence[str], parent: int | None = None, cc: Sequence[str] = ()) -> Message:
    """An invented mail, one an hour."""
    return Message(
        list="team",
        message_id=f"{number}@team.invalid",
        date=START + number * 3_600.0,
        sender=f"{sender}@team.invalid",
        sender_name=sender,
        to=tuple(f"{name}@team.invalid" for name in to),
        cc=tuple(f"{name}@team.invalid" for name in cc),
        subject=f"matter {number}",
        in_reply_to=None if parent is None else f"{parent}@team.invalid",
        body="words",
        body_len=5,
        sender_id=sender,
    )


def conversation() -> list[Message]:
    """Forty mails between four people, a third of them replies."""
    people = ("ada", "ben", "cleo", "dan")
    mails = []
    for number in range(40):
        sender, receiver = people[number % 4], people[(number * 3 + 1) % 4]
        receiver = receiver if receiver != sender else people[(number + 2) % 4]
        mails.append(mail(number, sender, [receiver], number - 3 if number % 3 == 2 and number > 3 else None, ["eve"]))
    return mails


def everyone(message: Message) -> tuple[str, ...]:
    return message.recipients


def history_of(messages: list[Message]) -> dict[tuple[str, str], bytes]:
    return {(found.message_id, who): vector.tobytes() for found, who, vector in replay(messages, everyone)}


def value(vector: np.ndarray, name: str) -> float:
    return float(vector[FEATURES.index(name)])


@pytest.mark.parametrize("cut", [1, 7, 20, 39])
def test_the_future_changes_no_feature(cut: int) -> None:
    """A feature that knows the future makes every benchmark figure worthless."""
    mails = conversation()
    silent = mails[:cut] + [replace(later, in_reply_to=None, sender="zoe@team.invalid") for later in mails[cut:]]

    before, after = history_of(mails), history_of(silent)

    past = {f"{number}@team.invalid" for number in range(cut)}
    assert {pair: v for pair, v in before.items() if pair[0] in past} == {
        pair: v for pair, v in after.items() if pair[0] in past
    }
    assert before != after


def test_a_reply_counts_from_the_moment_it_was_sent() -> None:
    """Counting it at the mail that it answers would leak the label into everything in between."""
    asked, between, reply, later = (
        mail(1, "ada", ["ben"]),
        mail(2, "ada", ["ben"]),
        mail(3, "ben", ["ada"], parent=1),
        mail(4, "ada", ["ben"]),
    )

    rows = {message.message_id: vector for message, _, vector in replay([asked, between, reply, later], everyone)}

    assert value(rows["2@team.invalid"], "pair_acted") == 0.0
    assert value(rows["4@team.invalid"], "pair_acted") == 1.0
    assert value(rows["4@team.invalid"], "recipient_acted_hours") == 1.0


def test_a_reply_from_another_address_counts_for_the_address_that_received() -> None:
    """People answer from their phones; the history of the address that was written to must learn of it."""
    known = replace(mail(0, "ben", ["ada"]), sender="ben@team.invalid", sender_id="ben stone")
    asked = mail(1, "ada", ["ben"])
    reply = replace(mail(2, "ben", ["ada"], parent=1), sender="ben@phone.invalid", sender_id="ben stone")
    later = mail(3, "ada", ["ben"])

    rows = {message.message_id: vector for message, _, vector in replay([known, asked, reply, later], everyone)}

    assert value(rows["3@team.invalid"], "pair_acted") == 1.0


def test_two_replays_are_equal() -> None:
    """Training and evaluation must see the same numbers."""
    assert history_of(conversation()) == history_of(conversation())


def test_keys_name_everything_that_features_read() -> None:
    """Serving reads only the named rows; a counter that is not named would silently be zero there."""
    history = History()
    for message in conversation():
        for who in message.recipients:
            named = keys(message, who)
            first = {key: history.counters[key] for key in named.first if key in history.counters}
            rows = first | {key: history.counters[key] for key in named.second(first) if key in history.counters}

            assert np.array_equal(features(message, who, rows), history.features(message, who))
            assert seen(message, who, 0, rows) == seen(message, who, 0, history.counters)
        history.observe(message)
    assert any(key.startswith("heard") for key in history.counters)


def test_many_recipients_count_the_mail_once() -> None:
    """Ten notifications of one mail must not look like ten mails."""
    history = History()

    history.observe(mail(1, "ada", ["ben", "cleo", "dan"]))

    assert history.counters["sent\nada@team.invalid"].count == 1
    assert history.counters["addressed\nada@team.invalid"].count == 3
    assert history.counters["received\nben@team.invalid"].count == 1


def test_a_thread_is_one_however_it_is_entered() -> None:
    """A reply to a reply belongs to the first mail's thread, and siblings of an unknown parent to each other's."""
    history = History()
    for message in (mail(1, "ada", ["ben"]), mail(2, "ben", ["ada"], parent=1), mail(3, "ada", ["ben"], parent=2)):
        history.observe(message)
    fourth = history.features(mail(4, "cleo", ["ben"], parent=3), "ben@team.invalid")
    history.observe(mail(5, "ada", ["ben"], parent=99))
    sibling = history.features(mail(6, "ada", ["ben"], parent=99), "ben@team.invalid")

    assert value(fourth, "thread_posts") == 3.0
    assert value(fourth, "thread_recipient_posts") == 1.0
    assert value(sibling, "thread_posts") == 1.0


def test_increments_commute() -> None:
    """Serving commits hops in whatever order they come."""
    increments = [Increment("k", 1, START, 7), Increment("k", 1, START + 5), Increment("k", 2, START + 2)]

    forward, backward = Counter(), Counter()
    for increment in increments:
        forward = grow(forward, increment)
    for increment in reversed(increments):
        backward = grow(backward, increment)

    assert forward == backward == Counter(4, START + 5, 7)


def test_unknown_people_have_finite_features() -> None:
    """The first mail ever is scored too."""
    vector = features(mail(1, "ada", ["ben"]), "stranger@else.invalid", {})

    assert vector.shape == (len(FEATURES),)
    assert vector.dtype == np.float32
    assert np.isfinite(vector).all()


@pytest.mark.parametrize(("after", "grown"), [(1_800.0, {True}), (7_200.0, {True, False}), (2 * DAY, {True, False})])
def test_a_reaction_grows_what_was_named_at_the_arrival_and_ends_later(after: float, grown: set[bool]) -> None:
    """The store keeps these records with the notification and knows nothing else when somebody reacts."""
    message, ben = mail(1, "ada", ["ben"]), "ben@team.invalid"
    history = History()
    named = acted(message, ben, place(message, ben, history.counters))
    history.observe(message)

    history.react(message, ben, message.date + after)

    last = {each.key: history.counters.get(each.key, Counter()).last for each in named}
    assert {last[each.key] == message.date + after for each in named if each.until >= message.date + after} == {True}
    assert {last[each.key] > 0.0 for each in named} == grown


def test_a_late_reaction_is_no_prompt_one() -> None:
    """The label is a reaction within a day, and a rate of something else would mislead."""
    history = History()
    for number, hours in ((1, 2.0), (30, 40.0)):
        asked = mail(number, "ada", ["ben"])
        history.observe(asked)
        history.react(asked, "ben@team.invalid", asked.date + hours * 3_600.0)

    vector = history.features(mail(90, "ada", ["ben"]), "ben@team.invalid")

    assert value(vector, "pair_acted") == 1.0
    assert value(vector, "recipient_prompt_share") == pytest.approx((1 + 0.8 * 4) / (2 + 4))


def test_a_person_is_one_under_two_addresses() -> None:
    """Who wrote five minutes ago from the phone is there, whatever address the mail goes to."""
    history = History()
    for number, address in ((1, "ben@team.invalid"), (2, "ben@phone.invalid")):
        history.observe(replace(mail(number, "ben", ["ada"]), sender=address, sender_id="ben stone"))

    vector = history.features(mail(3, "ada", ["ben"]), "ben@team.invalid")

    assert value(vector, "person_sent") == 2.0
    assert value(vector, "person_sent_hours") == 1.0
    assert value(vector, "recipient_sent_hours") == 2.0


def test_a_borrowed_name_brings_no_history_as_a_sender() -> None:
    """A display name is anybody's to write; what the recipient thinks of a sender must hang on the address."""
    history = History()
    for number in range(5):
        asked = replace(mail(number, "ada", ["ben"]), sender_id="ada okafor")
        history.observe(asked)
        history.react(asked, "ben@team.invalid", asked.date + 60.0)

    stranger = replace(mail(9, "mallory", ["ben"]), sender_id="ada okafor")
    vector = history.features(stranger, "ben@team.invalid")

    assert value(vector, "pair_received") == value(vector, "pair_acted") == value(vector, "sender_sent") == 0.0


def test_the_answer_to_ones_own_mail_is_known_from_any_address() -> None:
    """The strongest sign that a mail waits for its reader."""
    history = History()
    history.observe(replace(mail(1, "ben", ["ada"]), sender="ben@phone.invalid", sender_id="ben stone"))
    history.observe(replace(mail(2, "ben", ["cleo"]), sender_id="ben stone"))

    own = history.features(mail(3, "ada", ["ben"], parent=1), "ben@team.invalid")
    other = history.features(mail(3, "ada", ["cleo"], parent=1), "cleo@team.invalid")

    assert (value(own, "reply_to_own"), value(other, "reply_to_own")) == (1.0, 0.0)
