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
    spaces={
        "cell": ".cell:CellSpace",
        "convnet": ".convnet:ConvNetSpace",
        "finetune": "..finetuning.space:FineTuneSpace",
    },
    space_options={
        "finetune": (
            Option(
                flag="--backbone",
                argument="backbones",
                metavar="SOURCE",
                repeatable=True,
                help="pretrained network, NAME=FILE.py:CALLABLE[:ARGUMENT] of your own code, "
                "torchvision:NAME[=FILE], timm:NAME[=FILE] or NAME=FILE of weights; repeatable",
            ),
        ),
    },
    metrics="..classification:METRICS",
    metric="accuracy",
    metric_names=(
        *("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "log_loss"),
    ),
    limits=(
        *("cell_convolutions", "depth", "multiply_accumulates", "parameters"),
        *("trained_parameters", "training_multiply_accumulates"),
    ),
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
            flag="--max-bytes",
            argument="max_bytes",
            metavar="N",
            kind="whole",
            help="bytes of memory that a folder's images may take together; default: 1 GiB",
        ),
        Option(
            flag="--flip",
            argument="flip",
            help="let augmentation mirror images: right for photos, wrong for digits",
        ),
        Option(
            flag="--class-weights",
            argument="class_weights",
            metavar="balanced",
            choices=("balanced",),
            value="balanced",
            may_be_bare=True,
            help="weigh classes in the loss by the inverse of their share, for rare classes",
        ),
        Option(
            flag="--validation-share",
            argument="validation_share",
            metavar="SHARE",
            kind="number",
            help="share of the data for validation, where it has no split; default: 0.2",
        ),
        Option(
            flag="--test-share",
            argument="test_share",
            metavar="SHARE",
            kind="number",
            help="share of the data for the test, where it has no split; default: 0.2",
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
