"""ResNet-18, with the parameter keys under which its weights are published."""

from collections import OrderedDict

from torch import Tensor, nn

from sw.ptq.checks import check_count

_STAGES = (64, 128, 256, 512)
_BLOCKS = 2


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with batch normalisation, added to the input.

    Where the block changes the shape, the input goes through a pointwise convolution of its own.

    Source
    ------
    He et al., Deep Residual Learning for Image Recognition, CVPR 2016, figure 5 (left), option B.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False),
                                            nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for ``x`` of shape (batch, inputs, height, width)."""
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(y)) + self.downsample(x))


def resnet18(classes: int = 1000) -> nn.Sequential:
    """Return a ResNet-18 for images of shape (batch, 3, height, width), both at least 32.

    Its ``state_dict`` has the keys of torchvision's ``resnet18``, so that a file of those weights can be loaded
    without torchvision. Every activation is a module of its own, as quantizers need them.

    Parameters
    ----------
    classes : int
        Outputs of the last layer.

    Raises
    ------
    TypeError, ValueError
        If the number of classes is not a positive integer.

    Source
    ------
    He et al., CVPR 2016, table 1, the column of 18 layers.
    """
    check_count("Class count", classes)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), bn1=nn.BatchNorm2d(64), relu=nn.ReLU(),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1))
    inputs = 64
    for stage, outputs in enumerate(_STAGES):
        blocks = []
        for index in range(_BLOCKS):
            blocks.append(BasicBlock(inputs, outputs, stride=2 if stage and not index else 1))
            inputs = outputs
        layers[f"layer{stage + 1}"] = nn.Sequential(*blocks)
    layers.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(inputs, classes))
    return nn.Sequential(layers)
