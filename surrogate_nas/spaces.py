"""Ready-made search spaces, one file a family."""

from surrogate_nas.domains.images.cell import CellSpace
from surrogate_nas.domains.images.convnet import ConvNetSpace

__all__ = ["CellSpace", "ConvNetSpace"]
