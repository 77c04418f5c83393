"""What the page says on which a recipient tells one thing, before and after, and when it cannot hear it."""

from collections.abc import Mapping
from dataclasses import dataclass

from serving.web.wording import BROKEN, Apologies, Apology


@dataclass(frozen=True, slots=True)
class Words:
    """Of one kind: the question with its consequence and its button, then what is said once it was told."""

    question: str
    consequence: str
    button: str
    thanks: str
    result: str


WORDS: Mapping[str, Words] = {
    "acknowledged": Words(
        "Have you seen this message?",
        "Then nobody else is called about it, and messages like it stay likely to reach you at once.",
        "Yes, I have seen it",
        "You have seen it",
        "Thank you, it is written down: nobody else is called about this message.",
    ),
    "was_urgent": Words(
        "Was this message urgent?",
        "If you say so, messages like it are more likely to reach you at once.",
        "Yes, it was urgent",
        "It was urgent",
        "Thank you, it is written down: messages like it are more likely to reach you at once.",
    ),
    "not_urgent": Words(
        "Could this message wait?",
        "If you say so, messages like it are less likely to reach you at once.",
        "Yes, it was not urgent",
        "It was not urgent",
        "Thank you, it is written down: messages like it are less likely to reach you at once.",
    ),
    "unsubscribe": Words(
        "Fewer digests?",
        "A digest holds what could wait, and nothing of it is thrown away unread. From now on you would get "
        "one a week at most. What is urgent comes at once, as before.",
        "One digest a week at most",
        "One digest a week at most",
        "It is written down. One digest that was begun before may still come; what is urgent comes at once, as before.",
    ),
}

TELLING = Apologies(
    Apology(
        410,
        "This link has expired",
        "Links in our mails end some time after the mail that they came with.",
        "There is nothing that you have to do.",
        leads_back=False,
    ),
    BROKEN,  # no form of this page can be broken: what it holds does not count
    Apology(
        503,
        "Please come back in a minute",
        "We cannot write it down at the moment.",
        "Open the link once more in a minute.",
        headers={"Retry-After": "60"},
    ),
    Apology(
        500,
        "Something broke on our side",
        "It may not be written down yet, and it is not your fault.",
        "Open the link once more; if you see this again, there is nothing that you have to do.",
    ),
)
