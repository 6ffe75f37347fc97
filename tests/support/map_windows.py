"""Feature maps through the references of buffers of lines."""

import numpy as np

from tests.support.clocked_gates import random_codes


def random_map(model, *, seed):
    """Return a random map: codes of its pixels, (height, width, groups, lanes), and of its offsets, without lanes."""
    rng = np.random.default_rng(seed)
    shape = model.height, model.width, model.channel_groups
    codes = {name: random_codes(port, int(np.prod(shape)), rng) for name, port in model.inputs.items()}
    return codes["pixel"].reshape(*shape, -1), codes["offset"].reshape(*shape, *codes["offset"].shape[1:])


def feed_map(model, pixels, offsets):
    """Return the windows of a map, (results, 9 * lanes), through one sequence of the model's run."""
    run, windows, always = model.start(1), [], np.ones(1, dtype=bool)
    for place in np.ndindex(*pixels.shape[:3]):
        inputs = {"pixel": pixels[place][None], "offset": np.asarray(offsets[place])[None]}
        windows += [outputs["window"][0] for _, outputs in run.accept(inputs, always)]
    return np.array(windows)


def assert_sequences_right(model, *, transfers, seed, sequences=4):
    """Compare runs side by side, with pauses and a reset, with what the definition gives."""
    rng = np.random.default_rng(seed)
    run, results, taken = model.start(sequences), [[] for _ in range(sequences)], [[] for _ in range(sequences)]
    for step in range(transfers):
        if step == transfers // 3:
            run.reset(np.arange(sequences) == 1)
            results[1], taken[1] = [], []
        inputs = {name: random_codes(port, sequences, rng) for name, port in model.inputs.items()}
        accepted = rng.random(sequences) < 0.9
        accepted[0] = True
        for index in np.flatnonzero(accepted):
            taken[index].append({name: codes[index].tolist() for name, codes in inputs.items()})
        for produced, outputs in run.accept(inputs, accepted):
            for index in np.flatnonzero(produced):
                results[index].append(outputs["window"][index].tolist())
    assert results == [model.results(sequence) for sequence in taken], f"seed {seed}: {model}"
    assert len(results[0]) >= 2, f"{model}: too few transfers for the comparison to mean anything"


def random_transfers(model, maps, *, seed):
    """Return the transfers of some random maps, as dicts of codes."""
    count = maps * model.height * model.width * model.channel_groups
    rng = np.random.default_rng(seed)
    codes = {name: random_codes(port, count, rng) for name, port in model.inputs.items()}
    return [{name: values[index].tolist() for name, values in codes.items()} for index in range(count)]


def caused_windows(model, transfers):
    """Return each window, and the number of the transfer that causes it, through one sequence of the model's run."""
    run, always, windows = model.start(1), np.ones(1, dtype=bool), []
    for number, transfer in enumerate(transfers):
        inputs = {name: np.array([codes], dtype=np.uint64) for name, codes in transfer.items()}
        windows += [(outputs["window"][0].tolist(), number) for _, outputs in run.accept(inputs, always)]
    return windows


def assert_windows_right(component, transfers, run):
    """Compare the windows that a simulation gave with those of the component's model; return them with their causes."""
    wanted = caused_windows(component.model, transfers)
    assert len(run.results) == len(wanted)
    for number, (got, (want, _)) in enumerate(zip(run.results, wanted, strict=True)):
        assert got["window"] == want, f"window {number} of {component.model}: got {got['window']}, want {want}"
    return wanted
