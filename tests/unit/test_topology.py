"""The pipeline's table as the broker gets it."""

import json
from pathlib import Path

import pytest

from serving.errors import ConfigurationError
from serving.pipeline import TABLE, Bundled, Captured, Delayed, End, FailedOpen, Held, Keyless, KeyMissing, Stage, kind
from serving.queue.topology import Topology
from serving.topology import topology


def test_every_stage_and_outcome_of_the_table_is_there() -> None:
    """An edge that is missing strands whatever takes it."""
    places = topology().places

    assert {name: set(place.edges) for name, place in places.items()} == {
        stage.value: {kind(outcome) for outcome in edges} for stage, edges in TABLE.items()
    }


def test_edges_lead_where_the_table_says() -> None:
    """Each of the four kinds of destination once."""
    places = topology().places
    edges = {
        outcome: places[stage.value].edges[kind(outcome)]
        for stage, outcome in (
            (Stage.PAYMENT, Held),
            (Stage.SETTLEMENT, Captured),
            (Stage.ENCRYPTION, Keyless),
            (Stage.ENCRYPTION, KeyMissing),
            (Stage.TRIAGE, Delayed),
            (Stage.DIGEST, Bundled),
        )
    }

    assert (edges[Held].kind, edges[Held].to) == ("stage", Stage.DELIVERY)
    assert (edges[Captured].kind, edges[Captured].to) == ("end", End.DELIVERED)
    assert (edges[Keyless].kind, edges[Keyless].to) == ("stage", Stage.NOTICE)
    assert (edges[KeyMissing].kind, edges[KeyMissing].to) == ("parked", Stage.ENCRYPTION)
    assert (edges[Delayed].kind, edges[Delayed].to) == ("deferred", Stage.ENCRYPTION)
    assert (edges[Bundled].kind, edges[Bundled].to) == ("deferred", Stage.DIGEST)


def test_nothing_is_delivered_without_envelope_and_money() -> None:
    """The broker checks what the pipeline's types promise."""
    place = topology().places[Stage.DELIVERY]

    assert set(place.requires) == {"envelope", "payment"}
    assert topology().places[Stage.REANALYSIS].edges[kind(FailedOpen)].urgent is True


def test_only_payment_and_settlement_touch_money() -> None:
    """A stage that reads mail must not be able to move any."""
    assert {name for name, place in topology().places.items() if place.accounts} == {
        Stage.PAYMENT,
        Stage.SETTLEMENT,
    }


def test_the_broker_reads_what_was_written(tmp_path: Path) -> None:
    """Two processes, one table."""
    topology().write(tmp_path / "topology.json")

    assert Topology.read(tmp_path / "topology.json") == topology()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"places": 3}', '{"places": {"a": 1}, "entry": "a", "digest": "a", "digest_entry": "a"}']
)
def test_a_file_that_is_no_topology_is_named(text: str, tmp_path: Path) -> None:
    """The broker says it in one line and does not start."""
    (tmp_path / "topology.json").write_text(text)

    with pytest.raises(ConfigurationError, match=r"topology\.json"):
        Topology.read(tmp_path / "topology.json")


def test_an_edge_to_a_stage_that_there_is_not_is_found_at_the_start(tmp_path: Path) -> None:
    """Found later, it strands mail."""
    path = tmp_path / "topology.json"
    topology().write(path)
    tree = json.loads(path.read_text())
    tree["places"]["payment"]["edges"]["held"]["to"] = "delivrey"
    path.write_text(json.dumps(tree))

    with pytest.raises(ConfigurationError):
        Topology.read(path)
