"""Keys of a configuration: full, shortened, those of arguments, and those that do not exist."""

import pytest

from volseg.errors import BundleError
from volseg.overrides import apply_overrides, find_key, nearest

CONFIG = {
    "seed": 0,
    "device": {"_target_": "volseg.engines.distributed.device"},
    "train": {"trainer": {"max_epochs": 100}, "handlers": [{"name": "first"}]},
    "validate": {"trainer": {"device": "cpu"}},
    "loop": {"_target_": "volseg.engines.loop.Loop", "output_dir": ".", "batch_size": 2},
}


def test_a_full_key_is_changed_and_the_original_is_not():
    changed = apply_overrides(CONFIG, {"train::trainer::max_epochs": 3})
    assert changed["train"]["trainer"]["max_epochs"] == 3
    assert CONFIG["train"]["trainer"]["max_epochs"] == 100


def test_a_key_may_leave_out_leading_parts():
    assert find_key(CONFIG, "max_epochs") == "train::trainer::max_epochs"
    assert find_key(CONFIG, "trainer::max_epochs") == "train::trainer::max_epochs"


def test_a_full_key_wins_over_a_longer_one_that_ends_alike():
    assert find_key(CONFIG, "device") == "device"


def test_a_value_that_only_refers_to_another_is_not_meant():
    config = {"shown": {"overlap": 0.5}, "inferer": {"overlap": "@shown::overlap"}}
    assert find_key(config, "overlap") == "shown::overlap"
    assert find_key(config, "inferer::overlap") == "inferer::overlap"


def test_an_item_of_a_list_has_its_index_as_key():
    changed = apply_overrides(CONFIG, {"train::handlers::0::name": "other"})
    assert changed["train"]["handlers"] == [{"name": "other"}]


def test_an_argument_that_the_config_does_not_give_can_be_set_if_the_target_takes_it():
    changed = apply_overrides(CONFIG, {"num_workers": 4})
    assert changed["loop"]["num_workers"] == 4


def test_a_key_that_several_keys_end_with_is_refused_with_all_of_them():
    message = r"'trainer' may mean any of train::trainer, validate::trainer; use one of them"
    with pytest.raises(BundleError, match=message):
        find_key(CONFIG, "trainer")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("max_epoch", "train::trainer::max_epochs"),
        ("sead", "seed"),
        ("batchsize", "loop::batch_size"),
        ("num_worker", "loop::num_workers"),
        ("loop.batch_size", "loop::batch_size"),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_named(wrong, right):
    with pytest.raises(BundleError, match=f"'{wrong}' does not exist; the nearest is '{right}'"):
        apply_overrides(CONFIG, {wrong: 1})


def test_a_target_that_cannot_be_found_or_inspected_offers_no_arguments():
    config = {"a": {"_target_": "no.such.thing"}, "b": {"_target_": "volseg.types.Size"}}
    with pytest.raises(BundleError, match="does not exist"):
        find_key(config, "c")


def test_the_nearest_name_is_found_even_if_nothing_is_alike():
    assert nearest("xyz", ["seed"]) == "seed"
