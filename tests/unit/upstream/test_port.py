import pytest

from gateway.upstream.port import Aborted, ConnectTimedOut, Lease, NotAnswered, Origin, TotalTimedOut


def test_lease_cuts_once() -> None:
    cuts: list[str] = []
    lease = Lease()
    lease.hold(lambda: cuts.append("first"))
    lease.hold(lambda: cuts.append("second"))
    lease.abort()
    lease.abort()
    assert cuts == ["second"]
    assert lease.aborted


def test_lease_with_nothing_to_cut_remembers() -> None:
    lease = Lease()
    lease.check()
    lease.abort()
    with pytest.raises(Aborted) as caught:
        lease.check()
    assert not caught.value.sent


def test_equal_origins_are_one_key() -> None:
    assert hash(Origin("https", "a", 443)) == hash(Origin("https", "a", 443))
    assert Origin("https", "a", 443) != Origin("https", "a", 443, verify=False)


def test_faults_say_whether_anything_was_sent() -> None:
    """In doubt it was: a retry after a wrong 'no' is billed twice."""
    assert NotAnswered("x").sent
    assert TotalTimedOut("x").sent
    assert not TotalTimedOut("x", sent=False).sent
    assert not ConnectTimedOut("x").sent
