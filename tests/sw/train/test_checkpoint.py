"""Checkpoints are whole or not there, and a damaged one is noticed."""

import hashlib
import io
import os
import pickle

import pytest
import torch
from torch import nn

from sw.cache import digest_of
from sw.train.checkpoint import load_state, save_state


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    path = tmp_path / "deep" / "model.checkpoint"
    save_state(model, path)
    return model, path


def fresh():
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def test_what_was_saved_is_loaded(saved):
    model, path = saved
    other = fresh()
    assert load_state(other, path)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    assert [entry.name for entry in path.parent.iterdir()] == ["model.checkpoint"]


def test_no_file_is_no_checkpoint(tmp_path):
    assert not load_state(fresh(), tmp_path / "none")


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: data[:-1], lambda data: data + b"\0", lambda data: b"other" + data,
    *(lambda data, place=place: data[:place] + bytes([data[place] ^ 1]) + data[place + 1:]
      for place in (0, 30, 60, 500, -1000)),
])
def test_every_damage_is_noticed(saved, damage):
    _, path = saved
    path.write_bytes(damage(path.read_bytes()))
    model = fresh()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.warns(UserWarning, match="Checkpoint must be as it was written, not damaged: .*; the network is"):
        assert not load_state(model, path)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_a_write_that_fails_leaves_the_old_one(saved, monkeypatch):
    _, path = saved
    before = path.read_bytes()

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        save_state(fresh(), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["model.checkpoint"]


def test_nothing_in_a_file_is_executed(saved):
    """Not even of a file with the right digest: what is no tensor is refused."""
    _, path = saved
    buffer = io.BytesIO()
    torch.save(os.getcwd, buffer)
    body = buffer.getvalue()
    magic = path.read_bytes()[:len(b"narrowgauge checkpoint 1\n")]
    path.write_bytes(magic + hashlib.sha256(body).digest() + body)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        load_state(fresh(), path)


def test_keys_tell_parts_apart():
    keys = {digest_of(*parts) for parts in (("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), (b"abc", b"", b""))}
    assert len(keys) == 5
    assert digest_of("a") == digest_of(b"a")
