"""Images with classes, numbers or labels: tasks, and spaces of convolutional networks."""

from surrogate_nas.domains.registry import Domain, Option

DOMAIN = Domain(
    name="images",
    data="an .npz file, a folder with one sub-folder of images a class or with labels.csv, or "
    "'digits'",
    files=("/", ".npz"),
    tasks=(
        ".arrays:digits",
        ".arrays:from_arrays",
        ".datasets:from_dataset",
        ".files:from_npz",
        ".folder:from_folder",
        ".images:ImageTask",
        ".meta_features:IMAGE_META_FEATURES",
        ".meta_features:image_meta_features",
    ),
    spaces={
        "cell": ".cell:CellSpace",
        "convnet": ".convnet:ConvNetSpace",
        "patch": ".patch:PatchSpace",
    },
    metrics="..kinds:METRICS",
    metric="accuracy",
    metric_names=(
        *("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "log_loss"),
        *("rmse", "mae", "r2", "mean_average_precision", "f1_micro", "exact_match"),
    ),
    limits=("cell_convolutions", "depth", "multiply_accumulates", "parameters"),
    load=".files:load",
    options=(
        Option(
            flag="--image-size",
            argument="image_size",
            metavar="N",
            kind="whole",
            help="bring a folder's images to N×N pixels; needed if their sizes differ",
        ),
        Option(
            flag="--fit",
            argument="fit",
            metavar="HOW",
            choices=("crop", "pad", "stretch"),
            help="how they get this size: cut out the center, add black edges, or squash; "
            "default: crop",
        ),
        Option(
            flag="--labels",
            argument="labels",
            metavar="FILE",
            help="CSV file of a folder's images and labels; default: labels.csv in the folder, "
            "if it is there",
        ),
        Option(
            flag="--target",
            argument="target",
            metavar="COLUMN",
            help="its column of labels; of several numbers or labels, COLUMN,COLUMN",
        ),
        Option(
            flag="--groups",
            argument="groups",
            metavar="COLUMN",
            help="its column, or array of the .npz file, of groups that stay in one split",
        ),
        Option(
            flag="--times",
            argument="times",
            metavar="COLUMN",
            help="its column, or array of the .npz file, of times: the latest are the test",
        ),
        Option(
            flag="--kind",
            argument="kind",
            metavar="KIND",
            choices=("classification", "regression", "multilabel"),
            help="what the labels are: classes, numbers to predict, or several labels an image",
        ),
        Option(
            flag="--max-bytes",
            argument="max_bytes",
            metavar="N",
            kind="whole",
            help="bytes of memory that a folder's images may take together; larger folders are "
            "decoded when they are needed; default: 64 MiB",
        ),
        Option(
            flag="--working-copy",
            argument="working_copy",
            metavar="FOLDER",
            help="where decoded images are kept, or 'none'; default: the user's cache",
        ),
        Option(
            flag="--flip",
            argument="flip",
            help="let augmentation mirror images: right for most photos, wrong for digits; by "
            "default photos with classes are tried",
        ),
        Option(
            flag="--no-flip",
            argument="flip",
            value=False,
            help="let augmentation mirror no images",
        ),
        Option(
            flag="--augment-as",
            argument="augment_as",
            metavar="KIND",
            choices=("photos", "shifts"),
            help="vary images by crops, colours and more, or by small shifts; default: photos if "
            "they have three bytes a pixel and sides of at least 32 pixels",
        ),
        Option(
            flag="--normalization",
            argument="normalization",
            metavar="NAME",
            choices=("own", "imagenet"),
            help="statistics that images are normalized by: of the training data, or ImageNet's; "
            "default: own",
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
