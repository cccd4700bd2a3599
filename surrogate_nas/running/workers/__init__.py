"""Many workers on one study, each with a connection of its own to the study's storage."""
