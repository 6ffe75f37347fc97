"""Layer shapes of a torch model, as one input runs through it."""

from typing import Any

from synth.cost.layer import LayerShape
from synth.errors import UsageError


def layer_shapes(model: Any, example: Any) -> list[LayerShape]:
    """Return the shape of every linear and convolutional layer of a model, in the order of execution.

    Of a ``torch.nn.MultiheadAttention``, the projections are layers, named as when they are quantized:
    ``<module>.query_projection``, ``key_projection``, ``value_projection`` and ``out_proj``. Products of activations by
    activations are not counted.

    Parameters
    ----------
    model : torch.nn.Module
    example : Tensor, (1, ...)
        One input.

    Raises
    ------
    UsageError
        If a layer is used more than once, or is a transposed convolution, or there is none.
    """
    import torch
    from torch import nn

    from sw.ptq.batches import evaluating

    layers: dict[str, LayerShape] = {}
    names = {module: name for name, module in model.named_modules()}

    def add(shape: LayerShape) -> None:
        if shape.name in layers:
            raise UsageError(f"Layer must be used once in a network that is costed, not twice: {shape.name!r}")
        layers[shape.name] = shape

    def given_to(arguments: Any, keywords: Any) -> Any:
        return arguments[0] if arguments else keywords["input"]

    def linear(module: Any, arguments: Any, keywords: Any, _output: Any) -> None:
        x = given_to(arguments, keywords)
        add(LayerShape(name=names[module], channels=module.out_features, terms=module.in_features, inputs=x.numel(),
                       positions=x.numel() // module.in_features))

    def convolution(module: Any, arguments: Any, keywords: Any, output: Any) -> None:
        if module.transposed:
            raise UsageError(f"Layer must be linear or a convolution to be costed, not the transposed one "
                             f"{names[module]!r}")
        positions = output.numel() // module.out_channels
        terms = module.weight.numel() // module.out_channels
        add(LayerShape(name=names[module], channels=module.out_channels, positions=positions, terms=terms,
                       inputs=given_to(arguments, keywords).numel(), groups=module.groups))

    def attention(module: Any, arguments: Any, keywords: Any, _output: Any) -> None:
        given = dict(zip(("query", "key", "value"), arguments, strict=False)) | keywords
        widths = {"query": module.embed_dim, "key": module.kdim, "value": module.vdim}
        parts = {f"{part}_projection": (given[part].numel() // width, width) for part, width in widths.items()}
        parts["out_proj"] = parts["query_projection"]
        for part, (tokens, width) in parts.items():
            add(LayerShape(name=f"{names[module]}.{part}", channels=module.embed_dim, positions=tokens, terms=width,
                           inputs=tokens * width))

    inside = {projection for module in model.modules() if isinstance(module, nn.MultiheadAttention)
              for projection in module.modules() if projection is not module}
    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    handles = []
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            handles.append(module.register_forward_hook(attention, with_kwargs=True))
        elif module not in inside and isinstance(module, nn.Linear):
            handles.append(module.register_forward_hook(linear, with_kwargs=True))
        elif module not in inside and isinstance(module, convolutions):
            handles.append(module.register_forward_hook(convolution, with_kwargs=True))
    try:
        with torch.no_grad(), evaluating(model):
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    if not layers:
        raise UsageError(f"Network must have linear or convolutional layers, not {type(model).__name__} without any")
    return list(layers.values())


def layer_owner(model: Any, name: str) -> str:
    """Return the layer that takes the formats of one of :func:`layer_shapes`: the attention, for its projections."""
    from torch import nn

    parent, _, _ = name.rpartition(".")
    modules = dict(model.named_modules())
    return parent if isinstance(modules.get(parent), nn.MultiheadAttention) else name
