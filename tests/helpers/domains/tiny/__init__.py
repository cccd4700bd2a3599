"""A domain as small as one can be: sequences of whole numbers, a tag for each number."""

from surrogate_nas.domains.registry import Domain, Option

DOMAIN = Domain(
    name="tiny",
    data="a .tiny file with a sequence of whole numbers a line",
    files=(".tiny",),
    tasks=(".tagging:from_sequences", ".tagging:TaggingTask"),
    spaces={"tagger": ".tagger_space:TaggerSpace"},
    metrics=".token_accuracy:METRICS",
    metric="token_accuracy",
    load=".tagging:load",
    options=(
        Option(flag="--most", argument="most", metavar="N", kind="whole", help="lines to read"),
        Option(flag="--reversed", argument="is_reversed", help="read them backwards"),
    ),
)
