"""The HTTP API answers: where mail is, what feedback does, what a person may not see, and when nothing works."""

from dataclasses import asdict
from typing import Any

import pytest

from serving.identifiers import format_id, parse_id
from tests.unit.gateways import NOTICE, PREDICTION, FakeBroker, Setting, is_refusal


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/notify"), ("GET", "/notifications/0000000000034"), ("GET", "/health")]
)
async def test_without_the_broker_the_answer_is_503_and_try_again(setting: Setting, method: str, path: str) -> None:
    """A sender must know that nothing was accepted, and that asking again is right."""
    setting.broker.is_up = False
    response = await setting.http.request(method, path, json=NOTICE)

    assert response.status_code == 503
    assert path == "/health" or (is_refusal(response, 503, "unavailable") and response.headers["Retry-After"] == "2")


async def test_what_breaks_inside_is_an_answer_without_content(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug must neither hang a request nor put mail into a log."""

    setting.broker.error = RuntimeError("ada@example.net Disk full")
    response = await setting.http.post("/notify", json=NOTICE)

    assert is_refusal(response, 500, "internal")
    assert "RuntimeError" in caplog.text
    assert "ada" not in caplog.text + response.text


async def test_a_notification_tells_its_state_and_history(setting: Setting) -> None:
    """Every id can always be asked where it is and how it got there."""
    setting.broker.rows["notification"] = [notification("100", "p1")]
    event = {
        "id": "100",
        "seq": 1,
        "at": 2.0,
        "stage": "authentication",
        "kind": "authenticated",
        "next": "classification",
    }
    setting.broker.rows["events"] = [{**event, "detail": {"method": "api_key"}}]
    body = (await setting.http.get(f"/notifications/{format_id(100)}")).json()

    assert (body["id"], body["stage"], body["state"]) == (format_id(100), "classification", "queued")
    assert [(item["kind"], item["next"]) for item in body["history"]] == [("authenticated", "classification")]


async def test_a_sender_reads_what_it_paid_and_nobody_else_s(setting: Setting) -> None:
    """In words, with the `seq` that asks for the page before; from the sender's own wallet, whatever is asked."""
    row = {"seq": 12, "at": 2.0, "key": "100:captured", "notification": "100", "currency": "EUR", "amount": -5}
    setting.broker.rows["statement"] = [
        {**row, "account": "wallet:sender:p1"},
        {**row, "seq": 11, "account": "debt:wallet:sender:p1"},
        {**row, "seq": 10, "account": "wallet:sender:p2"},
    ]
    line = {"at": 2.0, "amount": -5, "currency": "EUR", "notification": format_id(100)}

    first = (await setting.http.get("/statement?account=wallet:sender:p2")).json()
    second = (await setting.http.get("/statement?before=12")).json()
    sheet = await setting.http.get("/statement", headers={"Accept": "text/csv"})

    owed = {"seq": 11, "what": "owed for delivery", **line}
    assert first == {"lines": [{"seq": 12, "what": "paid for delivery", **line}, owed]}
    assert second == {"lines": [owed]}
    assert sheet.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert sheet.text.splitlines() == [
        "at,what,amount,currency,notification",
        f"1970-01-01T00:00:02Z,paid for delivery,-0.05,EUR,{format_id(100)}",
        f"1970-01-01T00:00:02Z,owed for delivery,-0.05,EUR,{format_id(100)}",
    ]


@pytest.mark.parametrize("before", ["x", "-1", "1.5", "%D9%A3", "9" * 30, "1" * 5_000, ""])
async def test_a_page_that_is_no_number_is_told_so(setting: Setting, before: str) -> None:
    """The broker takes 64 bits; what it cannot take must not look like its failure."""
    assert is_refusal(await setting.http.get(f"/statement?before={before}"), 400, "bad_page")


@pytest.mark.parametrize("asked", [format_id(100), format_id(101), "nonsense", "0" * 200, "%00"])
async def test_an_id_of_somebody_else_is_as_unknown_as_none(setting: Setting, asked: str) -> None:
    """Whether an id exists is nobody else's business."""
    setting.broker.rows["notification"] = [notification("100", "p2")]
    seen = await setting.http.get(f"/notifications/{asked}")
    feedback = await setting.http.post(f"/notifications/{asked}/feedback", json={"kind": "acknowledged"})

    assert is_refusal(seen, 404, "not_found")
    assert is_refusal(feedback, 404, "not_found")
    assert not setting.broker.commands


async def test_a_message_tells_which_notifications_it_became(setting: Setting) -> None:
    """Who sends by SMTP is told the message's id alone, and is to find everything from there."""
    sent = {"message": "99", "principal": "p1", "stage": None, "state": "delivered"}

    async def query(name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        if name != "message":
            return await FakeBroker.query(setting.broker, name, **parameters)
        return [{**sent, "id": id_} for id_ in ("100", "101")] if parameters == {"id": "99"} else []

    setting.broker.query = query  # type: ignore[method-assign]
    found = await setting.http.get(f"/messages/{format_id(99)}")
    unknown = await setting.http.get(f"/messages/{format_id(98)}")
    sent["principal"] = "p2"
    another = await setting.http.get(f"/messages/{format_id(99)}")

    ended = {"stage": None, "state": "delivered"}
    notifications = [{"id": format_id(100), **ended}, {"id": format_id(101), **ended}]
    assert found.json() == {"message_id": format_id(99), "notifications": notifications}
    assert is_refusal(unknown, 404, "not_found")
    assert is_refusal(another, 404, "not_found")


async def test_feedback_is_stored_with_its_time(setting: Setting) -> None:
    """Reactions are what the classifier learns from."""
    setting.broker.rows["notification"] = [notification("100", "p1")]
    response = await setting.http.post(f"/notifications/{format_id(100)}/feedback", json={"kind": "was_urgent"})
    unknown = await setting.http.post(f"/notifications/{format_id(100)}/feedback", json={"kind": "meh"})

    assert response.status_code == 200
    assert setting.broker.commands == [("react", {"id": "100", "kind": "was_urgent", "at": setting.clock.now})]
    assert is_refusal(unknown, 422, "invalid")


async def test_classify_takes_one_mail_or_many_in_order(setting: Setting) -> None:
    """A caller that asks about many must not pay a request for each."""
    question = {**NOTICE, "recipient": "ada@example.net"}
    one = await setting.http.post("/classify", json=question)
    many = await setting.http.post("/classify", json=[question, question])
    wrong = await setting.http.post("/classify", json=[question, NOTICE])

    assert one.json() == {"predictions": [asdict(PREDICTION)]}
    assert len(many.json()["predictions"]) == 2
    assert is_refusal(wrong, 422, "invalid")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", "/notify", 405, "method_not_allowed"),
        ("DELETE", "/notifications/x", 405, "method_not_allowed"),
        ("POST", "/notify", 415, "unsupported_media_type"),
    ],
)
async def test_wrong_paths_methods_and_types_are_told_apart(
    setting: Setting, method: str, path: str, status: int, code: str
) -> None:
    """The first request of a newcomer is usually one of these."""
    response = await setting.http.request(method, path, content=b"x", headers={"Content-Type": "text/html"})

    assert is_refusal(response, status, code)
    assert (status == 405) == ("Allow" in response.headers)


async def test_requests_are_counted_by_route_never_by_path(setting: Setting) -> None:
    """A metric for every id would grow without end, and could name people."""
    seen: list[tuple[str, str, int]] = []
    setting.app.state.record = lambda route, method, status, _: seen.append((route, method, status))
    await setting.http.get("/notifications/ada@example.net")
    await setting.http.get("/ada@example.net")

    assert seen == [("/notifications/{id}", "GET", 404), ("unmatched", "GET", 404)]


def notification(number: str, principal: str) -> dict[str, Any]:
    where = {"stage": "classification", "state": "queued", "attempt": 1, "available_at": 2.0, "accepted_at": 1.0}
    return {"id": number, "message": "7", "principal": principal, "facts": {}, **where}


def test_ids_survive_the_round_trip() -> None:
    """The tests above rest on it."""
    assert parse_id(format_id(100)) == 100
