"""Many workers on one study, each with its own connection to the study's storage."""
