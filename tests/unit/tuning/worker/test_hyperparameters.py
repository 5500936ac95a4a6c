"""Hyperparameters of a worker."""

import pytest

from gateway.tuning.worker.hyperparameters import hyperparameter_faults, settle


@pytest.mark.parametrize(
    ("examples", "epochs", "batch"),
    [
        (1, 25, 1),
        (10, 10, 1),
        (20, 5, 1),
        (34, 3, 1),
        (8333, 3, 17),
        (8334, 2, 17),
        (12501, 1, 25),
        (1_000_000, 1, 256),
    ],
)
def test_auto_follows_the_count_of_examples(examples: int, epochs: int, batch: int) -> None:
    found = settle((), "supervised", examples, None)
    assert (found.n_epochs, found.batch_size, found.learning_rate_multiplier) == (epochs, batch, 1.0)


def test_what_is_asked_for_is_used_and_the_multiplier_is_of_the_recipe() -> None:
    asked = (("n_epochs", 7), ("batch_size", 3), ("learning_rate_multiplier", 0.5), ("beta", 0.3))
    found = settle(asked, "dpo", 100, 0.01)
    assert (found.n_epochs, found.batch_size, found.learning_rate, found.beta) == (7, 3, 0.005, 0.3)
    assert found.listed("dpo") == (("beta", 0.3), *asked[:3])
    assert "beta" not in dict(found.listed("supervised"))
    assert settle((), "dpo", 10, None).learning_rate < settle((), "supervised", 10, None).learning_rate


def test_every_fault_is_told() -> None:
    asked = (("n_epochs", 0), ("batch_size", 2.5), ("learning_rate_multiplier", 0.0), ("beta", 1.0), ("luck", 1))
    assert len(hyperparameter_faults(asked, "supervised")) == 5
    assert hyperparameter_faults((("n_epochs", 50), ("batch_size", 256), ("beta", 2.0)), "dpo") == []
    assert hyperparameter_faults((("n_epochs", "many"),), "dpo") == [
        "n_epochs is 'many'; it must be a whole number or 'auto'."
    ]
