"""Data, small networks trained on it, published ones, and how well they do."""

from sw.train.datasets import digits, image_folder
from sw.train.evaluate import accuracy, logits, predictions
from sw.train.images import ImageFolder
from sw.train.pretrained import PUBLISHED, NetworkSource, pretrained
from sw.train.recipes import NAMES, trained, untrained
from sw.train.samples import Samples, Split

__all__ = ["NAMES", "PUBLISHED", "ImageFolder", "NetworkSource", "Samples", "Split", "accuracy", "digits",
           "image_folder", "logits", "predictions", "pretrained", "trained", "untrained"]
