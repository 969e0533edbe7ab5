from homeport_agent.engine.pulls import PullLedger


def test_layers_add_up_and_a_layer_that_was_here_counts_nothing() -> None:
    ledger = PullLedger()
    assert not ledger.note({"status": "Pulling from library/app", "id": "1"})
    assert not ledger.note({"status": "Already exists", "id": "a"})
    assert ledger.note({"status": "Downloading", "id": "b", "progressDetail": {"current": 3, "total": 9}})
    assert not ledger.note({"status": "Downloading", "id": "b", "progressDetail": {"current": 3, "total": 9}})
    assert ledger.note({"status": "Downloading", "id": "c", "progressDetail": {"current": 1}})
    assert (ledger.done_bytes, ledger.total_bytes) == (4, 10)
    assert ledger.note({"status": "Pull complete", "id": "b"})
    assert (ledger.done_bytes, ledger.total_bytes) == (10, 10)
