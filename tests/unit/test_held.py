"""What a consumer was leased: how much room is left beside it."""

from serving.queue.held import ANY_SIZE, Held


def test_there_is_room_until_the_bodies_have_as_many_octets() -> None:
    """And again when one has ended, once."""
    held = Held(10)
    held.add(1, 1, 6)
    held.add(2, 1, 6)
    full = held.room
    dropped = held.drop(1, 1), held.drop(1, 1)

    assert full == -2
    assert dropped == (True, False)
    assert (held.room, held.fences) == (4, {2: 1})


def test_a_newer_lease_of_the_same_notification_counts_once_and_outlives_the_older() -> None:
    """Its time was over, and it came again."""
    held = Held(10)
    held.add(1, 1, 6)
    held.add(1, 2, 6)

    assert held.drop(1, 1) is False
    assert (held.room, held.fences) == (4, {1: 2})


def test_what_is_named_after_a_new_connection_takes_no_room() -> None:
    """Its body lies with the client already."""
    held = Held(10)
    held.add(1, 1, 6)
    held.start_over({1: 1, 3: 4})

    assert (held.room, held.fences) == (10, {1: 1, 3: 4})
    assert held.drop(3, 4)
    assert held.room == 10
    assert Held().room == ANY_SIZE
