from gateway.knowledge.settings import CollectionSettings, SourceSettings


def test_untagged_is_readable_by_nobody() -> None:
    assert not CollectionSettings("c").readable_by("support")
    assert not CollectionSettings("c").readable_by("")


def test_a_team_reads_what_names_it_or_everyone() -> None:
    assert CollectionSettings("c", teams=("support",)).readable_by("support")
    assert not CollectionSettings("c", teams=("support",)).readable_by("supp")
    assert CollectionSettings("c", teams=("*",)).readable_by("anyone")


def test_a_source_is_known_by_kind_and_place() -> None:
    assert SourceSettings("folder", "/x").key != SourceSettings("jsonl", "/x").key
