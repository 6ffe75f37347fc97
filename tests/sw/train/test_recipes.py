"""Training: checkpoints, seeds, and how good the networks get."""

from dataclasses import replace

import pytest
import torch

from sw.train import NAMES, accuracy, digits, recipes, trained, untrained


@pytest.fixture
def quick(monkeypatch):
    """One epoch instead of many."""
    monkeypatch.setattr(recipes, "RECIPES", {name: replace(recipe, epochs=1)
                                             for name, recipe in recipes.RECIPES.items()})


def same(one, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides_every_parameter(name, quick, tmp_path):
    first = trained(name, seed=3, folder=tmp_path / "a")
    torch.rand(7)
    assert same(trained(name, seed=3, folder=tmp_path / "b"), first)
    assert not same(trained(name, seed=4, folder=tmp_path / "a"), first)


def test_the_checkpoint_is_loaded_the_second_time(quick, tmp_path, monkeypatch):
    told = []
    first = trained("digits-cnn", folder=tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 1)]
    file, = tmp_path.iterdir()
    assert file.name.startswith("digits-cnn-0-")
    monkeypatch.setattr(recipes, "_train", lambda *_: pytest.fail("trained again"))
    again = trained("digits-cnn", folder=tmp_path)
    assert same(again, first)
    assert not again.training
    assert all(parameter.requires_grad for parameter in again.parameters())


def test_a_damaged_checkpoint_is_made_again(quick, tmp_path):
    first = trained("digits-cnn", folder=tmp_path)
    file, = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    with pytest.warns(UserWarning, match="Checkpoint must be as it was written, not damaged"):
        assert same(trained("digits-cnn", folder=tmp_path), first)
    assert same(trained("digits-cnn", folder=tmp_path), first)


@pytest.mark.parametrize("change", [{"epochs": 2}, {"learning_rate": 1e-3}, {"shift": 0.0}])
def test_another_recipe_is_another_checkpoint(change, quick, tmp_path, monkeypatch):
    trained("digits-cnn", folder=tmp_path)
    monkeypatch.setitem(recipes.RECIPES, "digits-cnn", replace(recipes.RECIPES["digits-cnn"], **change))
    trained("digits-cnn", folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_the_cache_folder_is_where_checkpoints_go(quick, tmp_path, monkeypatch):
    monkeypatch.setenv("NARROWGAUGE_CACHE", str(tmp_path))
    trained("digits-cnn")
    assert [entry.name[:13] for entry in (tmp_path / "networks").iterdir()] == ["digits-cnn-0-"]


def test_networks_are_trained_where_gradients_are_off(quick, tmp_path):
    with torch.no_grad():
        model = trained(NAMES[0], folder=tmp_path)
        assert not torch.is_grad_enabled()
    assert same(model, trained(NAMES[0], folder=tmp_path / "again"))


def test_torch_is_left_as_it_was(quick, tmp_path):
    torch.manual_seed(11)
    want, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(11)
    trained("digits-cnn", folder=tmp_path)
    assert torch.equal(torch.rand(3), want)
    assert torch.get_num_threads() == threads


def deformed(images, **amounts):
    torch.manual_seed(0)
    none = {"rotation": 0.0, "shift": 0.0, "scaling": 0.0}
    return recipes._deformed(images, replace(recipes.RECIPES["digits-cnn"], **{**none, **amounts}))


def test_a_shift_is_in_pixels():
    """A pixel that moves by less than one reaches its neighbours and nothing else, and some reach each of them."""
    images = torch.zeros(500, 1, 9, 9)
    images[:, :, 4, 4] = 1
    moved = deformed(images, shift=0.9)
    assert torch.allclose(moved.sum((1, 2, 3)), torch.ones(500), atol=1e-5)
    reached = moved.amax((0, 1)) > 1e-6
    assert reached.nonzero().tolist() == [[row, column] for row in (3, 4, 5) for column in (3, 4, 5)]


def test_turning_and_scaling_leave_the_middle_where_it_is():
    images = torch.zeros(500, 1, 9, 9)
    images[:, :, 4, 4] = 1
    for amounts in ({"rotation": 0.5}, {"scaling": 0.3}):
        moved = deformed(images, **amounts)
        assert torch.allclose(moved[:, 0, 4, 4], torch.ones(500), atol=1e-5)
    edge = images.roll(4, 3)
    assert not torch.allclose(deformed(edge, rotation=0.5), edge, atol=0.1)
    assert torch.allclose(deformed(edge), edge, atol=1e-5)


def test_untrained_networks_are_random():
    torch.manual_seed(0)
    assert not same(untrained("digits-vit"), untrained("digits-vit"))


@pytest.mark.parametrize("call", [trained, untrained])
@pytest.mark.parametrize(("name", "error", "text"), [
    ("digits", ValueError, "Network name must be one of digits-cnn, digits-residual, digits-vit, not 'digits'"),
    (None, TypeError, "Network name must be a str, not None"),
])
def test_unknown_networks(call, name, error, text):
    with pytest.raises(error, match=text):
        call(name)


@pytest.mark.parametrize(("seed", "error", "text"), [
    (-1, ValueError, "Seed must be at least 0, not -1"), ("0", TypeError, "Seed must be an integer, not '0'")])
def test_wrong_seeds(seed, error, text):
    with pytest.raises(error, match=text):
        trained("digits-cnn", seed=seed)


def test_the_cnn_reaches_its_accuracy(tmp_path):
    assert accuracy(trained("digits-cnn", folder=tmp_path), digits(0).test) >= 0.975


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_accuracy_over_seeds(name, tmp_path):
    found = [accuracy(trained(name, seed=seed, folder=tmp_path), digits(seed).test) for seed in range(3)]
    assert min(found) >= 0.955, found
    assert sum(found) / len(found) >= 0.97, found
