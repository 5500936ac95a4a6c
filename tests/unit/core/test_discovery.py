from gateway.core.discovery import members
from gateway.policy import conditions
from gateway.policy.condition import Condition


def test_each_file_of_a_family_is_found_under_its_own_name() -> None:
    found = members(conditions, "CONDITION")
    assert list(found) == sorted(found)
    assert "has_tools" in found
    assert all(isinstance(one, Condition) for one in found.values())
