"""Images, one class each: tasks, and spaces of convolutional networks."""

from surrogate_nas.domains.registry import Domain, Option

DOMAIN = Domain(
    name="images",
    data="an .npz file, a folder with one sub-folder of images a class, or 'digits'",
    files=("/", ".npz"),
    tasks=(
        ".arrays:digits",
        ".arrays:from_arrays",
        ".files:from_npz",
        ".folder:from_folder",
        ".images:ImageTask",
        ".meta_features:IMAGE_META_FEATURES",
        ".meta_features:image_meta_features",
    ),
    spaces={"cell": ".cell:CellSpace", "convnet": ".convnet:ConvNetSpace"},
    metrics="..classification:METRICS",
    metric="accuracy",
    load=".files:load",
    options=(
        Option(
            flag="--image-size",
            argument="image_size",
            metavar="N",
            kind="whole",
            help="resize a folder's images to N×N pixels; needed if their sizes differ",
        ),
        Option(
            flag="--skip-unreadable",
            argument="on_unreadable",
            value="skip",
            help="skip files that cannot be read, and name them",
        ),
    ),
    extra="images",
)
