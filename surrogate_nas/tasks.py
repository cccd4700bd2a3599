"""Ways to make a Task from what users have."""

from surrogate_nas.domains.images.arrays import digits, from_arrays
from surrogate_nas.domains.images.files import from_npz, load
from surrogate_nas.domains.images.folder import from_folder
from surrogate_nas.domains.images.images import ImageTask
from surrogate_nas.domains.images.meta_features import IMAGE_META_FEATURES, image_meta_features

__all__ = [
    "IMAGE_META_FEATURES",
    "ImageTask",
    "digits",
    "from_arrays",
    "from_folder",
    "from_npz",
    "image_meta_features",
    "load",
]
