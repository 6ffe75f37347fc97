"""Small networks of random structure, with weights and statistics that differ widely from channel to channel."""

import copy

import pytest
import torch
from torch import nn

SIZE = 4

# Brevitas warns of what else could be installed, and of functions of torch that it uses.
THEIRS = pytest.mark.filterwarnings("ignore")


def spread_(model, seed=0, *, deviation=1.0):
    """Multiply the parameters of each output channel by something else, and give normalizations statistics."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            for parameter in module._parameters.values():
                if parameter is not None:
                    shape = (parameter.shape[0], *[1] * (parameter.ndim - 1))
                    parameter.mul_(torch.exp(deviation * torch.randn(shape, generator=generator)))
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
                module.running_var.copy_(0.1 + 3 * torch.rand(module.num_features, generator=generator))
                module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
    return model.eval()


def images(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def assert_same_function(before, after, x, *, rtol=1e-9):
    """In float64, where rounding leaves no doubt."""
    with torch.no_grad():
        want, got = before(x), after(x)
    torch.testing.assert_close(got, want, rtol=0, atol=rtol * float(want.abs().max()))


class RandomNetwork(nn.Module):
    """Layers and operations on earlier results at random: residuals, concatenations, pieces, gates, all of them again.

    Input (batch, 4, 4, 4), output (batch, 5).
    """

    def __init__(self, seed, steps=14):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.layers = nn.ModuleList()
        self.program = []
        widths = [4]

        def choose(options):
            options = list(options)
            return options[int(torch.randint(len(options), (), generator=generator))]

        def emit(operation, sources, width, layer=None):
            self.layers.append(nn.Identity() if layer is None else layer)
            self.program.append((operation, sources))
            widths.append(width)

        with torch.random.fork_rng():
            torch.manual_seed(seed)
            emit("layer", (0,), 6, nn.Conv2d(4, 6, 1))
            for _ in range(steps):
                # The latest results most often: chains are longer then.
                x = max(choose(range(1, len(widths))), choose(range(1, len(widths))))
                width = widths[x]
                operation = choose(("conv", "conv", "conv", "depthwise", "grouped", "transposed", "norm", "activation",
                                    "activation", "curve", "pool", "add", "add", "cat", "gate", "piece"))
                bias = choose((True, False))
                others = [index for index, other in enumerate(widths) if other == width and index not in (0, x)]
                match operation:
                    case "conv":
                        out = choose((4, 6, 8))
                        size = choose((1, 3))
                        emit("layer", (x,), out, nn.Conv2d(width, out, size, padding=size // 2, bias=bias))
                    case "depthwise":
                        times = choose((1, 2))
                        emit("layer", (x,), times * width,
                             nn.Conv2d(width, times * width, 3, padding=1, groups=width, bias=bias))
                    case "grouped" if width % 2 == 0:
                        emit("layer", (x,), 8, nn.Conv2d(width, 8, 1, groups=2, bias=bias))
                    case "transposed" if width % 2 == 0:
                        groups = choose((1, 2))
                        emit("layer", (x,), 6, nn.ConvTranspose2d(width, 6, 3, padding=1, groups=groups, bias=bias))
                    case "norm":
                        emit("layer", (x,), width, nn.BatchNorm2d(width))
                    case "activation":
                        emit("layer", (x,), width, choose((nn.ReLU(), nn.LeakyReLU(0.1), nn.PReLU(), nn.Dropout())))
                    case "curve":
                        emit("layer", (x,), width, choose((nn.GELU(), nn.SiLU(), nn.ReLU6(), nn.Hardtanh())))
                    case "pool":
                        emit("layer", (x,), width, choose((nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1))))
                    case "add" if others:
                        emit("add", (x, choose(others)), width)
                    case "gate" if others:
                        emit("gate", (x, choose(others)), width)
                    case "cat" if width <= 8:
                        other = choose(range(1, len(widths)))
                        emit("cat", (x, other), width + widths[other])
                    case "piece" if width % 2 == 0:
                        emit("piece", (x,), width // 2)
            self.head = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * SIZE**2, 7), nn.ReLU(), nn.Linear(7, 5))
        spread_(self, seed)
        self.double()

    def forward(self, x):
        values = [x]
        for layer, (operation, sources) in zip(self.layers, self.program, strict=True):
            operands = [values[source] for source in sources]
            match operation:
                case "layer":
                    values.append(layer(operands[0]))
                case "add":
                    values.append(operands[0] + operands[1])
                case "gate":
                    values.append(operands[0] * torch.sigmoid(operands[1]))
                case "cat":
                    values.append(torch.cat(operands, 1))
                case "piece":
                    values.append(operands[0].chunk(2, dim=1)[1])
        return self.head(values[-1])


class Block(nn.Module):
    """Attention and a perceptron, each behind a normalization and inside a residual."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.second_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x):
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.down(nn.functional.gelu(self.up(self.second_norm(x))))


class Transformer(nn.Module):
    """A vision transformer: patches, a class token, positions, two blocks. From (batch, 3, 4, 4) to (batch, 5)."""

    def __init__(self, width=8, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.patches = nn.Conv2d(3, width, 2, stride=2)
            self.token = nn.Parameter(torch.randn(1, 1, width))
            self.positions = nn.Parameter(torch.randn(1, 5, width))
            self.blocks = nn.Sequential(Block(width), Block(width))
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, 5)
        spread_(self, seed, deviation=0.5)
        self.double()

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


def brevitas_traced(model):
    """Return a copy of a model as Brevitas' transformations take it."""
    from brevitas.fx import symbolic_trace
    return symbolic_trace(copy.deepcopy(model))
