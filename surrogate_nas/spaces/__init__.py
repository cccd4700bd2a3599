"""Ready-made search spaces, one file a family."""

from surrogate_nas.spaces.cell import CellSpace
from surrogate_nas.spaces.convnet import ConvNetSpace

__all__ = ["CellSpace", "ConvNetSpace"]
