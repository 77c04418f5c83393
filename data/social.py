"""What sender, recipient and thread did before a mail, as numbers: the causal social features."""

from data.counters import day_of, hours_of, sort_of, weekday_of
from data.view import View, rate

SOCIAL = (
    "is_to",
    "to_count",
    "recipient_count",
    "position",
    "is_reply",
    "same_domain",
    "is_automated",
    "is_patch",
    "weekday",
    "reply_to_own",
    "parent_replies",
    "thread_posts",
    "thread_recipient_posts",
    "thread_sender_posts",
    "thread_received",
    "thread_hours",
    "thread_recipient_hours",
    "recipient_received",
    "recipient_rate",
    "recipient_situation_rate",
    "recipient_sort_rate",
    "recipient_month_rate",
    "recipient_prompt_share",
    "recipient_quick_share",
    "recipient_acted_hours",
    "recipient_sent",
    "recipient_sent_month",
    "recipient_sent_hours",
    "person_sent",
    "person_sent_hours",
    "person_sent_days",
    "person_awake",
    "person_acted_hours",
    "sender_sent",
    "sender_sent_month",
    "sender_sent_hours",
    "sender_rate",
    "pair_received",
    "pair_acted",
    "pair_rate",
    "pair_hours",
    "pair_acted_hours",
    "reverse_received",
    "reverse_rate",
    "reverse_hours",
)


def social(view: View) -> tuple[float, ...]:
    """The values of SOCIAL."""
    return (*_address(view), *_thread(view), *_recipient(view), *_person(view), *_pair(view))


def _address(view: View) -> tuple[float, ...]:
    message, recipient = view.message, view.recipient
    addressed = message.to + message.cc
    return (
        float(recipient in message.to),
        float(len(message.to)),
        float(len(addressed)),
        float(addressed.index(recipient) if recipient in addressed else len(addressed)),
        float(message.in_reply_to is not None),
        float(_domain(view.sender) == _domain(recipient)),
        float(message.is_automated),
        float(message.is_patch),
        float(weekday_of(message.date)),
    )


def _thread(view: View) -> tuple[float, ...]:
    parent, root = view.message.in_reply_to, view.root
    return (
        float(view.is_own),
        float(view.count(f"replies\n{parent}") if parent else 0),
        float(view.count(f"posts\n{root}")),
        float(view.count(f"posts\n{root}\n{view.me}")),
        float(view.count(f"posts\n{root}\n{view.writer}")),
        float(view.count(f"heard\n{root}\n{view.recipient}")),
        view.hours(f"posts\n{root}"),
        view.hours(f"posts\n{root}\n{view.me}"),
    )


def _recipient(view: View) -> tuple[float, ...]:
    who = view.recipient
    base, reactions, prompt = view.prompt(who), view.count(f"acted\n{who}"), view.count(f"prompt\n{who}")
    return (
        float(view.count(f"received\n{who}")),
        base,
        view.prompt(f"{who}\n{view.situation}", base),
        view.prompt(f"{who}\n{sort_of(view.message)}", base),
        rate(view.recent(f"prompt\n{who}"), view.recent(f"received\n{who}"), base),
        rate(prompt, reactions, 0.8),
        rate(view.count(f"quick\n{who}"), prompt, 0.2),
        view.hours(f"acted\n{who}"),
        *_sent(view, who),
    )


def _person(view: View) -> tuple[float, ...]:
    """The same person's doings from every address, in whatever role."""
    me, date = f"sent\n@{view.me}", view.message.date
    sent, day = view.count(me), day_of(date)
    return (
        float(sent),
        view.hours(me),
        float(view.count(f"{me}\n{day}") + view.count(f"{me}\n{day - 1}")),
        (view.count(f"{me}\n{hours_of(date)}") + 1) / (sent + 8),
        view.hours(f"acted\n@{view.me}"),
    )


def _pair(view: View) -> tuple[float, ...]:
    sender, who = view.sender, view.recipient
    base = view.prompt(who)
    pair, reverse = f"{sender}\n>{who}", f"{who}\n>{sender}"
    return (
        *_sent(view, sender),
        rate(view.count(f"answered\n{sender}"), view.count(f"addressed\n{sender}")),
        float(view.count(f"received\n{pair}")),
        float(view.count(f"prompt\n{pair}")),
        view.prompt(pair, base),
        view.hours(f"received\n{pair}"),
        view.hours(f"acted\n{pair}"),
        float(view.count(f"received\n{reverse}")),
        view.prompt(reverse),
        view.hours(f"received\n{reverse}"),
    )


def _sent(view: View, who: str) -> tuple[float, ...]:
    return float(view.count(f"sent\n{who}")), float(view.recent(f"sent\n{who}")), view.hours(f"sent\n{who}")


def _domain(address: str) -> str:
    return address.rpartition("@")[2]
