"""Files and text: written whole, read bounded, parsed strictly, drawn."""
