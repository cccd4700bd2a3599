"""Train several candidates of one study at once, each in a process of its own."""
