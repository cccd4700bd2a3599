"""Past results in any table -> checked parameters and values."""
