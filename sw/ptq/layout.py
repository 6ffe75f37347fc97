"""Where the channels of a tensor lie after its dimensions were merged, moved, indexed or reduced.

Each function returns the value of the result, or None if nothing is known of its channels: those of the argument must
then not be scaled.
"""

from typing import Any

from sw.ptq.channels import Channels, Spread, Value


def _position(value: Value) -> int | None:
    """Return the dimension of the channels, counted from the first; None if unknown."""
    return None if value.rank is None or value.channels is None else value.rank + value.channels.axis


def _at(value: Value, position: int, rank: int) -> Value:
    """Return the value of ``rank`` dimensions whose channels are at ``position``."""
    channels = value.channels
    return Value(rank=rank, channels=Channels(axis=position - rank, variables=channels.variables,
                                              spread=channels.spread))


def flattened(value: Value, start: Any, end: Any) -> Value | None:
    """Return the value of a tensor whose dimensions from ``start`` to ``end`` are merged."""
    channels, rank = value.channels, value.rank
    if channels is None or not isinstance(start, int) or not isinstance(end, int):
        return None
    if rank is None:
        # Whatever is merged, the channels vary fastest.
        if channels.axis == -1 and end == -1 and start >= 0 and channels.spread is Spread.NONE:
            return Value(rank=start + 1, channels=Channels(axis=-1, variables=channels.variables, spread=Spread.TILES))
        return None
    start, end = start % rank, end % rank
    position, merged = _position(value), rank - (end - start)
    if start == end or position < start:
        return _at(value, position, merged)
    if position > end:
        return _at(value, position - (end - start), merged)
    if position == start and channels.spread in (Spread.NONE, Spread.NEIGHBOURS):
        spread = Spread.NEIGHBOURS
    elif position == end and channels.spread in (Spread.NONE, Spread.TILES):
        spread = Spread.TILES
    else:
        return None
    return Value(rank=merged, channels=Channels(axis=start - merged, variables=channels.variables, spread=spread))


def moved(value: Value, order: tuple[Any, ...] | None, exchanged: tuple[Any, Any] | None = None) -> Value | None:
    """Return the value of a tensor whose dimensions are put in ``order``, or two of which are exchanged."""
    rank, position = value.rank, _position(value)
    if position is None:
        return None
    if order is None:
        if not all(isinstance(dim, int) for dim in exchanged):
            return None
        first, second = (dim % rank for dim in exchanged)
        return _at(value, {first: second, second: first}.get(position, position), rank)
    if len(order) != rank or not all(isinstance(dim, int) for dim in order):
        return None
    return _at(value, [dim % rank for dim in order].index(position), rank)


def _dimensions(dims: Any, rank: int) -> tuple[int, ...] | None:
    dims = dims if isinstance(dims, (list, tuple)) else (dims,)
    return tuple(dim % rank for dim in dims) if all(isinstance(dim, int) for dim in dims) else None


def reduced(value: Value, dims: Any, keep: Any) -> Value | None:
    """Return the value of a mean or sum over dimensions."""
    position = _position(value)
    gone = None if position is None else _dimensions(dims, value.rank)
    if not gone or position in gone or not isinstance(keep, bool):
        return None
    return value if keep else _at(value, position - sum(dim < position for dim in gone), value.rank - len(set(gone)))


def unsqueezed(value: Value, dim: Any) -> Value | None:
    """Return the value of a tensor with a dimension of size 1 more."""
    position = _position(value)
    if position is None or not isinstance(dim, int):
        return None
    return _at(value, position + (dim % (value.rank + 1) <= position), value.rank + 1)


def indexed(value: Value, index: Any) -> Value | None:
    """Return the value of a tensor indexed by integers, slices, None and an ellipsis."""
    position = _position(value)
    items = list(index) if isinstance(index, tuple) else [index]
    if position is None or not all(item is None or item is Ellipsis or type(item) in (int, slice) for item in items):
        return None
    missing = value.rank - sum(isinstance(item, (int, slice)) for item in items)
    at = items.index(Ellipsis) if Ellipsis in items else len(items)
    items[at:at + 1] = [slice(None)] * missing
    dimension, kept, variables = 0, [], value.channels.variables
    for item in items:
        if item is None:
            kept.append(None)
            continue
        if dimension == position and item != slice(None):
            bounds = (item.start, item.stop, item.step) if isinstance(item, slice) else (item,)
            if (not isinstance(item, slice) or value.channels.spread is not Spread.NONE
                    or not all(bound is None or isinstance(bound, int) for bound in bounds)):
                return None
            variables = variables[item]
        if isinstance(item, slice):
            kept.append(dimension)
        dimension += 1
    return Value(rank=len(kept), channels=Channels(axis=kept.index(position) - len(kept), variables=variables,
                                                   spread=value.channels.spread))
